//! The site's own websockets: counted, idle, and at a stop.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::harness::{Server, connect, get, read_head, signal, upstream, wait_for};
use crate::proxy::mirror;

const ADMIN: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"admin\"\n";

/// Switches protocols and echoes.
fn echo() -> String {
    upstream(|mut stream, _| {
        let _ = stream.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        );
        let mut buffer = [0; 100];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            let _ = stream.write_all(&buffer[..read]);
        }
    })
}

fn open(server: &Server) -> TcpStream {
    let mut stream = connect(&server.site);
    write!(
        stream,
        "GET /own HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    .unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101"));
    stream
}

fn echoes(stream: &mut TcpStream) -> bool {
    stream.write_all(b"ping").is_ok() && stream.read_exact(&mut [0; 4]).is_ok()
}

#[test]
fn they_count() {
    let server = Server::start_with_more("max_connections = 1\n", &echo(), ADMIN);
    let admin = server.admin();
    let mut tunnel = open(&server);
    let connections = |count: usize| {
        let line = format!("pullgate_connections {count}\n");
        get(&admin, "/metrics", &[]).body.contains(&line)
    };
    // The question itself is one.
    wait_for(|| connections(2));
    assert_eq!(get(&server.site, "/", &[]).status, 503);
    assert!(echoes(&mut tunnel));
    drop(tunnel);
    wait_for(|| connections(1));
}

#[test]
fn their_bytes_pass_as_they_are() {
    let server = Server::start(&echo(), "");
    let mut tunnel = open(&server);
    let bytes = b"\r\n\r\nGET /<\xff HTTP/1.1\r\n\r\nGET /< HTTP/1.1\r\n\r\n";
    for _ in 0..2 {
        tunnel.write_all(bytes).unwrap();
        let mut echoed = [0; 43];
        tunnel.read_exact(&mut echoed).unwrap();
        assert_eq!(&echoed, bytes);
    }
}

#[test]
fn both_sides_silent_for_too_long_is_the_end() {
    let server = Server::start(&echo(), "tunnel_timeout = \"4s\"\n");
    let mut tunnel = open(&server);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        assert!(echoes(&mut tunnel), "{:?}", began.elapsed());
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(tunnel.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn they_may_end_within_the_drain_time() {
    let server = Server::start_with("drain_timeout = \"300s\"\n", &echo());
    let mut tunnel = open(&server);
    let address = server.site.clone();
    let stopping = std::thread::spawn(move || server.terminate());
    wait_for(|| TcpStream::connect(&address).is_err());
    for _ in 0..5 {
        assert!(echoes(&mut tunnel), "still carried");
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(tunnel);
    let (success, took) = stopping.join().unwrap();
    assert!(success && took < Duration::from_secs(100), "{took:?}");
}

#[test]
fn those_that_do_not_end_are_cut_off_then() {
    let server = Server::start_with("drain_timeout = \"1s\"\n", &echo());
    let mut tunnel = open(&server);
    let (success, took) = server.terminate();
    assert!(success && took >= Duration::from_secs(1), "{took:?}");
    assert!(!echoes(&mut tunnel));
}

#[test]
fn nothing_is_waited_for_after_the_second_signal() {
    let server = Server::start_with("drain_timeout = \"1h\"\n", &echo());
    let mut tunnel = open(&server);
    signal(server.pid(), "TERM");
    wait_for(|| TcpStream::connect(&server.site).is_err());
    assert!(echoes(&mut tunnel), "the first lets it end");
    let (success, _) = server.terminate();
    assert!(success);
    assert!(!echoes(&mut tunnel));
}

#[test]
fn half_a_head_does_not_delay_a_stop() {
    let server = Server::start_with("drain_timeout = \"300s\"\n", &mirror());
    let mut fresh = connect(&server.site);
    fresh.write_all(b"GET / HTTP/1.1\r\nHo").unwrap();
    let mut kept = connect(&server.site);
    kept.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHo")
        .unwrap();
    assert!(read_head(&mut kept).starts_with("HTTP/1.1 200"));
    let (success, took) = server.terminate();
    assert!(success && took < Duration::from_secs(100), "{took:?}");
}

#[test]
fn a_response_under_way_outlives_half_a_head_behind_it() {
    const SIZE: usize = 32 << 20;
    let big = upstream(|mut stream, _| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
        let _ = stream.write_all(&vec![b'x'; SIZE]);
    });
    let server = Server::start_with("drain_timeout = \"300s\"\n", &big);
    let mut client = connect(&server.site);
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHo")
        .unwrap();
    assert!(read_head(&mut client).starts_with("HTTP/1.1 200"));
    let address = server.site.clone();
    let stopping = std::thread::spawn(move || server.terminate());
    wait_for(|| TcpStream::connect(&address).is_err());
    let mut received = 0;
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = client.read(&mut buffer) {
        received += read;
    }
    assert_eq!(received, SIZE);
    let (success, took) = stopping.join().unwrap();
    assert!(success && took < Duration::from_secs(100), "{took:?}");
}
