//! IPv6 wherever an address can stand.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use crate::harness::{Server, free_port, get, read_head, send, wait_for};
use crate::proxy::mirror;

/// A listener on all addresses, on a free port.
fn everywhere() -> (u16, String) {
    let port = free_port();
    let listener = format!("[[listener]]\naddress = \"[::]:{port}\"\n");
    (port, listener)
}

#[test]
fn the_site_may_be_there() {
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let head = read_head(&mut stream);
            let length = head.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{head}"
            );
            let _ = stream.read(&mut [0]);
        }
    });
    let server = Server::start(&url, "");
    assert_eq!(get(&server.site, "/", &[]).status, 200);
}

#[test]
fn a_listener_on_all_addresses_knows_both_families_apart() {
    let (port, listener) = everywhere();
    let server = Server::start_with_more(
        "trusted_proxies = []\n",
        &mirror(),
        &format!("[push]\npublish_allow = [\"127.0.0.1\"]\n{listener}"),
    );
    wait_for(|| server.log().contains("ready"));
    let (four, six) = (format!("127.0.0.1:{port}"), format!("[::1]:{port}"));
    for (front, address, node, publish) in [
        // By way of `::ffff:127.0.0.1`.
        (four, "127.0.0.1", "for=127.0.0.1;", 200),
        (six, "::1", "for=\"[::1]\";", 403),
    ] {
        let head = get(&front, "/", &["X-Forwarded-For: 2001:db8::1"]).body;
        for line in [
            format!("X-Real-Ip: {address}\r\n"),
            format!("X-Forwarded-For: {address}\r\n"),
            format!("Forwarded: {node}"),
        ] {
            assert!(head.contains(&line), "{line}: {head}");
        }
        let id = "0123456789abcdef0123456789abcdef";
        let target = format!("/bitrix/pub/?CHANNEL_ID={id}");
        assert_eq!(send(&front, "POST", &target, &[], "text").status, publish);
        wait_for(|| server.log().contains(&format!("client={address} ")));
    }
}

#[test]
fn a_network_of_proxies_may_be_there() {
    let server = Server::start_with_more(
        "trusted_proxies = [\"127.0.0.0/8\", \"2001:db8:1::/48\"]\n",
        &mirror(),
        "[push]\npublish_allow = [\"2001:db8:2::/64\"]\n",
    );
    let seen = |forwarded: &str| {
        let line = format!("X-Forwarded-For: {forwarded}");
        let head = get(&server.site, "/", &[&line]).body;
        let (_, from) = head.split_once("X-Real-Ip: ").unwrap();
        from.split("\r\n").next().unwrap().to_owned()
    };
    for (forwarded, visitor) in [
        ("2001:db8:9::1, 2001:db8:1::5", "2001:db8:9::1"),
        ("2001:db8:9::1, [2001:db8:1::5]:4711", "2001:db8:9::1"),
        ("[2001:DB8:9:0::1]:80", "2001:db8:9::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("[::ffff:203.0.113.9]:80, 127.0.0.1", "203.0.113.9"),
    ] {
        assert_eq!(seen(forwarded), visitor, "{forwarded}");
    }
    let publishes = |from: &str| {
        let line = format!("X-Forwarded-For: {from}");
        let target = "/bitrix/pub/?CHANNEL_ID=0123456789abcdef0123456789abcdef";
        send(&server.site, "POST", target, &[&line], "text").status == 200
    };
    assert!(publishes("2001:db8:2::7") && !publishes("2001:db8:2:1::7"));
}

#[test]
fn a_household_has_one_limit_on_new_guests() {
    let server = Server::start(&mirror(), "[guest]\nnew_per_minute = 1\n");
    let given = |from: &str| {
        let line = format!("X-Forwarded-For: {from}");
        let page = get(&server.site, "/", &["Accept: text/html", &line]);
        page.cookie().is_some()
    };
    assert!(given("2001:db8::1") && !given("2001:db8::ffff:2"));
    assert!(given("2001:db8:0:1::1"));
}
