//! Bodies that are read before the site is asked: what it gets then, and who does not reach it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::{
    Php, Server, Witness, connect, get, pullgate, read_head, read_response, send, send_raw,
    upstream, wait_for,
};
use crate::reload::reload;

pub(crate) const ADMIN: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"admin\"\n";

/// In front of this site, with a buffer of 100 bytes for each body.
fn start(site: &Witness, server: &str) -> Server {
    let more = format!("buffer_requests = \"100B\"\n{ADMIN}");
    Server::start_with_more(server, &site.url, &more)
}

/// A POST with these headers, and what has come of its body.
fn begin(server: &Server, headers: &str, body: &str) -> TcpStream {
    let mut stream = connect(&server.site);
    let request =
        format!("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// One of a body in chunks.
fn chunk(text: &str) -> String {
    format!("{:X}\r\n{text}\r\n", text.len())
}

/// Waits until so many bytes of bodies are in memory.
pub(crate) fn are_buffered(server: &Server, bytes: usize) {
    let line = format!("\npullgate_request_buffer_bytes {bytes}\n");
    wait_for(|| get(&server.admin(), "/metrics", &[]).body.contains(&line));
}

#[test]
fn the_site_is_asked_when_the_body_is_there() {
    let site = Witness::start();
    let server = start(&site, "");
    let mut stream = begin(&server, "Content-Length: 100", &"x".repeat(60));
    are_buffered(&server, 60);
    assert_eq!(site.count(), 0);
    stream.write_all(&[b'y'; 40]).unwrap();
    assert_eq!(read_response(stream).status, 200);
    let came = site.last(|_| true);
    assert_eq!(came.body(), "x".repeat(60) + &"y".repeat(40));
    assert!(came.has("content-length: 100"), "{came:?}");
    are_buffered(&server, 0);
}

#[test]
fn what_comes_in_chunks_gets_a_length_if_it_fits() {
    let site = Witness::start();
    let server = start(&site, "");
    for (chunks, whole) in [
        (vec!["one ", "and another"], "one and another"),
        (vec![], ""),
        (vec![&*"x".repeat(100)], &*"x".repeat(100)),
    ] {
        let chunks: String = chunks.into_iter().map(chunk).collect();
        let body = format!("{chunks}0\r\nX-Trailer: t\r\n\r\n");
        let stream = begin(&server, "Transfer-Encoding: chunked", &body);
        assert_eq!(read_response(stream).status, 200);
        let came = site.last(|_| true);
        assert_eq!(came.body(), whole);
        let length = format!("content-length: {}", whole.len());
        assert!(came.has(&length), "{came:?}");
        assert!(!came.has("transfer-encoding: chunked"), "{came:?}");
    }
}

#[test]
fn what_is_larger_streams() {
    let site = Witness::start();
    let server = start(&site, "");
    // It says so: nothing of it waits.
    let mut stream = begin(&server, "Content-Length: 101", "x");
    site.last(|site| site.body() == "x");
    stream.write_all(&[b'x'; 100]).unwrap();
    assert_eq!(read_response(stream).status, 200);
    assert_eq!(site.last(|_| true).body().len(), 101);

    // It turns out to be: what was read goes first.
    let (first, second) = (chunk(&"x".repeat(60)), chunk(&"y".repeat(60)));
    let mut stream = begin(&server, "Transfer-Encoding: chunked", &first);
    are_buffered(&server, 60);
    assert_eq!(site.count(), 1);
    stream.write_all(second.as_bytes()).unwrap();
    let both = format!("{first}{second}");
    let came = site.last(|site| site.body() == both);
    assert!(came.has("transfer-encoding: chunked"), "{came:?}");
    are_buffered(&server, 0);
    let last = format!("{}0\r\n\r\n", chunk("z"));
    stream.write_all(last.as_bytes()).unwrap();
    assert_eq!(read_response(stream).status, 200);
    assert_eq!(site.last(|_| true).body(), format!("{both}{last}"));
}

#[test]
fn beyond_the_memory_for_all_bodies_stream() {
    let site = Witness::start();
    let server = start(&site, "buffer_memory = \"150B\"\n");
    let length = "Content-Length: 100";
    let waits = begin(&server, length, &"x".repeat(90));
    are_buffered(&server, 90);
    let mut streams = begin(&server, length, &"y".repeat(90));
    site.last(|site| site.body() == "y".repeat(90));
    assert_eq!(site.count(), 1);
    streams.write_all(&[b'z'; 10]).unwrap();
    assert_eq!(read_response(streams).status, 200);
    assert_eq!(site.last(|_| true).body(), "y".repeat(90) + &"z".repeat(10));
    // Who goes away gives the memory back, and has cost the site nothing.
    drop(waits);
    are_buffered(&server, 0);
    let mut next = begin(&server, length, &"x".repeat(90));
    are_buffered(&server, 90);
    assert_eq!(site.count(), 1);
    next.write_all(&[b'x'; 10]).unwrap();
    assert_eq!(read_response(next).status, 200);
    assert_eq!(site.count(), 2);
}

#[test]
fn a_body_that_never_comes_whole_never_reaches_the_site() {
    let site = Witness::start();
    let pace = "body_timeout = \"1s\"\nmin_body_rate = \"1KB\"\n";
    let server = start(&site, pace);
    let mut slow = begin(&server, "Content-Length: 100", "");
    let mut sender = slow.try_clone().unwrap();
    // A hundred bytes would take ten seconds.
    std::thread::spawn(move || {
        while sender.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let head = read_head(&mut slow);
    assert!(head.starts_with("HTTP/1.1 408"), "{head}");
    let silent = begin(&server, "Content-Length: 8", "half");
    assert_eq!(read_response(silent).status, 408);
    let broken = chunk("half") + "no chunk\r\n";
    let broken = begin(&server, "Transfer-Encoding: chunked", &broken);
    assert_eq!(read_response(broken).status, 400);
    for how in [Shutdown::Write, Shutdown::Both] {
        let before = server.log().matches("the peer broke it off").count();
        let stream = begin(&server, "Content-Length: 8", "half");
        stream.shutdown(how).unwrap();
        wait_for(|| server.log().matches("the peer broke it off").count() > before);
    }
    are_buffered(&server, 0);
    assert_eq!(site.count(), 0);
    assert!(!server.log().contains("ERROR"), "{}", server.log());
}

#[test]
fn who_waits_to_be_told_to_go_on_is_told() {
    let site = Witness::start();
    let server = start(&site, "");
    let headers = "Expect: 100-continue\r\nContent-Length: 4";
    let mut stream = begin(&server, headers, "");
    assert_eq!(read_head(&mut stream), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(site.count(), 0);
    stream.write_all(b"body").unwrap();
    assert_eq!(read_response(stream).status, 200);
    assert_eq!(site.last(|_| true).body(), "body");
}

#[test]
fn a_post_in_memory_is_not_sent_twice() {
    let asked = Arc::<AtomicUsize>::default();
    let breaks_off = || {
        let asked = Arc::clone(&asked);
        upstream(move |mut stream, _| {
            asked.fetch_add(1, Ordering::SeqCst);
            let _ = stream.read_exact(&mut [0; 4]);
        })
    };
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"publish\"\n\
         [server]\nstate_dir = \"state\"\nthreads = 2\n\
         [upstream]\nurls = {:?}\nbuffer_requests = \"100B\"\n",
        [breaks_off(), breaks_off()]
    );
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let server = Server::run_as_configured(pullgate(), directory, &text);
    assert_eq!(send(&server.site, "POST", "/", &[], "body").status, 502);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn php_gets_a_slow_upload_in_one_go() {
    let php = Php::start("");
    let more = format!("buffer_requests = \"1MiB\"\n{ADMIN}");
    let server = Server::start(&php.url, &more);
    let file: String = (0..20_000).map(|number| format!("{number}\n")).collect();
    let body = format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"numbers.txt\"\r\n\r\n\
         {file}\r\n--b--\r\n"
    );
    let (first, second) = body.split_at(60);
    let mut stream = connect(&server.site);
    let head = "POST /upload.php HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
                Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream
        .write_all(format!("{head}{}", chunk(first)).as_bytes())
        .unwrap();
    are_buffered(&server, 60);
    let all = format!("{}0\r\n\r\n", chunk(second));
    stream.write_all(all.as_bytes()).unwrap();
    let response = read_response(stream);
    assert_eq!(response.status, 200);
    let upload = &response.json()["files"][0];
    assert_eq!(upload["name"], "numbers.txt");
    assert_eq!(upload["length"], file.len());
    are_buffered(&server, 0);
}

#[test]
fn a_reload_changes_every_key() {
    let site = Witness::start();
    let server = Server::start(&site.url, "# keys\n");
    let gets_a_length = |target: &str| {
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
        );
        assert_eq!(send_raw(&server.site, request.as_bytes()).status, 200);
        let came = site.last(|_| true);
        assert!(came.body().contains("body"), "{came:?}");
        came.has("content-length: 4")
    };
    assert!(!gets_a_length("/"));
    let path =
        "buffer_requests = \"3B\"\n[[path]]\nprefix = \"/upload/\"\nbuffer_requests = \"4B\"\n";
    let told = reload(&server, "# keys\n", path);
    assert!(told.contains("changes=\"upstream, paths\""), "{told}");
    assert!(!gets_a_length("/") && gets_a_length("/upload/"));
    reload(&server, "\"3B\"", "\"64KiB\"");
    assert!(gets_a_length("/"));
    reload(&server, "\"4B\"", "\"0B\"");
    assert!(gets_a_length("/") && !gets_a_length("/upload/"));
    let told = reload(&server, "[server]\n", "[server]\nbuffer_memory = \"3B\"\n");
    assert!(told.contains("changes=\"server\""), "{told}");
    assert!(!gets_a_length("/"));
}
