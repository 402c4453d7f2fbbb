//! What one address may have. Addresses are told by the PROXY protocol, or by `X-Forwarded-For`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::ADMIN;
use crate::harness::{
    Response, Server, connect, free_port, get, read_head, read_response, send_raw, upstream,
    wait_for,
};
use crate::proxy::mirror;
use crate::push::{A, signed};

/// In front of a mirror, with a listener for proxies.
pub(super) fn start(server: &str, more: &str) -> (Server, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let more = format!(
        "{more}[push]\nsignature_key = \"{}\"\n{ADMIN}[[listener]]\naddress = \"{address}\"\nproxy_protocol = true\n",
        crate::harness::SIGNATURE_KEY
    );
    let server = Server::start_with_more(server, &mirror(), &more);
    wait_for(|| TcpStream::connect(&address).is_ok());
    (server, address)
}

/// A connection from `client`, by the header of a proxy.
pub(super) fn come(address: &str, client: &str) -> TcpStream {
    let mut stream = connect(address);
    let family = if client.contains(':') { 6 } else { 4 };
    write!(stream, "PROXY TCP{family} {client} {client} 5555 80\r\n").unwrap();
    stream
}

pub(super) fn ask(mut stream: TcpStream) -> Response {
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    read_response(stream)
}

/// The status of a request with such a target, so many lines, and so many bytes in each.
pub(super) fn status_of(server: &Server, target: usize, lines: usize, length: usize) -> u16 {
    let lines = format!("X-Any: {}\r\n", "x".repeat(length)).repeat(lines);
    let target = "x".repeat(target);
    let request = format!("GET /{target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n");
    send_raw(&server.site, request.as_bytes()).status
}

/// Asks for a websocket: the status, and the connection.
pub(super) fn upgrade(mut stream: TcpStream, target: &str) -> (String, TcpStream) {
    let lines = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\n{lines}\r\n").unwrap();
    let head = read_head(&mut stream);
    (head.get(9..12).unwrap_or_default().to_owned(), stream)
}

#[test]
fn an_address_has_its_own_connections() {
    let (server, address) = start("max_connections_per_address = 2\n", "");
    let hold = |client: &str| {
        let mut stream = come(&address, client);
        write!(stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        read_head(&mut stream);
        stream
    };
    let held = [hold("203.0.113.1"), hold("203.0.113.1")];
    let response = ask(come(&address, "203.0.113.1"));
    assert_eq!(response.status, 503);
    assert!(response.header("retry-after").is_some());
    assert_eq!(server.refused("connections_per_address"), 1);
    assert_eq!(ask(come(&address, "203.0.113.2")).status, 200);
    // Those of IPv6 are one within a /64. A trusted proxy is nobody's address.
    let six = [hold("2001:db8::1"), hold("2001:db8::2")];
    assert_eq!(ask(come(&address, "2001:db8::3")).status, 503);
    assert_eq!(ask(come(&address, "2001:db8:0:1::3")).status, 200);
    let proxies: Vec<TcpStream> = (0..5).map(|_| hold("127.0.0.1")).collect();
    assert_eq!(proxies.len(), 5);
    drop((held, six));
    wait_for(|| ask(come(&address, "203.0.113.1")).status == 200);
    wait_for(|| server.log().contains("server.max_connections_per_address"));
}

const SELDOM: &str = "[limits]\nrequests_per_second = 1\nrequest_burst = 3\n";

#[test]
fn an_address_asks_so_often() {
    let (server, address) = start("", SELDOM);
    let count = |ask: &dyn Fn() -> u16| {
        let statuses: Vec<u16> = (0..30).map(|_| ask()).collect();
        assert!(statuses.iter().all(|status| [200, 429].contains(status)));
        statuses.iter().filter(|status| **status == 429).count()
    };
    let by_header = |visitor: &str| {
        let line = format!("X-Forwarded-For: {visitor}");
        get(&server.site, "/", &[&line]).status
    };
    // However slow the machine is, thirty take less than half a minute.
    assert!(count(&|| ask(come(&address, "203.0.113.1")).status) > 0);
    assert!(count(&|| by_header("203.0.113.2")) > 0);
    assert!(count(&|| by_header("nobody")) > 0, "unknown ones are one");
    assert_eq!(by_header("203.0.113.3"), 200, "others go on");
    assert_eq!(
        count(&|| get(&server.site, "/", &[]).status),
        0,
        "the proxy"
    );
    assert!(server.refused("requests") >= 3);
    wait_for(|| server.log().contains("limits.requests_per_second"));
    // The connection goes on, and is told when to ask again.
    let mut stream = come(&address, "203.0.113.4");
    let head = (0..30).find_map(|_| {
        write!(stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let head = read_head(&mut stream);
        let length = head.lines().find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        });
        stream.read_exact(&mut vec![0; length.unwrap()]).unwrap();
        head.starts_with("HTTP/1.1 429").then_some(head)
    });
    let head = head.unwrap();
    assert!(head.contains("Retry-After: 1\r\n"), "{head}");
    assert!(!head.contains("Connection: close"), "{head}");
}

