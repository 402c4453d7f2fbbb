//! What waits for all subscribers together has a bound, `server.queues_memory`: the slowest go, and nobody else notices.

use std::io::Write;

use super::{LONG, long, narrow, resident};
use crate::harness::{SIGNATURE_KEY, Server, get, wait_for};
use crate::push::{A, bodies, publish, signed, websocket};

/// With so little room that twenty slow readers are too many.
fn start() -> Server {
    let more = format!(
        "[push]\nsignature_key = \"{SIGNATURE_KEY}\"\n[push.limits]\nsubscriber_queue = \"64MiB\"\n\
         [history]\nengine = \"memory\"\n[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"admin\"\n"
    );
    Server::start_with_more("queues_memory = \"16MiB\"\n", "http://127.0.0.1:1", &more)
}

const LET_GO: &str = "pullgate_refused_total{reason=\"queues_memory\"}";
const USED: &str = "pullgate_queues_bytes";

#[test]
fn the_slowest_websockets_go_and_a_quick_one_gets_all() {
    let server = start();
    let channels: Vec<String> = (1..=20).map(|number| format!("{number:032x}")).collect();
    let slow: Vec<_> = channels
        .iter()
        .map(|channel| {
            let url = format!(
                "ws://{}/bitrix/subws/?CHANNEL_ID={}",
                server.site,
                signed(&server, channel)
            );
            tungstenite::client(url, narrow(&server.site)).unwrap().0
        })
        .collect();
    let mut quick = websocket(&server, &format!("CHANNEL_ID={}", signed(&server, A)));
    let before = resident(&server);
    let mut most = 0;
    // With their frames these are more than 200 MB.
    for number in 0..10 {
        for channel in &channels {
            publish(&server, channel, &long(number), 0);
        }
        publish(&server, A, &number.to_string(), 0);
        // All this may take longer than the time between two pings.
        let frame = loop {
            let message = quick.read().unwrap();
            if !message.is_ping() {
                break message.into_text().unwrap();
            }
        };
        assert_eq!(bodies(&frame), [number.to_string()]);
        most = most.max(resident(&server));
    }
    let growth = most.saturating_sub(before);
    assert!(growth < 100 << 20, "{} MiB", growth >> 20);
    assert!(server.metric(LET_GO) > 0);
    drop(slow);
    // Nothing is kept for nobody.
    wait_for(|| server.metric(USED) < LONG as u64);
    wait_for(|| server.log().contains("server.queues_memory"));
}

#[test]
fn polls_that_take_nothing_make_room_for_one_that_reads() {
    let server = start();
    for number in 0..40 {
        publish(&server, A, &long(number), 600);
    }
    let target = format!(
        "/bitrix/sub/?CHANNEL_ID={}&mid={}",
        signed(&server, A),
        "0".repeat(26)
    );
    let slow: Vec<_> = (0..60)
        .map(|_| {
            let mut poll = narrow(&server.site);
            write!(poll, "GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            poll
        })
        .collect();
    wait_for(|| server.metric(LET_GO) > 0);
    let answer = get(&server.site, &target, &[]);
    let got = bodies(&answer.body);
    assert_eq!(got.len(), 40);
    assert!((0..40).all(|number| got[number] == long(number)));
    drop(slow);
    wait_for(|| server.metric(USED) < LONG as u64);
}
