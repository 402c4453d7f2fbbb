//! Who speaks when: answers before the request has come to its end, switched protocols, `Expect`, and a client that
//! shuts its sending half. The same through nginx.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use super::nginx::Nginx;
use crate::harness::{Response, Server, connect, read_head, upstream, wait_for};
use crate::push::{A, caught_up, start};

/// Both in front of a site: names for messages, and addresses.
struct Both {
    pullgate: Server,
    nginx: Nginx,
}

impl Both {
    fn start(url: &str) -> Self {
        Self {
            pullgate: Server::start(url, ""),
            nginx: Nginx::start(url.strip_prefix("http://").unwrap()),
        }
    }

    fn fronts(&self) -> [(&'static str, &str); 2] {
        [
            ("pullgate", &self.pullgate.site),
            ("nginx", &self.nginx.address),
        ]
    }
}

fn rest_of(mut stream: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    rest
}

const GOODBYE: &str = "too large, said the site";

/// Says 413 to every head, and takes the rest of the request as a server does that lingers: the client is to read
/// what it was told.
fn refusing() -> String {
    upstream(|mut stream, _| {
        let length = GOODBYE.len();
        let _ = write!(
            stream,
            "HTTP/1.1 413 Payload Too Large\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{GOODBYE}"
        );
        let _ = stream.shutdown(Shutdown::Write);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })
}

/// More than is ever sent.
const LARGE: u64 = 1 << 40;

#[test]
fn an_answer_to_half_an_upload_comes_and_is_the_last() {
    let server = Server::start(&refusing(), "");
    for framing in [
        format!("Content-Length: {LARGE}"),
        "Transfer-Encoding: chunked".to_owned(),
    ] {
        let mut stream = connect(&server.site);
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut writer = stream.try_clone().unwrap();
        let chunked = framing.ends_with("chunked");
        let sending = std::thread::spawn(move || {
            let piece = match chunked {
                true => [b"10000\r\n", &[b'x'; 1 << 16][..], b"\r\n"].concat(),
                false => vec![b'x'; 1 << 16],
            };
            // More than all buffers take.
            for _ in 0..256 {
                writer.write_all(&piece).unwrap();
            }
        });
        let answer = Response::parse(&rest_of(stream)).unwrap();
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (413, GOODBYE),
            "{framing}"
        );
        assert_eq!(answer.header("connection"), Some("close"), "{framing}");
        sending.join().unwrap();
    }
}

/// The client waits to be told before it sends its body, and the site does not wait for it.
#[test]
fn an_answer_to_a_body_that_waits_for_100_comes() {
    let server = Server::start(&refusing(), "");
    for _ in 0..10 {
        let mut stream = connect(&server.site);
        let head =
            "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = read_head(&mut stream);
        if answer.starts_with("HTTP/1.1 100") {
            answer = read_head(&mut stream);
        }
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(rest_of(stream).ends_with(GOODBYE.as_bytes()));
    }
}

/// Switches, and says something in the same segment; tells what came behind the handshake.
fn switching() -> (String, mpsc::Receiver<(String, Vec<u8>)>) {
    let (tell, told) = mpsc::channel();
    let url = upstream(move |mut stream, head| {
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nX-Of-The-Site: a  b\r\n\r\nhello\r\n\r\n";
        let _ = stream.write_all(answer);
        let mut early = [0; 5];
        let _ = stream.read_exact(&mut early);
        let _ = stream.write_all(b", and bye");
        let _ = tell.send((head, early.to_vec()));
    });
    (url, told)
}

