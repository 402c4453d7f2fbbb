//! HTTP/2: requests as they arrive at the site, what bounds a client, and how it is let go.

mod floods;
pub(crate) mod frames;

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use crate::harness::{Witness, upstream, wait_for};
use crate::push::{A, bodies, mid, publish, signed, wait_until_online};
use crate::request_buffering::{ADMIN, are_buffered};
use crate::tls::{echo, ended, start_one};
use frames::{Client, END_HEADERS, END_STREAM, Kind, block, frame};

const NOWHERE: &str = "http://127.0.0.1:1";

#[test]
fn a_request_arrives_as_one_of_http1() {
    let server = start_one("", &echo(), "");
    let mut client = Client::open(&server);
    // Cookies come in crumbs (RFC 9113 8.2.3), and the host in the authority.
    client.request(
        1,
        &[
            ("cookie", "a=1"),
            ("te", "trailers"),
            ("cookie", "b=2"),
            ("cookie", "c=3"),
        ],
    );
    let response = client.response(1);
    let head = response.body();
    assert_eq!(response.status, "200", "{head}");
    let lower = head.to_ascii_lowercase();
    assert!(lower.starts_with("get /page?x http/1.1\r\n"), "{head}");
    assert!(lower.contains("\r\ncookie: a=1; b=2; c=3\r\n"), "{head}");
    assert_eq!(lower.matches("\r\ncookie:").count(), 1, "{head}");
    assert!(lower.contains("\r\nhost: site.test\r\n"), "{head}");
    assert!(lower.contains("\r\nx-forwarded-proto: https\r\n"), "{head}");
    assert!(
        !lower.contains("\r\nte:") && !lower.contains("\r\nconnection:"),
        "{head}"
    );
}

#[test]
fn a_host_that_is_not_the_authority_is_refused() {
    let server = start_one("", &echo(), "");
    let mut client = Client::open(&server);
    for (at, (host, status)) in [
        ("site.test", "200"),
        ("SITE.test:443", "200"),
        ("evil.test", "400"),
        ("", "400"),
    ]
    .into_iter()
    .enumerate()
    {
        let stream = 2 * u32::try_from(at).unwrap() + 1;
        client.request(stream, &[("host", host)]);
        assert_eq!(client.response(stream).status, status, "{host}");
    }
    // Headers of one connection make a request malformed (RFC 9113 8.2.2).
    for (stream, header) in [
        (9, "connection"),
        (11, "transfer-encoding"),
        (13, "upgrade"),
    ] {
        client.request(stream, &[(header, "x")]);
        assert!(client.was_reset(stream), "{header}");
    }
    client.request(15, &[]);
    assert_eq!(client.response(15).status, "200", "others go on");
}

#[test]
fn requests_do_not_wait_for_each_other() {
    let server = start_one("", &echo(), "");
    let channel = signed(&server, A);
    let mut client = Client::open(&server);
    // A long poll, behind which the site is asked.
    client.get(1, &format!("/bitrix/sub/?CHANNEL_ID={channel}"), &[]);
    wait_until_online(&server);
    client.request(3, &[]);
    assert_eq!(client.response(3).status, "200");
    publish(&server, A, "\"first\"", 60);
    let response = client.response(1);
    assert_eq!(response.status, "200");
    assert_eq!(bodies(&response.body()), ["\"first\""]);
}

