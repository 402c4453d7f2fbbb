//! Forwarding.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::harness::{Php, Server, connect, get, read_head, read_response, send, upstream};

/// Echoes the head as the body.
pub(crate) fn mirror() -> String {
    upstream(|mut stream, head| {
        let length = head.len();
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{head}"
        );
    })
}

#[test]
fn php_answers_through_the_proxy() {
    let php = Php::start("");
    let server = Server::start(&php.url, "");
    assert_eq!(get(&server.site, "/index.php", &[]).status, 200);
    assert_eq!(get(&server.site, "/status.php?code=404", &[]).status, 404);
    let echo = send(
        &server.site,
        "POST",
        "/echo.php",
        &["Content-Type: text/plain"],
        "a body",
    );
    assert!(echo.body.contains("a body"), "{echo:?}");
    let cookies = get(&server.site, "/cookies.php", &[]);
    assert_eq!(
        cookies
            .head
            .to_ascii_lowercase()
            .matches("set-cookie:")
            .count(),
        2,
        "never folded into one"
    );
}

#[test]
fn a_visitor_is_who_a_trusted_proxy_says() {
    let server = Server::start(&mirror(), "");
    let head = get(
        &server.site,
        "/x?y=%2F",
        &[
            "X-Forwarded-For: 1.2.3.4",
            "X-Forwarded-Proto: https",
            "Proxy: evil",
            "X_Under: 1",
        ],
    )
    .body;
    assert!(head.starts_with("GET /x?y=%2F HTTP/1.1\r\n"), "{head}");
    for line in [
        "X-Forwarded-For: 1.2.3.4, 127.0.0.1",
        "X-Real-Ip: 1.2.3.4",
        "X-Forwarded-Proto: https",
        "Forwarded: for=1.2.3.4;proto=https",
    ] {
        assert!(head.contains(line), "{line} is missing in {head}");
    }
    assert!(head.contains(&format!("Host: {}", server.site)));
    assert!(!head.contains("evil") && !head.to_ascii_lowercase().contains("under"));
}

#[test]
fn hop_by_hop_headers_stay_here() {
    let server = Server::start(&mirror(), "");
    let head = get(
        &server.site,
        "/",
        &[
            "Connection: X-One",
            "X-One: 1",
            "TE: gzip",
            "Keep-Alive: 5",
            "X-Two: 2",
        ],
    )
    .body;
    assert!(
        !head.contains("X-One") && !head.contains("Te:") && !head.contains("Keep-Alive"),
        "{head}"
    );
    assert!(head.contains("X-Two: 2"));
}

