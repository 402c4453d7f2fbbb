//! What a reload allows is allowed from then on, limit by limit.

use std::io::Write;

use super::visitors::{ask, come, start, status_of, upgrade};
use crate::harness::{Server, get, read_head};
use crate::push::{A, signed};
use crate::reload::reload;

/// Whether one of two websockets of an address is refused, or what is asked for beside them.
fn crowd(server: &Server, address: &str, status: &str) -> bool {
    let target = format!("/bitrix/subws/?CHANNEL_ID={}", signed(server, A));
    let open = || upgrade(come(address, "203.0.113.1"), &target);
    let sockets = [open(), open()];
    let statuses = sockets.each_ref().map(|(status, _)| status.as_str());
    assert_eq!(statuses[0], "101");
    assert!(["101", status].contains(&statuses[1]), "{statuses:?}");
    statuses[1] == status
}

#[test]
fn each_limit_is_what_was_read_last() {
    /// A limit, another one, and whether it refuses something that the other allows.
    type Limit = (&'static str, &'static str, fn(&Server, &str) -> bool);
    let limits: [Limit; 7] = [
        (
            "max_target = \"1KiB\"",
            "max_target = \"2KiB\"",
            |server, _| status_of(server, 1500, 1, 1) == 414,
        ),
        (
            "max_head = \"8KiB\"",
            "max_head = \"64KiB\"",
            |server, _| status_of(server, 1, 10, 1000) == 431,
        ),
        ("max_headers = 20", "max_headers = 100", |server, _| {
            status_of(server, 1, 30, 1) == 431
        }),
        (
            "max_connections_per_address = 1",
            "max_connections_per_address = 100",
            |_, address| {
                let mut held = come(address, "203.0.113.1");
                write!(held, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
                read_head(&mut held);
                ask(come(address, "203.0.113.1")).status == 503
            },
        ),
        (
            "[limits]\nrequests_per_second = 1\nrequest_burst = 3",
            "[limits]\nrequests_per_second = 1\nrequest_burst = 1000",
            |server, _| {
                let visitor = ["X-Forwarded-For: 203.0.113.1"];
                // However slow the machine is, thirty take less than half a minute.
                (0..30).any(|_| get(&server.site, "/", &visitor).status == 429)
            },
        ),
        (
            "[limits]\nwebsockets_per_address = 1",
            "[limits]\nwebsockets_per_address = 100",
            |server, address| crowd(server, address, "429"),
        ),
        (
            "[limits]\nconcurrent_requests = 1",
            "[limits]\nconcurrent_requests = 100",
            |server, address| crowd(server, address, "503"),
        ),
    ];
    for (limit, other, refuses) in limits {
        let line = format!("{limit}\n");
        let (server, address) = match limit.starts_with('[') {
            true => start("", &line),
            false => start(&line, ""),
        };
        assert!(refuses(&server, &address), "{limit}");
        reload(&server, limit, other);
        assert!(!refuses(&server, &address), "{other}");
    }
}
