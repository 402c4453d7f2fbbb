//! What is broken takes nothing else with it: a site that is dead or hangs, a Redis that is gone or silent, a disk that is
//! slow.

mod slow_disk;

use std::io::Write;
use std::net::TcpListener;

use crate::cluster::redis_server::RedisServer;
use crate::guests::{PAGE, SECRET, numbers};
use crate::harness::{SIGNATURE_KEY, Server, connect, get, wait_for};
use crate::push::{A, bodies, caught_up, publish, signed, websocket};

/// A websocket, and a poll that catches up, get what is published.
fn push_goes_on(server: &Server) {
    let channel = signed(server, A);
    let mut socket = websocket(server, &format!("CHANNEL_ID={channel}"));
    publish(server, A, "news", 60);
    let frame = socket.read().unwrap().into_text().unwrap();
    assert_eq!(bodies(&frame), ["news"]);
    assert_eq!(caught_up(server), ["news"]);
}

fn key() -> String {
    format!("[push]\nsignature_key = \"{SIGNATURE_KEY}\"\n")
}

#[test]
fn push_goes_on_while_the_site_is_dead() {
    let server = Server::start("http://127.0.0.1:1", &key());
    assert_eq!(get(&server.site, "/", &[]).status, 502);
    push_goes_on(&server);
    let guest = get(&server.site, "/pullgate/guest.js", &[]);
    assert_eq!(guest.status, 200);
    assert_eq!(get(&server.site, "/", &[]).status, 502);
}

#[test]
fn push_goes_on_while_the_site_hangs() {
    // Connections wait in the kernel, and are never taken.
    let site = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", site.local_addr().unwrap());
    let server = Server::start(&url, &key());
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let mut stream = connect(&server.site);
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                .unwrap();
            stream
        })
        .collect();
    push_goes_on(&server);
    drop(waiting);
}

fn guests_keep_their_numbers(breaks: impl FnOnce(&mut RedisServer)) {
    let mut redis = RedisServer::start();
    let more = format!("{SECRET}{}{}", key(), redis.history());
    let server = Server::start(&numbers(), &more);
    let mut first = None;
    wait_for(|| {
        let page = get(&server.site, "/", &PAGE);
        first = page
            .cookie()
            .map(|cookie| (page.body.clone(), cookie.to_owned()));
        first.is_some()
    });
    let (number, cookie) = first.unwrap();
    assert!(number.starts_with('-'), "{number}");
    breaks(&mut redis);
    let cookie = format!("Cookie: {cookie}");
    for _ in 0..20 {
        let page = get(&server.site, "/", &[&PAGE[..], &[&cookie]].concat());
        assert_eq!((page.status, page.body), (200, number.clone()));
    }
    // Numbers were reserved before: new guests have some, too.
    let new = get(&server.site, "/", &PAGE);
    assert!(new.status == 200 && new.body.starts_with('-') && new.body != number);
}

#[test]
fn the_site_and_its_guests_go_on_without_redis() {
    guests_keep_their_numbers(RedisServer::kill);
}

#[test]
fn the_site_and_its_guests_go_on_beside_a_silent_redis() {
    guests_keep_their_numbers(|redis| redis.freeze());
}
