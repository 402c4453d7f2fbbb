//! Request and response heads: large, unclear, refused.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::harness::{Php, Server, connect, get, read_head, send_raw, upstream, wait_for};
use crate::proxy::mirror;

/// Answers every request of a connection by `answer`, and counts connections.
fn site(answer: &'static str) -> (String, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let url = upstream(move |mut stream, mut head| {
        counted.fetch_add(1, Ordering::Relaxed);
        while !head.is_empty() {
            let _ = stream.write_all(answer.as_bytes());
            head = read_head(&mut stream);
        }
    });
    (url, connections)
}

#[test]
fn as_many_lines_as_nginx_passes() {
    let server = Server::start(&mirror(), "");
    let lines: Vec<String> = (0..120).map(|at| format!("X-Line-{at}: {at}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let seen = get(&server.site, "/", &lines);
    assert_eq!(seen.status, 200, "{seen:?}");
    assert!(
        lines.iter().all(|line| seen.body.contains(line)),
        "{seen:?}"
    );
}

#[test]
fn php_sets_a_hundred_and_fifty_cookies() {
    let directory = tempfile::tempdir().unwrap();
    let script =
        "<?php for ($at = 0; $at < 150; $at++) { setcookie(\"c$at\", \"v$at\"); } echo 'set';";
    std::fs::write(directory.path().join("index.php"), script).unwrap();
    let folder = format!("{}/", directory.path().display());
    let php = Php::serve(crate::harness::free_port(), &folder, &[]);
    let server = Server::start(&php.url, "");
    let page = get(&server.site, "/", &[]);
    assert_eq!((page.status, page.body.as_str()), (200, "set"));
    assert_eq!(page.head.matches("Set-Cookie: c").count(), 150);
}

#[test]
fn a_host_that_is_none_is_refused() {
    let server = Server::start(&mirror(), "");
    let status = |host: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost:{host}\r\nConnection: close\r\n\r\n");
        send_raw(&server.site, request.as_bytes()).status
    };
    for bad in [
        "", " ", " a b", " a\tb", " a/b", " a..b", " ..", " :80", " u@h",
    ] {
        assert_eq!(status(bad), 400, "{bad:?}");
    }
    for good in [
        " a",
        " a.b:80",
        " [::1]:80",
        " a_b.",
        " \u{43f}.\u{440}\u{444}",
    ] {
        assert_eq!(status(good), 200, "{good:?}");
    }
    wait_for(|| server.log().contains("one that is no host"));
}

#[test]
fn a_target_in_absolute_form_names_the_host() {
    let server = Server::start(&mirror(), "");
    let answer = |target: &str, version: &str, lines: &str| {
        let request = format!("GET {target} HTTP/{version}\r\n{lines}Connection: close\r\n\r\n");
        send_raw(&server.site, request.as_bytes())
    };
    for (target, lines) in [
        ("http://h:80/x?y", "Host: h\r\n"),
        ("http://h/x?y", "Host: h:80\r\n"),
        ("http://H/x?y", "Host: h\r\n"),
    ] {
        let response = answer(target, "1.1", lines);
        assert_eq!(response.status, 200, "{target} {lines}");
        assert!(
            response.body.starts_with("GET /x?y HTTP/1.1\r\n"),
            "{response:?}"
        );
    }
    for version in ["1.0", "1.1"] {
        let response = answer("http://named:81/", version, "");
        assert!(
            response.body.contains("\r\nHost: named:81\r\n"),
            "{response:?}"
        );
    }
    for (target, lines) in [
        ("http://h:81/", "Host: h\r\n"),
        ("http://h/", "Host: evil\r\n"),
        ("http://u@h/", ""),
        ("http://a..b/", ""),
        ("h", "Host: h\r\n"),
    ] {
        assert_eq!(answer(target, "1.1", lines).status, 400, "{target} {lines}");
    }
}

#[test]
fn an_answer_with_two_lengths_is_refused() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let (url, connections) = site(answer);
        let server = Server::start(&url, "");
        for at in 1..=2 {
            assert_eq!(get(&server.site, "/", &[]).status, 502, "{answer:?}");
            assert_eq!(connections.load(Ordering::Relaxed), at, "{answer:?}");
        }
        wait_for(|| server.log().contains("ERROR"));
    }
}

#[test]
fn a_request_with_two_lengths_is_the_last_of_its_connection() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let url = upstream(move |mut stream, head| {
        let mut body = [0; 13];
        stream.read_exact(&mut body).unwrap();
        noted.lock().unwrap().push(head);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let server = Server::start(&url, "");
    let response = send_raw(
        &server.site,
        b"POST /one HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
          3\r\nabc\r\n0\r\n\r\nGET /two HTTP/1.1\r\nHost: h\r\n\r\n",
    );
    assert_eq!((response.status, response.body.as_str()), (200, "ok"));
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(
        !seen[0].to_ascii_lowercase().contains("content-length"),
        "{seen:?}"
    );
}

#[test]
fn whatever_is_refused_leaves_a_line() {
    let server = Server::start_with_more("", &mirror(), "[log]\naccess = false\n");
    for (request, status, line) in [
        (
            b"GET / HTTP/1.1\r\n\r\n".as_slice(),
            400,
            "the request has no Host",
        ),
        (b"GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n", 400, "invalid URI"),
        (
            b"G@T / HTTP/1.1\r\nHost: h\r\n\r\n",
            400,
            "invalid HTTP method parsed",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nA B: c\r\n\r\n",
            400,
            "invalid HTTP header parsed",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
            400,
            "invalid content-length",
        ),
    ] {
        assert_eq!(send_raw(&server.site, request).status, status);
        wait_for(|| server.log().contains(line));
    }
    let many = "X: y\r\n".repeat(300);
    let request = format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n");
    assert_eq!(send_raw(&server.site, request.as_bytes()).status, 431);
    wait_for(|| server.log().contains("message head is too large"));
    assert!(!server.log().contains("ERROR"), "{}", server.log());
}

#[test]
fn what_the_site_breaks_off_is_logged() {
    let (url, _) =
        site("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nno chunk\r\n");
    let server = Server::start(&url, "");
    let mut stream = connect(&server.site);
    write!(stream, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let response = read_cut(stream);
    assert!(
        response.contains("hello") && !response.ends_with("0\r\n\r\n"),
        "{response}"
    );
    wait_for(|| server.log().contains("a response was cut off"));
}

fn read_cut(mut stream: std::net::TcpStream) -> String {
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    String::from_utf8_lossy(&all).into_owned()
}
