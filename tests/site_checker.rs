//! The site checker of Bitrix: it subscribes by a raw GET of HTTP/1.0, publishes a second later, and reads once. What it
//! reads, 4096 bytes at most, must hold the message.

use std::io::{Read, Write};

use crate::harness::{Server, connect};
use crate::push::{A, publish, signed, start, wait_until_connected};
use crate::tls::client::open;
use crate::tls::start_one;

/// Often enough for an answer in two pieces to be seen as such.
const TIMES: usize = 20;

fn subscribe(mut stream: impl Read + Write, server: &Server) {
    let request = format!(
        "GET /bitrix/sub/?CHANNEL_ID={} HTTP/1.0\r\nHost: site.test\r\nConnection: Close\r\n\r\n",
        signed(server, A)
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream.flush().unwrap();
    wait_until_connected(server, 0, 1);
    let message = "{\"site checker\":\"is here\"}";
    publish(server, A, message, 60);
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer).unwrap();
    let answer = String::from_utf8(answer[..read].to_vec()).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{answer}");
    assert!(
        !head.to_ascii_lowercase().contains("transfer-encoding"),
        "{answer}"
    );
    assert!(
        body.starts_with("#!NGINXNMS!#")
            && body.contains(message)
            && body.ends_with("#!NGINXNME!#"),
        "{answer}"
    );
    drop(stream);
    wait_until_connected(server, 0, 0);
}

#[test]
fn it_reads_the_message_at_once() {
    let server = start("");
    for address in [&server.site, &server.publish] {
        for _ in 0..TIMES {
            subscribe(connect(address), &server);
        }
    }
}

#[test]
fn it_reads_the_message_at_once_by_tls() {
    let server = start_one("", "http://127.0.0.1:1", "");
    for _ in 0..TIMES {
        subscribe(open(&server.site, "site.test"), &server);
    }
}