/// As on HTTP/1.1: who publishes does not always wait to hear of it.
#[test]
fn a_publish_whose_stream_is_reset_at_once_is_carried_out() {
    let server = start_one("", NOWHERE, "publish_allow = [\"127.0.0.0/8\"]\n");
    let channel = signed(&server, A);
    let mut client = Client::open(&server);
    let mut last = "0".repeat(26);
    for number in 0..20 {
        let body = number.to_string();
        let (publish, poll) = (4 * number + 1, 4 * number + 3);
        let head = block(&[
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "site.test"),
            (":path", &format!("/bitrix/pub/?CHANNEL_ID={A}")),
            ("message-expiry", "600"),
        ]);
        let frames = [
            frame(Kind::Headers, END_HEADERS, publish, &head),
            frame(Kind::Data, END_STREAM, publish, body.as_bytes()),
            // CANCEL (RFC 9113 7).
            frame(Kind::Reset, 0, publish, &8u32.to_be_bytes()),
        ];
        client.try_send(&frames.concat()).unwrap();
        let path = format!("/bitrix/sub/?CHANNEL_ID={channel}&mid={last}");
        client.get(poll, &path, &[]);
        let answer = client.response(poll);
        assert_eq!(answer.status, "200", "{body} was lost");
        let came = answer.body();
        assert_eq!(bodies(&came), [body]);
        mid(&came).clone_into(&mut last);
    }
}

#[test]
fn large_bodies_go_both_ways() {
    const SIZE: usize = 5 << 20;
    let site = upstream(|mut stream, head| {
        let body = crate::tls::chunked_body(&mut stream, &head);
        let length = body.len();
        let head =
            format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
    });
    let server = start_one("", &site, "");
    let mut client = Client::open(&server);
    let body: Vec<u8> = (0..SIZE)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect();
    client.post(1, "/", &body);
    let response = client.response(1);
    assert_eq!(response.status, "200");
    assert!(response.data == body, "{} bytes", response.data.len());
}

#[test]
fn no_websockets_are_offered_over_it() {
    let server = start_one("", NOWHERE, "");
    let mut client = Client::open(&server);
    client.request(1, &[]);
    client.response(1);
    // SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 3).
    assert!(
        !client
            .settings()
            .iter()
            .any(|(key, value)| *key == 8 && *value == 1)
    );
    client.headers(
        3,
        &[
            (":method", "CONNECT"),
            (":scheme", "https"),
            (":authority", "site.test"),
            (":path", "/"),
            (":protocol", "websocket"),
        ],
        true,
    );
    assert!(client.was_reset(3));
}

