//! Slow readers, too many connections, no file descriptors left; and what one address may have ([`visitors`]).

mod reloads;
mod visitors;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::harness::{Server, connect, get, read_head, read_response, upstream, wait_for};

const ADMIN: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"admin\"\n";

/// Writes this many bytes as an answer, and tells how many it got rid of.
fn fountain(size: usize) -> (String, mpsc::Receiver<usize>) {
    let (tell, told) = mpsc::channel();
    let url = upstream(move |mut stream, _| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
        let mut sent = 0;
        while sent < size && stream.write_all(&[b'x'; 1 << 16]).is_ok() {
            sent += 1 << 16;
        }
        let _ = tell.send(sent);
    });
    (url, told)
}

#[test]
fn a_reader_that_takes_nothing_is_let_go_and_the_site_with_it() {
    let (url, told) = fountain(1 << 30);
    let server = Server::start_with("send_timeout = \"500ms\"\n", &url);
    let mut stream = connect(&server.site);
    write!(stream, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let sent = told.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(sent < 1 << 30, "the site's connection went");
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    assert!(all.len() < 1 << 30, "so did the client's");
}

#[test]
fn a_slow_reader_gets_the_whole() {
    const SIZE: usize = 12 << 20;
    let (url, _told) = fountain(SIZE);
    let server = Server::start_with("send_timeout = \"3s\"\n", &url);
    let mut stream = connect(&server.site);
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    read_head(&mut stream);
    let mut buffer = vec![0; 256 << 10];
    let (mut received, began) = (0, Instant::now());
    while received < SIZE {
        let read = stream.read(&mut buffer).unwrap();
        assert!(
            read > 0,
            "cut off at {received} after {:?}",
            began.elapsed()
        );
        received += read;
        // In all this takes a multiple of the send timeout.
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(began.elapsed() > Duration::from_secs(9));
}

#[test]
fn who_merely_waits_is_not_let_go() {
    let late = upstream(|mut stream, mut head| {
        while !head.is_empty() {
            std::thread::sleep(Duration::from_secs(1));
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            head = read_head(&mut stream);
        }
    });
    let server = Server::start_with("send_timeout = \"200ms\"\n", &late);
    let mut stream = connect(&server.site);
    for _ in 0..2 {
        write!(stream, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        assert!(read_head(&mut stream).starts_with("HTTP/1.1 200"));
        stream.read_exact(&mut [0; 2]).unwrap();
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn keep_open(address: &str, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| connect(address)).collect()
}

/// Those that got in, and how many were turned away: they are told so before they ask.
fn admitted(server: &Server, clients: Vec<TcpStream>) -> (Vec<TcpStream>, usize) {
    let mut refused = 0;
    wait_for(|| {
        // The question itself is a connection, too.
        let open = server.metric("pullgate_connections") - 1;
        refused = server.metric("pullgate_refused_total{reason=\"connections\"}");
        open + refused == clients.len() as u64
    });
    let refused = usize::try_from(refused).unwrap();
    let is_told = |client: &TcpStream| {
        client.set_nonblocking(true).unwrap();
        let told = client.peek(&mut [0]).is_ok();
        client.set_nonblocking(false).unwrap();
        told
    };
    wait_for(|| clients.iter().filter(|client| is_told(client)).count() == refused);
    let (told, admitted): (Vec<_>, Vec<_>) = clients.into_iter().partition(is_told);
    for mut client in told {
        assert!(read_head(&mut client).starts_with("HTTP/1.1 503"));
    }
    (admitted, refused)
}

#[test]
fn beyond_the_limit_clients_get_503_and_the_administrator_gets_in() {
    let server = Server::start_with_more("max_connections = 3\n", "http://127.0.0.1:1", ADMIN);
    let admin = server.admin();
    let mut first = keep_open(&server.site, 3);
    for stream in &mut first {
        write!(stream, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        assert!(read_head(stream).starts_with("HTTP/1.1 502"));
    }
    let metrics = get(&admin, "/metrics", &[]).body;
    assert!(metrics.contains("pullgate_connections 4\n"), "{metrics}");
    let refused = get(&server.site, "/", &[]);
    assert_eq!(
        (refused.status, refused.body.as_str()),
        (503, "Too many connections.")
    );
    assert_eq!(get(&admin, "/healthz", &[]).status, 200);
    wait_for(|| {
        server
            .log()
            .contains("there are as many connections as may be")
    });
    drop(first.pop());
    wait_for(|| get(&server.site, "/", &[]).status == 502);
}

#[test]
fn the_limit_on_open_files_is_raised_as_far_as_may_be() {
    let mut command = Command::new("sh");
    let script = "ulimit -S -n 100 && ulimit -H -n 700 && exec \"$0\" \"$@\"";
    command
        .args(["-c", script])
        .arg(env!("CARGO_BIN_EXE_pullgate"));
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let server = Server::run(command, directory, "", "http://127.0.0.1:1", "");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let limits: Vec<&str> = line.unwrap().split_whitespace().take(2).collect();
    assert_eq!(limits, ["700", "700"]);
    wait_for(|| server.log().contains("the limit on open files limit=700"));
}

#[test]
fn file_descriptors_are_kept_for_the_site_and_the_administrator() {
    let site = upstream(|mut stream, _| {
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    });
    let server = Server::start_within(160, "", &site, ADMIN);
    let admin = server.admin();
    let (mut served, refused) = admitted(&server, keep_open(&server.site, 300));
    assert!(refused > 0 && served.len() > 20, "{refused} refused");
    assert_eq!(get(&admin, "/healthz", &[]).status, 200);
    assert_eq!(get(&server.site, "/", &[]).status, 503);
    // Who is in is served, over a connection to the site.
    let mut client = served.remove(0);
    write!(
        client,
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    assert_eq!(read_response(client).body, "ok");
    assert!(
        !server.log().contains("could not be accepted"),
        "{}",
        server.log()
    );
}

#[test]
fn without_a_descriptor_for_the_site_a_client_gets_503() {
    // Nobody is answered before everybody has asked.
    let asked = Arc::new(Barrier::new(2));
    let first = Mutex::new(Some(Arc::clone(&asked)));
    let site = upstream(move |mut stream, _| {
        let mut first = first.lock().unwrap();
        if let Some(asked) = first.take() {
            asked.wait();
        }
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    });
    let server = Server::start_within(160, "", &site, ADMIN);
    let admin = server.admin();
    let (mut clients, _) = admitted(&server, keep_open(&server.site, 300));
    for client in &mut clients {
        write!(client, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    }
    wait_for(|| server.log().contains("no file descriptor is left"));
    assert_eq!(get(&admin, "/healthz", &[]).status, 200);
    assert_eq!(get(&server.site, "/", &[]).status, 503);
    asked.wait();
    let heads: Vec<String> = clients.iter_mut().map(read_head).collect();
    let count = |status: &str| heads.iter().filter(|head| head.contains(status)).count();
    let (served, refused) = (count("HTTP/1.1 200"), count("HTTP/1.1 503"));
    assert!(served > 0 && refused > 0, "{heads:?}");
    assert_eq!(served + refused, heads.len(), "{heads:?}");
}
