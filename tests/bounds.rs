//! What clients that read nothing cost: memory does not grow with what was published, or with what they
//! missed. Nothing is lost by it. All together have a bound, too ([`together`]).

mod together;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use tokio::net::TcpSocket;
use tungstenite::Message;

use crate::binary::{publish_all, receiver};
use crate::cluster::redis_server::RedisServer;
use crate::harness::{Server, get, read_head, read_response};
use crate::push::{A, bodies, publish, signed, start, wait_until_online};

/// Memory of the server that is really there, bytes.
fn resident(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib: usize = line
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    kib << 10
}

/// A connection that the kernel takes little for, so that what is not read waits at the server.
fn narrow(address: &str) -> TcpStream {
    let address: SocketAddr = address.parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(address).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    let patience = std::time::Duration::from_secs(60);
    stream.set_read_timeout(Some(patience)).unwrap();
    stream
}

const LONG: usize = 540_000;

/// The body of a long message.
fn long(number: usize) -> String {
    format!("{number:03}{}", "x".repeat(LONG))
}

/// 54 MB are stored, and ten polls ask for all of it and read nothing. Ten copies would be half a gigabyte; what the
/// engine itself takes meanwhile for what was stored (journals, blocks that it merges) are tens of MiB.
fn polls_that_take_nothing(server: &Server) {
    for number in 0..100 {
        publish(server, A, &long(number), 600);
    }
    let target = format!(
        "/bitrix/sub/?CHANNEL_ID={}&mid={}",
        signed(server, A),
        "0".repeat(26)
    );
    let before = resident(server);
    let mut polls: Vec<TcpStream> = (0..10)
        .map(|_| {
            let mut poll = narrow(&server.site);
            write!(
                poll,
                "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )
            .unwrap();
            poll
        })
        .collect();
    for poll in &polls {
        assert_eq!(poll.peek(&mut [0]).unwrap(), 1);
    }
    let growth = resident(server).saturating_sub(before);
    assert!(growth < 100 << 20, "{} MiB", growth >> 20);
    // Whoever reads after all gets all of it, also what comes while it reads.
    let poll = polls.pop().unwrap();
    let answer = read_response(poll);
    let got = bodies(&answer.body);
    assert_eq!(got.len(), 100);
    for (number, body) in got.iter().enumerate() {
        assert!(*body == long(number), "{number}");
    }
}

#[test]
fn polls_that_take_nothing_cost_little_with_memory() {
    let server = start("[history]\nengine = \"memory\"\n");
    polls_that_take_nothing(&server);
}

#[test]
fn polls_that_take_nothing_cost_little_with_disk() {
    let server = start("[history]\nengine = \"disk\"\nmax_memory = \"1MiB\"\n");
    polls_that_take_nothing(&server);
}

#[test]
fn polls_that_take_nothing_cost_little_with_redis() {
    let redis = RedisServer::start();
    polls_that_take_nothing(&redis.node());
}

/// A small answer is one write with its length; of what is longer than a piece HTTP/1.0 gets the bytes
/// as they are, to the end of the connection.
#[test]
fn an_answer_of_many_pieces_is_whole_in_http_1_0_too() {
    let server = start("[history]\nengine = \"memory\"\n");
    let target = format!(
        "/bitrix/sub/?CHANNEL_ID={}&mid={}",
        signed(&server, A),
        "0".repeat(26)
    );
    publish(&server, A, "short", 600);
    let answer = get(&server.site, &target, &[]);
    assert_eq!(answer.header("transfer-encoding"), None);
    assert!(answer.header("content-length").is_some());
    for number in 0..3 {
        publish(&server, A, &long(number), 600);
    }
    let ask = |version: &str| {
        let mut poll = TcpStream::connect(&server.site).unwrap();
        write!(
            poll,
            "GET {target} HTTP/{version}\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        read_response(poll)
    };
    let (old, new) = (ask("1.0"), ask("1.1"));
    assert_eq!(old.header("transfer-encoding"), None);
    assert_eq!(new.header("transfer-encoding"), Some("chunked"));
    assert_eq!(bodies(&old.body), bodies(&new.body));
    assert_eq!(bodies(&old.body).len(), 4);
}

/// A websocket that reads its catch-up late gets it in order, and what has come live behind it.
#[test]
fn a_late_reader_gets_its_catch_up_and_then_what_came_meanwhile() {
    let server = start("[history]\nengine = \"disk\"\nmax_memory = \"1MiB\"\n");
    for number in 0..20 {
        publish(&server, A, &long(number), 600);
    }
    let url = format!(
        "ws://{}/bitrix/subws/?CHANNEL_ID={}&mid={}",
        server.site,
        signed(&server, A),
        "0".repeat(26)
    );
    let (mut socket, _) = tungstenite::client(url, narrow(&server.site)).unwrap();
    for number in 20..25 {
        publish(&server, A, &long(number), 600);
    }
    let mut got = 0;
    while got < 25 {
        let frame = socket.read().unwrap().into_text().unwrap();
        for body in bodies(&frame) {
            assert!(body == long(got), "{got}");
            got += 1;
        }
    }
}

const FLOOD: usize = 200_000;

/// Messages of seven bytes, a hundred in a request.
fn flood(server: &Server) {
    let mut stream = TcpStream::connect(&server.publish).unwrap();
    let receivers = [receiver(A, true, b"")];
    for first in (0..FLOOD).step_by(100) {
        let numbers: Vec<String> = (first..first + 100).map(|n| format!("{n:07}")).collect();
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
        let request = publish_all(&receivers, &numbers);
        let length = request.len();
        let head = format!(
            "POST /bitrix/pub/?binaryMode=true HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
        );
        stream
            .write_all(&[head.as_bytes(), &request].concat())
            .unwrap();
        assert!(read_head(&mut stream).starts_with("HTTP/1.1 200"));
    }
}

#[test]
fn short_messages_for_a_subscriber_that_reads_nothing_cost_little() {
    let server = start("[history]\nengine = \"memory\"\n");
    let url = format!(
        "ws://{}/bitrix/subws/?CHANNEL_ID={}",
        server.site,
        signed(&server, A)
    );
    let (mut socket, _) = tungstenite::client(url, narrow(&server.site)).unwrap();
    wait_until_online(&server);
    let before = resident(&server);
    flood(&server);
    let growth = resident(&server).saturating_sub(before);
    assert!(growth < 30 << 20, "{} MiB", growth >> 20);
    // What it was sent is whole and in order; then it is told to come again.
    let mut got = 0;
    let code = loop {
        match socket.read().unwrap() {
            Message::Text(frame) => {
                assert!(frame.len() < 1 << 20, "{} bytes in a frame", frame.len());
                for body in bodies(&frame) {
                    assert_eq!(body, format!("{got:07}"));
                    got += 1;
                }
            }
            Message::Close(frame) => break u16::from(frame.unwrap().code),
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    };
    assert!(got < FLOOD);
    assert_eq!(code, 1013);
}
