//! Connections that wait, for an answer or for a request: longer than it takes to take hyper off them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::harness::{Response, Server, connect, read_head, upstream};
use crate::push::{self, A, bodies, publish, signed, wait_until_connected};
use crate::tls::client::open;
use crate::tls::start_one;

/// By then it is parked, on a machine that has time for it.
const PARKED: Duration = Duration::from_millis(1500);

/// A site that takes its time for `/slow`, and names what it was asked for.
fn site() -> String {
    upstream(|mut stream, mut head| {
        while !head.is_empty() {
            if head.contains("/slow") {
                sleep(PARKED + Duration::from_secs(1));
            }
            let target = head.split(' ').nth(1).unwrap_or_default();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nX-Of: The Site\r\nContent-Length: {}\r\n\r\n{}",
                target.len(),
                if head.starts_with("HEAD") { "" } else { target }
            );
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
            head = read_head(&mut stream);
        }
    })
}

/// One response with a body of this length, and the lines of its head but for those that differ each time.
fn response(stream: &mut (impl Read + Write), length: usize) -> (Vec<String>, String) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    let head = String::from_utf8(head).unwrap();
    let lines = head.lines().filter(|line| {
        let line = line.to_ascii_lowercase();
        !line.starts_with("date:") && !line.starts_with("x-request-id:")
    });
    let lines = lines.map(str::to_owned).collect();
    (lines, String::from_utf8(body).unwrap())
}

/// The head of a poll of channel A, with these lines.
fn poll(server: &Server, more: &str) -> String {
    let channel = signed(server, A);
    format!("GET /bitrix/sub/?CHANNEL_ID={channel} HTTP/1.1\r\nHost: h\r\n{more}\r\n")
}

fn ended(stream: &mut TcpStream) -> bool {
    !matches!(stream.read(&mut [0]), Ok(1))
}

#[test]
fn an_answer_that_is_waited_for_is_the_one_that_comes_at_once() {
    let server = &Server::start(&site(), "");
    std::thread::scope(|scope| {
        for (method, version, more, stays) in [
            ("GET", "1.1", "", true),
            ("GET", "1.1", "Connection: foo, Close\r\n", false),
            ("GET", "1.1", "TE: trailers\r\n", true),
            ("GET", "1.0", "", false),
            ("GET", "1.0", "Connection: Keep-Alive\r\n", true),
            ("HEAD", "1.1", "", true),
            ("OPTIONS", "1.1", "", true),
        ] {
            scope.spawn(move || {
                let ask = |stream: &mut TcpStream, target: &str| {
                    let head = format!("{method} {target} HTTP/{version}\r\nHost: h\r\n{more}\r\n");
                    stream.write_all(head.as_bytes()).unwrap();
                    let length = if method == "HEAD" { 0 } else { target.len() };
                    response(stream, length)
                };
                let (mut fast, mut slow) = (connect(&server.site), connect(&server.site));
                let at_once = ask(&mut fast, "/fast");
                let waited = ask(&mut slow, "/slow");
                assert_eq!(waited.0, at_once.0, "{method} {version} {more}");
                assert!(waited.0.contains(&"X-Of: The Site".to_owned()));
                match stays {
                    true => assert_eq!(ask(&mut slow, "/fast"), at_once),
                    false => assert!(ended(&mut slow), "{method} {version} {more}"),
                }
            });
        }
    });
}

#[test]
fn what_is_sent_ahead_is_answered_in_turn() {
    let server = Server::start(&site(), "");
    for pause in [Duration::ZERO, PARKED] {
        let mut stream = connect(&server.site);
        let ask = |mut stream: &TcpStream, target: &str| {
            let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
        };
        ask(&stream, "/slow");
        sleep(pause);
        ask(&stream, "/next");
        // Half of one more.
        stream.write_all(b"GET /la").unwrap();
        assert_eq!(response(&mut stream, 5).1, "/slow");
        assert_eq!(response(&mut stream, 5).1, "/next");
        sleep(PARKED);
        stream.write_all(b"st HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        assert_eq!(response(&mut stream, 5).1, "/last");
    }
}

#[test]
fn an_idle_connection_goes_on_with_whatever_comes() {
    let site = site();
    let (plain, tls) = (Server::start(&site, ""), start_one("", &site, ""));
    let mut clear = connect(&plain.site);
    let mut secured = open(&tls.site, "site.test");
    for round in 0..2 {
        sleep(PARKED);
        // Bytes that hyper would not take as they are, in two pieces.
        for piece in [&b"GET /\xef"[..], b"\"x HTTP/1.1\r\nHost: h\r\n\r\n"] {
            clear.write_all(piece).unwrap();
            secured.write_all(piece).unwrap();
            secured.flush().unwrap();
            sleep(PARKED * round);
        }
        assert_eq!(response(&mut clear, 8).1, "/%EF%22x");
        assert_eq!(response(&mut secured, 8).1, "/%EF%22x");
    }
}

#[test]
fn bytes_now_and_then_do_not_keep_a_connection() {
    let server = Server::start_with("header_timeout = \"3s\"\n", &site());
    let mut stream = connect(&server.site);
    stream.set_nonblocking(true).unwrap();
    let began = Instant::now();
    let head = b"GET / HTTP/1.1\r\nHost: h\r\nX: "
        .iter()
        .chain(std::iter::repeat(&b'x'));
    let mut sent = 0;
    for byte in head {
        assert!(began.elapsed() < Duration::from_secs(60), "it goes on");
        sleep(Duration::from_millis(700));
        let mut one = [0];
        let gone = stream.read(&mut one).is_ok() || stream.write_all(&[*byte]).is_err();
        if gone {
            break;
        }
        sent += 1;
    }
    assert!(sent > 1);
}

#[test]
fn a_poll_that_waits_gets_its_message_and_is_missed_when_it_goes() {
    let server = push::start("");
    let head = poll(&server, "Connection: close\r\n");
    let mut stream = connect(&server.site);
    stream.write_all(head.as_bytes()).unwrap();
    sleep(PARKED);
    publish(&server, A, "hello", 60);
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let answer = Response::parse(&bytes).unwrap();
    assert_eq!(bodies(&answer.body), ["hello"]);

    let mut gone = connect(&server.site);
    gone.write_all(head.as_bytes()).unwrap();
    wait_until_connected(&server, 0, 1);
    sleep(PARKED);
    drop(gone);
    wait_until_connected(&server, 0, 0);
}

#[test]
fn a_stop_answers_a_poll_that_waits() {
    let server = push::start("");
    let head = poll(&server, "");
    let (mut asking, mut idle) = (connect(&server.site), connect(&server.site));
    asking.write_all(head.as_bytes()).unwrap();
    idle.write_all(b"OPTIONS /bitrix/sub/ HTTP/1.1\r\nHost: h\r\n\r\n")
        .unwrap();
    wait_until_connected(&server, 0, 1);
    sleep(PARKED);
    assert!(server.terminate().0);
    let mut bytes = Vec::new();
    asking.read_to_end(&mut bytes).unwrap();
    assert_eq!(Response::parse(&bytes).unwrap().status, 304);
    idle.read_to_end(&mut bytes).unwrap();
}

#[test]
fn behind_a_request_that_was_refused_comes_no_other() {
    let server = Server::start(&site(), "");
    for refused in [
        &b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: nonsense\r\n\r\n"[..],
        b"GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n",
    ] {
        let mut stream = connect(&server.site);
        stream.write_all(refused).unwrap();
        for _ in 0..3 {
            // It may have closed.
            let _ = stream.write_all(b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n");
            sleep(PARKED);
        }
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
        assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
    }
}