#[test]
fn a_flood_of_refusals_is_a_line_a_second() {
    const ASKED: usize = 300;
    let (server, address) = start("", SELDOM);
    let mut stream = come(&address, "203.0.113.1");
    let request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut ask = |times: usize| {
        stream.write_all(request.repeat(times).as_bytes()).unwrap();
        let refused = |_| {
            let head = read_head(&mut stream);
            let length = head.to_ascii_lowercase();
            let length = length.split_once("content-length: ").unwrap().1;
            let length = length.lines().next().unwrap().parse().unwrap();
            stream.read_exact(&mut vec![0; length]).unwrap();
            head.starts_with("HTTP/1.1 429")
        };
        (0..times).map(refused).filter(|refused| *refused).count()
    };
    let mut refused = ask(ASKED);
    assert!(refused > 0);
    let told = |log: &str| {
        let lines = log.lines().filter(|line| line.contains("status=429"));
        let of = |line: &str| {
            let (_, of) = line.split_once(" refused=")?;
            of.split(' ').next()?.parse().ok()
        };
        lines
            .map(|line| of(line).unwrap_or(1))
            .collect::<Vec<usize>>()
    };
    // The lines of later seconds tell of those before, too, but for what came behind the last of them.
    wait_for(|| {
        refused += ask(1);
        let told = told(&server.log());
        told.iter().any(|of| *of > 1) && told.len() < refused / 2
    });
    wait_for(|| server.refused("requests") == u64::try_from(refused).unwrap());
    assert!(told(&server.log()).iter().sum::<usize>() <= refused);
}

#[test]
fn the_site_publishes_as_often_as_it_likes() {
    let (server, _) = start("trusted_proxies = [\"127.0.0.9\"]\n", SELDOM);
    let publish = "POST /bitrix/pub/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\ntext";
    for _ in 0..20 {
        let response = send_raw(&server.publish, publish.as_bytes());
        assert_eq!(response.status, 200);
    }
    assert!((0..30).any(|_| get(&server.site, "/", &[]).status == 429));
}

#[test]
fn an_address_has_its_own_websockets_and_polls() {
    let limits = "[limits]\nwebsockets_per_address = 2\npolls_per_address = 1\n";
    let (server, address) = start("", limits);
    let target = format!("/bitrix/subws/?CHANNEL_ID={}", signed(&server, A));
    let websocket = |client: &str| upgrade(come(&address, client), &target);
    let poll = || {
        let mut stream = come(&address, "203.0.113.1");
        write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        stream
    };
    let held = [websocket("203.0.113.1"), websocket("203.0.113.1")];
    assert!(held.iter().all(|(status, _)| status == "101"));
    assert_eq!(websocket("203.0.113.1").0, "429");
    assert_eq!(websocket("203.0.113.2").0, "101");
    drop(held);
    wait_for(|| websocket("203.0.113.1").0 == "101");
    // One of two waits, and the other is told.
    let polls = [poll(), poll()];
    for poll in &polls {
        let short = Some(Duration::from_millis(50));
        poll.set_read_timeout(short).unwrap();
    }
    let is_told = |poll: &TcpStream| {
        let mut status = [0; 12];
        poll.peek(&mut status).is_ok() && status == *b"HTTP/1.1 429"
    };
    wait_for(|| polls.iter().any(is_told));
    assert!(server.refused("websockets") >= 1);
    assert!(server.refused("polls") >= 1);
}

#[test]
fn all_together_are_so_many_new_guests() {
    let (server, address) = start("", "[guest]\nnew_per_minute_in_all = 3\n");
    let is_new = |client: u8| {
        let mut stream = come(&address, &format!("203.0.113.{client}"));
        let page = "Accept: text/html\r\nUser-Agent: Mozilla\r\nConnection: close\r\n";
        write!(stream, "GET / HTTP/1.1\r\nHost: x\r\n{page}\r\n").unwrap();
        read_response(stream).cookie().is_some()
    };
    assert!((1..=3).all(is_new));
    assert!((4..=20).any(|client| !is_new(client)));
    assert!(server.refused("new_guests") >= 1);
}

#[test]
fn heads_and_targets_are_as_long_as_configured() {
    let server = "max_head = \"8KiB\"\nmax_headers = 20\nmax_target = \"1KiB\"\n";
    let (server, _) = start(server, "");
    assert_eq!(status_of(&server, 1000, 18, 300), 200);
    assert_eq!(status_of(&server, 1024, 1, 1), 414);
    assert_eq!(status_of(&server, 1, 19, 1), 431);
    assert_eq!(status_of(&server, 1, 10, 1000), 431);
    // hyper answers to a long head by itself: it is counted when the connection has ended.
    wait_for(|| (server.refused("head"), server.refused("target")) == (2, 1));
}

#[test]
fn a_body_that_trickles_is_408() {
    let patient = upstream(|mut stream, _| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let pace = "body_timeout = \"2s\"\nmin_body_rate = \"1KB\"\n";
    let server = Server::start_with_more(pace, &patient, ADMIN);
    let mut stream = connect(&server.site);
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut sender = stream.try_clone().unwrap();
    // Never silent for long, and never done.
    std::thread::spawn(move || {
        while sender.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let head = read_head(&mut stream);
    assert!(head.starts_with("HTTP/1.1 408"), "{head}");
    assert_eq!(server.refused("body_rate"), 1);
    wait_for(|| server.log().contains("slower than 1000 bytes a second"));
}