#[test]
fn a_response_that_is_not_taken_ends_and_others_go_on() {
    let left = Arc::new(Mutex::new(false));
    let leaves = Arc::clone(&left);
    let site = upstream(move |mut stream, head| {
        if head.starts_with("GET /fountain") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
            while stream.write_all(&[b'x'; 1 << 16]).is_ok() {}
            *leaves.lock().unwrap() = true;
        } else {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let server = start_one("send_timeout = \"1s\"\n", &site, "");
    let mut client = Client::open(&server);
    // 65,535 bytes are taken; then its window is shut, and that of the connection is not.
    client.open_connection_window(1 << 20);
    client.get(1, "/fountain", &[]);
    assert!(client.was_reset(1));
    client.request(3, &[]);
    assert_eq!(client.response(3).body(), "ok");
    wait_for(|| *left.lock().unwrap());
}

#[test]
fn polls_that_take_nothing_are_reset_when_all_together_are_too_much() {
    let server = start_one(
        "send_timeout = \"1h\"\nqueues_memory = \"16MiB\"\n",
        NOWHERE,
        "",
    );
    let long = "x".repeat(540_000);
    for _ in 0..2 {
        publish(&server, A, &long, 600);
    }
    let target = format!(
        "/bitrix/sub/?CHANNEL_ID={}&mid={}",
        signed(&server, A),
        "0".repeat(26)
    );
    let mut client = Client::open(&server);
    // Each holds a piece of half a megabyte, and none has its window opened.
    for stream in 0..60 {
        client.get(2 * stream + 1, &target, &[]);
    }
    while client.next().expect("a reset").kind != Kind::Reset as u8 {}
}

#[test]
fn who_is_idle_or_never_begins_is_let_go() {
    let server = start_one(
        "header_timeout = \"3s\"\nsend_timeout = \"3s\"\n",
        &echo(),
        "",
    );
    let mut client = Client::open(&server);
    client.request(1, &[]);
    assert_eq!(client.response(1).status, "200");
    assert!(client.was_sent_away(), "GOAWAY");
    assert_eq!(client.end(), None);

    // The preface never comes.
    let mut silent = Client::connect(&server);
    ended(&mut silent);
    // Half a head does not come to its end.
    let mut half = Client::open(&server);
    half.frame(Kind::Headers, 0, 1, &[0x82]);
    assert!(half.was_sent_away());
}

#[test]
fn a_body_that_stops_ends_its_request() {
    let server = start_one("body_timeout = \"1s\"\n", &echo_later(), "");
    let mut client = Client::open(&server);
    client.headers(
        1,
        &[
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "site.test"),
            (":path", "/"),
        ],
        false,
    );
    client.frame(Kind::Data, 0, 1, b"half");
    assert_eq!(client.response(1).status, "408");
}

#[test]
fn a_body_that_is_too_large_is_refused() {
    let site = Witness::start();
    let path = "[[path]]\nprefix = \"/upload/\"\nmax_body = \"100B\"\n";
    let server = start_one("", &site.url, path);
    let mut client = Client::open(&server);
    let post = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "site.test"),
        (":path", "/%75pload/"),
    ];
    let says_so = [post.as_slice(), &[("content-length", "101")]].concat();
    client.headers(1, &says_so, false);
    assert_eq!(client.response(1).status, "413");
    assert_eq!(site.count(), 0);
    client.request(3, &[]);
    assert_eq!(client.response(3).status, "200", "others go on");
    // The client of these tests reads a status only where it is written out, the first time.
    let mut client = Client::open(&server);
    client.headers(1, &post, false);
    client.frame(Kind::Data, 0, 1, &[b'x'; 60]);
    site.last(|site| site.body().contains(&"x".repeat(60)));
    client.frame(Kind::Data, 0, 1, &[b'x'; 60]);
    assert_eq!(client.response(1).status, "413");
    let cut = site.last(|site| site.ended);
    assert!(!cut.body().ends_with("0\r\n\r\n"), "{cut:?}");
}

#[test]
fn a_body_is_read_before_the_site_is_asked() {
    let site = Witness::start();
    let path = "[[path]]\nprefix = \"/\"\nbuffer_requests = \"100B\"\n";
    let server = start_one("", &site.url, &format!("{path}{ADMIN}"));
    let mut client = Client::open(&server);
    let post = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "site.test"),
        (":path", "/"),
    ];
    client.headers(1, &post, false);
    client.frame(Kind::Data, 0, 1, &[b'x'; 60]);
    are_buffered(&server, 60);
    assert_eq!(site.count(), 0);
    client.frame(Kind::Data, END_STREAM, 1, &[b'x'; 40]);
    assert_eq!(client.response(1).status, "200");
    let came = site.last(|_| true);
    assert!(came.has("content-length: 100"), "{came:?}");
    assert_eq!(came.body(), "x".repeat(100));
    // Whoever takes it back has cost the site nothing.
    client.headers(3, &post, false);
    client.frame(Kind::Data, 0, 3, &[b'x'; 60]);
    are_buffered(&server, 60);
    client.frame(Kind::Reset, 0, 3, &8_u32.to_be_bytes());
    are_buffered(&server, 0);
    assert_eq!(site.count(), 1);
}

/// A site that waits for a body which does not come.
fn echo_later() -> String {
    upstream(|mut stream, _| {
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

#[test]
fn a_stop_says_goodbye_and_lets_requests_end() {
    let server = start_one("", NOWHERE, "");
    let channel = signed(&server, A);
    let mut client = Client::open(&server);
    client.get(1, &format!("/bitrix/sub/?CHANNEL_ID={channel}"), &[]);
    wait_until_online(&server);
    let ended = std::thread::spawn(|| server.terminate());
    assert_eq!(client.response(1).status, "304");
    assert!(client.was_sent_away());
    drop(client);
    assert!(ended.join().unwrap().0);
}
