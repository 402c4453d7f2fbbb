//! Several back ends of one site.

mod checks;
mod sticky;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{iter, thread};

use crate::harness::{
    Response, Server, Silent, connect, free_port, get, pullgate, read_head, read_response, send,
    upstream, wait_for,
};
use crate::reload::{reload, site};

const ADMIN: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"admin\"\n";

fn start(back_ends: &[&str]) -> Server {
    start_with(back_ends, "")
}

/// With more lines behind `[upstream]`.
fn start_with(back_ends: &[&str], more: &str) -> Server {
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"site\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"publish\"\n{ADMIN}\
         [server]\nstate_dir = \"state\"\nthreads = 2\n[upstream]\nurls = {back_ends:?}\n{more}"
    );
    let directory = Arc::new(tempfile::tempdir().unwrap());
    Server::run_as_configured(pullgate(), directory, &text)
}

fn word(server: &Server) -> String {
    let page = get(&server.site, "/", &[]);
    assert_eq!(page.status, 200, "{page:?}");
    page.body
}

fn metric(server: &Server, name: &str, back_end: &str, value: u64) -> bool {
    let line = format!("pullgate_back_end_{name}{{back_end=\"{back_end}\"}} {value}\n");
    get(&server.admin(), "/metrics", &[]).body.contains(&line)
}

/// An address that refuses.
fn dead() -> String {
    format!("http://127.0.0.1:{}", free_port())
}

/// Takes one connection, and answers one request on it with a word.
fn answer_once(listener: &TcpListener, word: &str) {
    let (mut stream, _) = listener.accept().unwrap();
    read_head(&mut stream);
    let length = word.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream
        .write_all(format!("{head}{word}").as_bytes())
        .unwrap();
}

/// Counts whom it is asked by, and goes without an answer.
fn breaking_off(asked: &Arc<AtomicUsize>) -> String {
    let asked = Arc::clone(asked);
    upstream(move |stream, _| {
        asked.fetch_add(1, Ordering::SeqCst);
        let _ = stream.shutdown(Shutdown::Both);
    })
}

#[test]
fn each_gets_its_share_and_a_dead_one_is_never_seen() {
    let (one, other, dead) = (site("one"), site("other"), dead());
    let server = start(&[&one, &dead, &other]);
    let words: Vec<String> = (0..20).map(|_| word(&server)).collect();
    for name in ["one", "other"] {
        let count = words.iter().filter(|word| *word == name).count();
        assert!(count >= 5, "{words:?}");
    }
    assert!(metric(&server, "up", &dead, 0) && metric(&server, "up", &one, 1));
    assert!(!metric(&server, "failures_total", &dead, 0));
    wait_for(|| server.log().matches("a back end is out").count() == 1);
}

#[test]
fn the_only_one_is_there_again_with_the_first_request() {
    let port = free_port();
    let back_end = format!("http://127.0.0.1:{port}");
    let server = start(&[&back_end]);
    for _ in 0..3 {
        assert_eq!(get(&server.site, "/", &[]).status, 502);
    }
    assert!(metric(&server, "up", &back_end, 0));
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let back = thread::spawn(move || answer_once(&listener, "back"));
    assert_eq!(word(&server), "back");
    back.join().unwrap();
    assert!(metric(&server, "up", &back_end, 1));
    wait_for(|| server.log().contains("a back end is in again"));
}

#[test]
fn one_is_out_after_so_many_failures_and_tried_again_after_its_pause() {
    let port = free_port();
    let (gone, well) = (format!("http://127.0.0.1:{port}"), site("well"));
    let health = "[upstream.health]\nmax_failures = 3\npause = \"1h\"\n";
    let server = start_with(&[&gone, &well], health);
    for failures in 0..3 {
        assert!(metric(&server, "up", &gone, 1));
        while metric(&server, "failures_total", &gone, failures) {
            assert_eq!(word(&server), "well");
        }
    }
    assert!(metric(&server, "up", &gone, 0) && metric(&server, "check_failing", &gone, 0));
    for _ in 0..4 {
        assert_eq!(word(&server), "well");
    }
    assert!(
        metric(&server, "failures_total", &gone, 3),
        "it is left alone"
    );
    // Where it is the only one there is no pause.
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let back = thread::spawn(move || answer_once(&listener, "back"));
    reload(&server, &format!(", {well:?}]"), "]");
    assert_eq!(word(&server), "back");
    back.join().unwrap();
}

#[test]
fn after_its_pause_one_that_is_out_is_tried_beside_the_others() {
    let port = free_port();
    let (gone, well) = (format!("http://127.0.0.1:{port}"), site("well"));
    let server = start_with(&[&gone, &well], "[upstream.health]\npause = \"1ms\"\n");
    wait_for(|| word(&server) == "well" && metric(&server, "up", &gone, 0));
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let back = thread::spawn(move || answer_once(&listener, "back"));
    wait_for(|| word(&server) == "back");
    assert!(metric(&server, "up", &gone, 1));
    back.join().unwrap();
}

