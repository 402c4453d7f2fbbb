//! `sticky`: a guest's requests go to one back end.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::start_with;
use crate::guests::{PAGE, SECRET};
use crate::harness::{Response, Server, connect, get, read_head, upstream, wait_for};
use crate::reload::{reload, site};

const GUESTS: usize = 24;

/// A page of the guest whom the cookie proves.
fn page(server: &Server, cookie: &str) -> Response {
    let page = get(&server.site, "/", &[&PAGE[..], &[cookie]].concat());
    assert_eq!(page.status, 200, "{page:?}");
    page
}

fn new_guest(server: &Server) -> (String, String) {
    let page = page(server, "X-Nothing: 1");
    let cookie = format!("Cookie: {}", page.cookie().unwrap());
    (cookie, page.body)
}

/// Where a websocket goes: each back end refuses it with its own name.
fn websocket(server: &Server, cookie: &str) -> String {
    let mut stream = connect(&server.site);
    let head = format!(
        "GET /own HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{cookie}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let head = read_head(&mut stream).to_ascii_lowercase();
    let (_, length) = head.split_once("\r\ncontent-length: ").unwrap();
    let length = length.lines().next().unwrap().parse().unwrap();
    let mut name = vec![0; length];
    stream.read_exact(&mut name).unwrap();
    String::from_utf8(name).unwrap()
}

#[test]
fn a_guest_keeps_to_one_back_end_and_moves_only_if_that_one_goes() {
    let names = ["one", "two", "three"];
    let urls = names.map(site);
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let more = format!("sticky = \"guest\"\n{SECRET}");
    let server = start_with(&urls, &more);
    let homes: HashMap<String, String> = (0..GUESTS).map(|_| new_guest(&server)).collect();
    assert_eq!(homes.len(), GUESTS);
    for (cookie, home) in &homes {
        for _ in 0..2 {
            assert_eq!(page(&server, cookie).body, *home);
        }
        assert_eq!(websocket(&server, cookie), *home);
    }
    // That all have one home in common is not to be expected in a thousand million runs.
    let has_some = |name: &&str| homes.values().any(|home| home == name);
    assert!(
        names.iter().filter(|name| has_some(name)).count() >= 2,
        "{homes:?}"
    );
    // Who is nobody goes where all go.
    for name in names {
        wait_for(|| get(&server.site, "/robots.txt", &[]).body == name);
    }
    reload(&server, &format!("{:?}, ", urls[0]), "");
    for (cookie, home) in &homes {
        let now = page(&server, cookie).body;
        assert!(now == *home || home == "one" && names.contains(&now.as_str()));
    }
    reload(&server, "sticky = \"guest\"", "sticky = \"none\"");
    let (cookie, home) = homes.iter().next().unwrap();
    wait_for(|| page(&server, cookie).body != *home);
}

#[test]
fn a_guest_whose_back_end_dies_is_served_by_another() {
    // Takes the connection and goes, once it is told to.
    let dying = Arc::new(AtomicBool::new(false));
    let died = Arc::clone(&dying);
    let mortal = upstream(move |mut stream, _| {
        if died.load(Ordering::SeqCst) {
            let _ = stream.shutdown(Shutdown::Both);
        } else {
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nmortal",
            );
        }
    });
    let other = site("other");
    let more = format!("sticky = \"guest\"\n{SECRET}");
    let server = start_with(&[&mortal, &other], &more);
    let mut cookie = String::new();
    wait_for(|| {
        let (its, home) = new_guest(&server);
        cookie = its;
        home == "mortal"
    });
    dying.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(page(&server, &cookie).body, "other");
    }
}