#[test]
fn a_switch_of_protocols_passes_as_through_nginx() {
    let (url, told) = switching();
    let both = Both::start(&url);
    let seen = both.fronts().map(|(name, front)| {
        let mut stream = connect(front);
        // The first bytes come with the handshake.
        let handshake = "GET /own?x HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                         Sec-WebSocket-Protocol: chat\r\n\r\n\x00\r\n\r\n";
        stream.write_all(handshake.as_bytes()).unwrap();
        let (head, early) = told.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(early, b"\x00\r\n\r\n", "{name}");
        let all = String::from_utf8(rest_of(stream)).unwrap();
        let (answer, behind) = all.split_once("\r\n\r\n").unwrap();
        assert_eq!(behind, "hello\r\n\r\n, and bye", "{name}");
        (lines(&head), lines(answer))
    });
    let [(asked, answered), (asked_by_nginx, answered_by_nginx)] = seen;
    // What each adds of its own.
    let own = ["x-", "forwarded:", "server:", "date:"];
    let shared = |lines: &[String]| -> Vec<String> {
        let is_own = |line: &&String| own.iter().any(|own| line.starts_with(own));
        let mut shared: Vec<String> = lines.iter().filter(|line| !is_own(line)).cloned().collect();
        shared.sort();
        shared
    };
    assert_eq!(shared(&answered), shared(&answered_by_nginx));
    assert_eq!(shared(&asked), shared(&asked_by_nginx));
    assert!(answered.contains(&"x-of-the-site: a  b".to_owned()));
}

/// The lines of a head, names in lower case.
fn lines(head: &str) -> Vec<String> {
    let lines = head.split("\r\n").filter(|line| !line.is_empty());
    lines
        .map(|line| match line.split_once(':') {
            // Its values are words of any case.
            Some((name, _)) if name.eq_ignore_ascii_case("connection") => line.to_ascii_lowercase(),
            Some((name, value)) => format!("{}:{value}", name.to_ascii_lowercase()),
            None => line.to_owned(),
        })
        .collect()
}

/// Nothing of a connection tells whether its client will still read. Both take it to have gone, and the site need not
/// go on for it.
#[test]
fn who_shuts_its_sending_half_has_gone() {
    let (tell, told) = mpsc::channel();
    let url = upstream(move |mut stream, _| {
        let _ = tell.send("asked");
        // To the end of the connection.
        let _ = stream.read(&mut [0]);
        let _ = tell.send("ended");
    });
    let both = Both::start(&url);
    for (name, front) in both.fronts() {
        let mut stream = connect(front);
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            .unwrap();
        let tells = || told.recv_timeout(Duration::from_secs(60));
        assert_eq!(tells(), Ok("asked"), "{name}");
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest_of(stream), b"", "{name}");
        assert_eq!(tells(), Ok("ended"), "{name}");
    }
}

/// Bitrix does not wait for the answer to what it publishes.
#[test]
fn what_is_published_by_who_shuts_its_sending_half_is_kept() {
    let server = start("");
    for number in 1..=20 {
        let mut stream = connect(&server.publish);
        let body = number.to_string();
        let request = format!(
            "POST /bitrix/pub/?CHANNEL_ID={A} HTTP/1.1\r\nHost: h\r\nMessage-Expiry: 600\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        wait_for(|| caught_up(&server).contains(&body));
    }
}

/// HTTP/1.0 knows no chunks: it gets the bytes as they are, and their end with that of the connection.
#[test]
fn http_1_0_gets_no_chunks() {
    let chunked = upstream(|mut stream, _| {
        let _ = stream.write_all(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\nok\r\n3\r\n, 1\r\n0\r\nX: y\r\n\r\n",
        );
    });
    let both = Both::start(&chunked);
    for (name, front) in both.fronts() {
        for connection in ["", "Connection: keep-alive\r\n"] {
            let mut stream = connect(front);
            write!(stream, "GET / HTTP/1.0\r\nHost: h\r\n{connection}\r\n").unwrap();
            let all = String::from_utf8(rest_of(stream)).unwrap();
            let (head, body) = all.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1."), "{name}: {head}");
            assert_eq!(body, "ok, 1", "{name}");
            let head = head.to_ascii_lowercase();
            assert!(!head.contains("transfer-encoding"), "{name}: {head}");
        }
    }
}