#[test]
fn beside_one_who_waits_for_a_silent_one_the_others_are_told_at_once() {
    let silent = Silent::start();
    let server = start(&[&silent.url]);
    reload(
        &server,
        "[upstream]",
        "[upstream]\nconnect_timeout = \"100ms\"",
    );
    assert_eq!(get(&server.site, "/", &[]).status, 504);
    assert!(metric(&server, "up", &silent.url, 0));
    // What was known of it stays. From now on nobody is told by the time.
    reload(&server, "\"100ms\"", "\"1h\"");
    let (told, answers) = std::sync::mpsc::channel();
    for _ in 0..5 {
        let (told, mut stream) = (told.clone(), connect(&server.site));
        stream.set_read_timeout(None).unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        stream.write_all(request).unwrap();
        thread::spawn(move || told.send(read_response(stream)));
    }
    let answer = || {
        answers
            .recv_timeout(std::time::Duration::from_secs(60))
            .unwrap()
    };
    let refused: Vec<Response> = iter::repeat_with(answer).take(4).collect();
    let is_told =
        |answer: &Response| answer.status == 503 && answer.header("retry-after") == Some("1");
    assert!(refused.iter().all(is_told), "{refused:?}");
    let awake = silent.wake();
    let back = thread::spawn(move || answer_once(&awake, "awake"));
    let waited = answer();
    assert_eq!((waited.status, waited.body.as_str()), (200, "awake"));
    back.join().unwrap();
}

#[test]
fn what_may_have_arrived_goes_again_only_where_that_is_safe() {
    let (first, second) = (Arc::default(), Arc::default());
    let server = start(&[&breaking_off(&first), &breaking_off(&second)]);
    let asked = || first.load(Ordering::SeqCst) + second.load(Ordering::SeqCst);
    assert_eq!(get(&server.site, "/", &[]).status, 502);
    assert_eq!(asked(), 2, "each once");
    assert_eq!(send(&server.site, "POST", "/", &[], "body").status, 502);
    assert_eq!(asked(), 3, "a POST is not sent twice");
    assert_eq!(get(&server.site, "/", &["Content-Length: 0"]).status, 502);
    assert_eq!(asked(), 5);
}

#[test]
fn a_request_under_way_ends_at_the_back_end_that_is_taken_out() {
    let (go_on, until_told) = std::sync::mpsc::channel::<()>();
    let until_told = std::sync::Mutex::new(until_told);
    let slow = upstream(move |mut stream, _| {
        let _ = until_told.lock().unwrap().recv();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow");
    });
    let plain = site("plain");
    let server = start(&[&slow]);
    let address = server.site.clone();
    let under_way = thread::spawn(move || get(&address, "/", &[]));
    wait_for(|| metric(&server, "requests", &slow, 1));
    reload(&server, &format!("{slow:?}"), &format!("{plain:?}"));
    assert_eq!(word(&server), "plain");
    go_on.send(()).unwrap();
    assert_eq!(under_way.join().unwrap().body, "slow");
}

#[test]
fn websockets_make_a_back_end_busy_and_outlive_its_removal() {
    let echo = upstream(|mut stream, _| {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        let _ = stream.write_all(head);
        let mut buffer = [0; 100];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            let _ = stream.write_all(&buffer[..read]);
        }
    });
    let plain = site("plain");
    let server = start(&[&echo]);
    let mut tunnel = connect(&server.site);
    tunnel
        .write_all(
            b"GET /own HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        .unwrap();
    assert!(read_head(&mut tunnel).starts_with("HTTP/1.1 101"));
    assert!(metric(&server, "requests", &echo, 1));
    let echoes = |tunnel: &mut TcpStream| {
        tunnel.write_all(b"ping").unwrap();
        tunnel.read_exact(&mut [0; 4]).is_ok()
    };
    // Another one beside it: the one with the websocket is busier.
    reload(
        &server,
        &format!("{echo:?}"),
        &format!("{echo:?}, {plain:?}"),
    );
    assert!(metric(&server, "requests", &echo, 1), "it is still counted");
    for _ in 0..4 {
        assert_eq!(word(&server), "plain");
        // A request counts until all of its answer is with the client.
        wait_for(|| metric(&server, "requests", &plain, 0));
    }
    reload(&server, &format!("{echo:?}, "), "");
    assert_eq!(word(&server), "plain");
    assert!(echoes(&mut tunnel));
    let metrics = get(&server.admin(), "/metrics", &[]).body;
    assert!(!metrics.contains(&echo), "{metrics}");
}
