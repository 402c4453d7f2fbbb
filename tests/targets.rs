//! Bytes of a target that nginx passes on: percent-encoded or refused, and nothing else changes.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use crate::harness::{Server, connect, read_head, send_raw, upstream};
use crate::proxy::mirror;

/// As docs/compatibility.md says.
#[test]
fn odd_bytes_of_a_target_are_percent_encoded_or_refused() {
    let server = Server::start(&mirror(), "");
    let get = |target: &[u8]| {
        let lines = b" HTTP/1.1\r\nHost: h\r\nX: <\">\r\nConnection: close\r\n\r\n";
        send_raw(&server.site, &[b"GET ", target, lines].concat())
    };
    for target in ["/a{c}|d^e", "/?a[c]{d}|e^f", "/%FF?%EF"] {
        let response = get(target.as_bytes());
        let line = format!("GET {target} HTTP/1.1\r\n");
        assert!(response.body.starts_with(&line), "{response:?}");
    }
    for (target, seen) in [
        (b"/\xef\xf0?q=\xef\xf0".as_slice(), "/%EF%F0?q=%EF%F0"),
        ("/\u{43f}".as_bytes(), "/%D0%BF"),
        (
            b"/a<b>c\"d`e?a<b>c\"d`e",
            "/a%3Cb%3Ec%22d%60e?a%3Cb%3Ec%22d%60e",
        ),
    ] {
        let response = get(target);
        let line = format!("GET {seen} HTTP/1.1\r\n");
        assert!(response.body.starts_with(&line), "{response:?}");
        assert!(response.body.contains("\r\nX: <\">\r\n"), "{response:?}");
    }
    for target in [b"/a\x01b".as_slice(), b"/a\x7fb", b"/a b", b""] {
        assert_eq!(get(target).status, 400, "{}", target.escape_ascii());
    }
}

#[test]
fn nothing_but_a_target_is_percent_encoded() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let url = upstream(move |mut stream, mut head| {
        while !head.is_empty() {
            let mut body = [0; 12];
            if head.starts_with("POST") {
                stream.read_exact(&mut body).unwrap();
            }
            let line = head.lines().next().unwrap_or_default();
            noted.lock().unwrap().push((line.to_owned(), body));
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            head = read_head(&mut stream);
        }
    });
    let server = Server::start(&url, "");
    let mut stream = connect(&server.site);
    let mut ask = |request: &[&[u8]]| {
        for piece in request {
            stream.write_all(piece).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let head = read_head(&mut stream);
        head.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    const POST: &[u8] = b"POST /< HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\n";
    const BODY: &[u8; 12] = b"< < \xff > \r\n\r\n";
    // Over one connection, in several pieces; the body looks like what it is not.
    assert_eq!(
        ask(&[b"GET /<", b"\xff HTTP/1.1\r\nHo", b"st: h\r\n\r\n"]),
        "200"
    );
    assert_eq!(ask(&[POST, BODY]), "200");
    assert_eq!(ask(&[&[POST, BODY].concat()]), "200");
    assert_eq!(
        ask(&[b"\r\n", b"GET /> HTTP/1.1\r\nHost: h\r\n\r\n"]),
        "200"
    );
    let seen = seen.lock().unwrap();
    let lines: Vec<&str> = seen.iter().map(|(line, _)| line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "GET /%3C%FF HTTP/1.1",
            "POST /%3C HTTP/1.1",
            "POST /%3C HTTP/1.1",
            "GET /%3E HTTP/1.1"
        ]
    );
    assert!(
        seen.iter()
            .filter(|(line, _)| line.starts_with("POST"))
            .all(|(_, body)| body == BODY)
    );
}

/// What a site sees of requests: number, request line, body, and whether the odd header is whole.
type Seen = Arc<Mutex<Vec<(usize, String, Vec<u8>, bool)>>>;

fn recording_site(seen: &Seen) -> String {
    let seen = Arc::clone(seen);
    upstream(move |mut stream, mut head| {
        while !head.is_empty() {
            let value = |name: &str| {
                let line = head.lines().find_map(|line| line.strip_prefix(name));
                line.map_or(0, |value| value.parse::<usize>().unwrap())
            };
            let mut body = vec![0; value("Content-Length: ")];
            stream.read_exact(&mut body).unwrap();
            let line = head.lines().next().unwrap().to_owned();
            let whole = head.contains("\r\nX-Odd: <`\">\r\n");
            let request = (value("X-Id: "), line, body, whole);
            seen.lock().unwrap().push(request);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            head = read_head(&mut stream);
        }
    })
}

/// Requests one behind the other, cut anywhere: whatever arrives, arrives as it was sent.
#[test]
fn a_stream_that_is_cut_anywhere_arrives_as_it_was_sent() {
    let seen = Seen::default();
    let server = Server::start(&recording_site(&seen), "");
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut below = move |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 33).unwrap() % bound
    };
    const BODIES: [&[u8]; 5] = [
        b"",
        b"\r\n\r\n",
        b"< \xff> HTTP/1.1\r\n\r\n",
        b"GET /< HTTP/1.1\r\n\r\n",
        b"a=b",
    ];
    let mut sent = HashMap::new();
    for _ in 0..60 {
        let mut bytes = Vec::new();
        let count = 1 + below(4);
        for _ in 0..count {
            let (id, odd, body) = (sent.len(), below(2) == 1, BODIES[below(BODIES.len())]);
            let method = if body.is_empty() { "GET" } else { "POST" };
            let target = if odd { "/<".to_owned() } else { "/".to_owned() };
            bytes.extend_from_slice(
                format!(
                    "{method} {target}{id} HTTP/1.1\r\nHost: h\r\nX-Id: {id}\r\nX-Odd: <`\">\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                )
                .as_bytes(),
            );
            bytes.extend_from_slice(body);
            sent.insert(
                id,
                (
                    format!("{method} {}{id} HTTP/1.1", target.replace('<', "%3C")),
                    body.to_vec(),
                ),
            );
        }
        let mut stream = connect(&server.site);
        stream.set_nodelay(true).unwrap();
        let mut left = bytes.as_slice();
        while !left.is_empty() {
            let (piece, rest) = left.split_at(1 + below(left.len()));
            if stream.write_all(piece).is_err() {
                break;
            }
            left = rest;
            std::thread::sleep(std::time::Duration::from_millis(3));
        }
        // Each is answered, up to one that is refused.
        for _ in 0..count {
            let head = read_head(&mut stream);
            if !head.starts_with("HTTP/1.1 200") {
                assert!(
                    head.starts_with("HTTP/1.1 400") || head.is_empty(),
                    "{head}"
                );
                break;
            }
        }
    }
    let seen = seen.lock().unwrap();
    assert!(seen.len() > 60, "{}", seen.len());
    for (id, line, body, whole) in seen.iter() {
        let request = sent.remove(id).expect("each once");
        assert_eq!((line, body), (&request.0, &request.1));
        assert!(whole, "{line}");
    }
    assert!(seen.iter().any(|(_, line, ..)| line.contains("%3C")));
}