#[test]
fn ambiguous_requests_are_refused() {
    let server = Server::start(&mirror(), "");
    let status = |request: &str| {
        let mut stream = TcpStream::connect(&server.site).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        read_response(stream).status
    };
    assert_eq!(status("GET / HTTP/1.1\r\nConnection: close\r\n\r\n"), 400);
    assert_eq!(
        status("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n"),
        400
    );
    assert_eq!(
        status("GET http://a/ HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n"),
        400
    );
    assert_eq!(
        status("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
        400
    );
    assert_eq!(
        status("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc"),
        400
    );
    assert_eq!(
        status("TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        405
    );
    assert_eq!(status("GET / HTTP/1.0\r\n\r\n"), 200);
}

#[test]
fn a_site_that_is_away_or_slow_is_named_so() {
    let unreachable = Server::start("http://127.0.0.1:1", "");
    let page = get(&unreachable.site, "/", &[]);
    assert_eq!(page.status, 502);
    let id = page
        .body
        .split("<code>")
        .nth(1)
        .unwrap()
        .split('<')
        .next()
        .unwrap();
    crate::harness::wait_for(|| unreachable.log().contains(id));
    let silent = upstream(|_stream, _| std::thread::sleep(Duration::from_secs(60)));
    let slow = Server::start(&silent, "response_timeout = \"300ms\"\n");
    assert_eq!(get(&slow.site, "/", &[]).status, 504);
}

#[test]
fn a_closed_idle_connection_is_no_error() {
    let closing = upstream(|mut stream, _| {
        // Promises to stay and goes: the next request meets a dead connection.
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let server = Server::start(&closing, "");
    for _ in 0..200 {
        assert_eq!(get(&server.site, "/", &[]).status, 200);
    }
}

#[test]
fn a_gigabyte_streams_both_ways_in_constant_memory() {
    const SIZE: u64 = 1 << 30;
    let big = upstream(|mut stream, head| {
        let mut buffer = vec![0; 1 << 16];
        if head.starts_with("POST") {
            let mut left = SIZE;
            while left > 0 {
                let read = stream.read(&mut buffer).unwrap() as u64;
                assert!(read > 0);
                left -= read;
            }
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwhole",
            );
        } else {
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\nConnection: close\r\n\r\n"
            );
            for _ in 0..SIZE / (1 << 16) {
                stream.write_all(&buffer).unwrap();
            }
        }
    });
    let server = Server::start(&big, "");
    let mut buffer = vec![0; 1 << 16];

    let mut down = TcpStream::connect(&server.site).unwrap();
    write!(
        down,
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    read_head(&mut down);
    let mut received = 0;
    while let Ok(read @ 1..) = down.read(&mut buffer) {
        received += read as u64;
    }
    assert_eq!(received, SIZE);

    let mut up = TcpStream::connect(&server.site).unwrap();
    write!(
        up,
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {SIZE}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    for _ in 0..SIZE / (1 << 16) {
        up.write_all(&buffer).unwrap();
    }
    assert_eq!(read_response(up).body, "whole");

    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 100 << 10, "{peak} KiB at the peak");
}

#[test]
fn the_sites_own_websockets_pass() {
    let echo = upstream(|mut stream, head| {
        if head.contains("refuse") {
            let _ = stream.write_all(
                b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
            );
            return;
        }
        assert!(
            head.to_ascii_lowercase().contains("upgrade: websocket"),
            "{head}"
        );
        let _ = stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
        let mut buffer = [0; 100];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            let _ = stream.write_all(&buffer[..read]);
        }
    });
    let server = Server::start(&echo, "");
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let mut stream = TcpStream::connect(&server.site).unwrap();
    write!(stream, "GET /own HTTP/1.1\r\nHost: x\r\n{upgrade}").unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101"));
    stream.write_all(b"anything").unwrap();
    let mut buffer = [0; 8];
    stream.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"anything");

    let mut stream = TcpStream::connect(&server.site).unwrap();
    write!(stream, "GET /refuse HTTP/1.1\r\nHost: x\r\n{upgrade}").unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 403"));
}

#[test]
fn a_site_on_a_unix_socket_is_served() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("site.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nunix",
            );
        }
    });
    let server = Server::start(&format!("unix:{}", path.display()), "");
    assert_eq!(get(&server.site, "/", &[]).body, "unix");
}

#[test]
fn heads_are_large_and_not_endless() {
    let server = Server::start(&mirror(), "");
    let cookie = |bytes: usize| format!("Cookie: big={}", "x".repeat(bytes));
    assert_eq!(get(&server.site, "/", &[&cookie(40 << 10)]).status, 200);
    assert_eq!(get(&server.site, "/", &[&cookie(70 << 10)]).status, 431);
    assert_eq!(
        get(&server.site, &format!("/{}", "x".repeat(17 << 10)), &[]).status,
        414
    );
}

#[test]
fn a_client_that_says_nothing_is_let_go() {
    let server = Server::start_with(
        "header_timeout = \"300ms\"\nbody_timeout = \"300ms\"\n",
        &mirror(),
    );
    let mut silent = connect(&server.site);
    silent.write_all(b"GET / HTTP/1.1\r\nHos").unwrap();
    let mut answer = Vec::new();
    let _ = silent.read_to_end(&mut answer);
    let mut half = connect(&server.publish);
    half.write_all(b"POST /bitrix/pub/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
        .unwrap();
    assert!(
        half.read(&mut [0; 100]).is_ok(),
        "an answer or the end, not our own time-out"
    );
}

#[test]
fn a_client_is_told_to_go_on_with_its_body() {
    // Answers only behind the body, which the client sends only when it is told to.
    let patient = upstream(|mut stream, _| {
        stream.read_exact(&mut [0; 4]).unwrap();
        let _ =
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    });
    let server = Server::start(&patient, "");
    let mut stream = connect(&server.site);
    write!(stream, "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n").unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 100"));
    stream.write_all(b"body").unwrap();
    assert_eq!(read_response(stream).status, 200);
}
