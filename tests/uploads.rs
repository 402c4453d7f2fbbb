//! Request bodies that are slow, broken or broken off.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::harness::{Response, Server, connect, read_response, send_raw, upstream, wait_for};
use crate::tls::client::open;
use crate::tls::start_one;

/// Reads a body to its end, and answers with its length.
fn patient() -> String {
    upstream(|mut stream, head| {
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.parse::<usize>().unwrap())
        });
        let mut body = vec![0; length.unwrap_or(0)];
        if stream.read_exact(&mut body).is_ok() {
            let answer = format!("{} bytes", body.len());
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}",
                answer.len()
            );
        }
    })
}

fn begin(address: &str, length: usize) -> TcpStream {
    let mut stream = connect(address);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// The site is not at fault, and nothing says so.
fn blames_nobody_else(server: &Server) {
    let log = server.log();
    assert!(
        !log.contains("ERROR") && !log.contains("status=502"),
        "{log}"
    );
}

#[test]
fn an_upload_may_take_longer_than_the_answer() {
    let server = Server::start(&patient(), "response_timeout = \"3s\"\n");
    let mut stream = begin(&server.site, 8);
    for _ in 0..8 {
        // All of them are longer than the site may take, and so is the one below.
        sleep(Duration::from_millis(700));
        stream.write_all(b"x").unwrap();
    }
    assert_eq!(read_response(stream).body, "8 bytes");
    let mut stream = begin(&server.site, 2);
    stream.write_all(b"x").unwrap();
    sleep(Duration::from_secs(4));
    stream.write_all(b"x").unwrap();
    assert_eq!(read_response(stream).body, "2 bytes");
}

#[test]
fn a_site_that_is_silent_behind_an_upload_gets_its_time_and_no_more() {
    let silent = upstream(|mut stream, _| {
        let _ = stream.read_exact(&mut [0; 4]);
        let _ = stream.read(&mut [0; 1]);
    });
    let server = Server::start(&silent, "response_timeout = \"1s\"\n");
    let mut stream = begin(&server.site, 4);
    sleep(Duration::from_millis(700));
    let began = Instant::now();
    stream.write_all(b"body").unwrap();
    assert_eq!(read_response(stream).status, 504);
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_site_that_does_not_read_an_upload_is_too_slow() {
    let deaf = upstream(|stream, _| {
        // Until we let go of it; what was sent lies unread.
        wait_for(|| stream.take_error().unwrap().is_some() || is_closed(&stream));
    });
    let server = Server::start(&deaf, "response_timeout = \"1s\"\n");
    let mut stream = begin(&server.site, 64 << 20);
    let mut writer = stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        // Ends with an error, when the server has refused.
        while writer.write_all(&[0; 1 << 16]).is_ok() {}
    });
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 504");
    drop(stream.shutdown(Shutdown::Both));
    sending.join().unwrap();
}

fn is_closed(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    // The bytes before an end can be skipped only by reading them, so an error is what tells.
    matches!(stream.peek(&mut [0; 1]), Err(error) if error.kind() != std::io::ErrorKind::WouldBlock)
}

#[test]
fn a_client_that_falls_silent_in_its_upload_is_408() {
    let server = Server::start_with("body_timeout = \"500ms\"\n", &patient());
    let half = "Host: h\r\nContent-Length: 8\r\n\r\nhalf";
    let request = format!("POST / HTTP/1.1\r\n{half}");
    let response = send_raw(&server.site, request.as_bytes());
    assert_eq!(response.status, 408);
    assert_eq!(response.header("connection"), Some("close"));
    let publish = format!("POST /bitrix/pub/ HTTP/1.1\r\n{half}");
    assert_eq!(send_raw(&server.publish, publish.as_bytes()).status, 408);
    wait_for(|| server.log().contains("no byte of it came for 500ms"));
    blames_nobody_else(&server);
}

#[test]
fn a_broken_chunk_is_400() {
    let server = Server::start(&patient(), "");
    for (address, path) in [(&server.site, "/"), (&server.publish, "/bitrix/pub/")] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nno chunk\r\n"
        );
        assert_eq!(send_raw(address, request.as_bytes()).status, 400, "{path}");
    }
    wait_for(|| server.log().matches("is broken: ").count() == 2);
    blames_nobody_else(&server);
}

#[test]
fn an_upload_that_is_broken_off_is_logged_as_such() {
    let server = Server::start(&patient(), "");
    for how in [Shutdown::Write, Shutdown::Both] {
        let before = server.log().matches("the peer broke it off").count();
        let mut stream = begin(&server.site, 8);
        stream.write_all(b"half").unwrap();
        stream.shutdown(how).unwrap();
        wait_for(|| server.log().matches("the peer broke it off").count() > before);
    }
    blames_nobody_else(&server);
}

/// Sends what it has to say many times over, far more than fits into all buffers, and only then looks for an answer.
fn insist(mut stream: impl Read + Write, head: &str, piece: &[u8]) -> Response {
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..256 {
        stream.write_all(piece).unwrap();
        stream.flush().unwrap();
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    Response::parse(&answer).unwrap()
}

#[test]
fn who_goes_on_sending_gets_the_whole_answer_and_no_reset() {
    // Takes a body to its end, and says nothing.
    let site = upstream(|mut stream, _| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let server = Server::start(&site, "max_body = \"1MiB\"\n");
    let paths = "[[path]]\nprefix = \"/\"\nmax_body = \"1MiB\"\n";
    let by_tls = start_one("", &site, paths);
    let piece = [b'x'; 1 << 16];
    let chunk = [b"10000\r\n", &piece[..], b"\r\n"].concat();
    let post = "POST / HTTP/1.1\r\nHost: site.test\r\n";
    for (head, piece, status) in [
        (
            format!("{post}Content-Length: {}\r\n\r\n", 1_u64 << 40),
            &piece[..],
            413,
        ),
        (
            format!("{post}Transfer-Encoding: chunked\r\n\r\n"),
            &chunk,
            413,
        ),
        (format!("{post}X: "), &piece, 431),
    ] {
        let in_the_clear = insist(connect(&server.site), &head, piece);
        assert_eq!(in_the_clear.status, status, "{head}");
        let by_tls = insist(open(&by_tls.site, "site.test"), &head, piece);
        assert_eq!(by_tls.status, status, "{head}");
    }
}
