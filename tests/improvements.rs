//! Where pullgate is better than the reference on purpose: a test for each line of
//! `docs/compatibility.md` that promises something.

use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tungstenite::{Message, WebSocket};

use crate::binary::messages;
use crate::harness::{SIGNATURE_KEY, Server, get};
use crate::push::{A, B, bodies, mid, publish, signed, start, wait_until_online, websocket};

/// Reads frames until `count` messages have come, and returns their bodies.
fn read(socket: &mut WebSocket<TcpStream>, count: usize) -> Vec<String> {
    let mut read = Vec::new();
    while read.len() < count {
        if let Message::Text(frames) = socket.read().unwrap() {
            read.extend(bodies(&frames).into_iter().map(str::to_owned));
        }
    }
    read
}

#[test]
fn nothing_is_dropped_between_ping_and_pong() {
    let server = start("ping_interval = \"5s\"\n");
    let channel = signed(&server, A);
    let mut socket = websocket(&server, &format!("CHANNEL_ID={channel}"));
    assert!(matches!(socket.read().unwrap(), Message::Ping(_)));
    // The client's answer goes out with its next read.
    publish(&server, A, "between", 0);
    assert_eq!(read(&mut socket, 1), ["between"]);
}

#[test]
fn by_default_a_ping_comes_after_40_seconds() {
    let server = start("");
    let began = Instant::now();
    let channel = signed(&server, A);
    let mut socket = websocket(&server, &format!("CHANNEL_ID={channel}"));
    let patience = Some(Duration::from_secs(120));
    socket.get_ref().set_read_timeout(patience).unwrap();
    assert!(matches!(socket.read().unwrap(), Message::Ping(_)));
    assert!(began.elapsed() >= Duration::from_secs(40));
}

#[test]
fn what_is_not_stored_does_not_overtake_what_is() {
    let server = start("");
    let channel = signed(&server, A);
    let mut socket = websocket(&server, &format!("CHANNEL_ID={channel}"));
    wait_until_online(&server);
    let sent: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    for (n, body) in sent.iter().enumerate() {
        publish(&server, A, body, if n % 2 == 0 { 60 } else { 0 });
    }
    assert_eq!(read(&mut socket, sent.len()), sent);
}

#[test]
fn a_connection_gets_one_copy() {
    let server = start("");
    let both = format!("{}/{}", signed(&server, A), signed(&server, B));
    let mut live = websocket(&server, &format!("CHANNEL_ID={both}"));
    wait_until_online(&server);
    publish(&server, &format!("{A}/{B}"), "once", 60);
    publish(&server, &format!("{A}/{A}"), "end", 60);
    assert_eq!(read(&mut live, 2), ["once", "end"]);

    let twice = format!("{0}/{0}", signed(&server, A));
    for channels in [both, twice] {
        let target = format!("/bitrix/sub/?CHANNEL_ID={channels}&mid={}", "0".repeat(26));
        assert_eq!(
            bodies(&get(&server.site, &target, &[]).body),
            ["once", "end"]
        );
    }
}

#[test]
fn nothing_waits_for_what_may_come() {
    let server = start("");
    let channel = signed(&server, A);
    let mut socket = websocket(&server, &format!("CHANNEL_ID={channel}"));
    wait_until_online(&server);
    let times = (0..20).map(|n| {
        let began = Instant::now();
        publish(&server, A, &n.to_string(), 0);
        assert_eq!(read(&mut socket, 1), [n.to_string()]);
        began.elapsed()
    });
    let times: Vec<Duration> = times.collect();
    // The reference holds back every other one for 400 ms; a busy machine may some, but not every second one.
    let quick = |pair: &[Duration]| pair.iter().all(|time| *time < Duration::from_millis(400));
    assert!(times.windows(2).any(quick), "{times:?}");
}

#[test]
fn created_is_in_seconds_beside_a_text_subscriber() {
    let server = start("");
    let channel = signed(&server, A);
    let mut text = websocket(&server, &format!("CHANNEL_ID={channel}"));
    let mut binary = websocket(&server, &format!("CHANNEL_ID={channel}&binaryMode=true"));
    wait_until_online(&server);
    publish(&server, A, "x", 60);
    assert_eq!(read(&mut text, 1), ["x"]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let live = messages(&binary.read().unwrap().into_data());
    let query = format!(
        "CHANNEL_ID={channel}&binaryMode=true&mid={}",
        "0".repeat(26)
    );
    let mut later = websocket(&server, &query);
    let stored = messages(&later.read().unwrap().into_data());
    for message in live.iter().chain(&stored) {
        assert!(now.as_secs().abs_diff(u64::from(message.created)) < 60);
    }
    assert_eq!((live.len(), stored.len()), (1, 1));
}

#[test]
fn ids_grow_over_restarts_and_crashes() {
    let mut server = start("");
    let mut last = String::new();
    for round in 0..4 {
        let target = format!("/bitrix/sub/?CHANNEL_ID={}", signed(&server, A));
        let answer = std::thread::scope(|scope| {
            let poll = scope.spawn(|| get(&server.site, &target, &[]));
            wait_until_online(&server);
            publish(&server, A, "x", 60);
            poll.join().unwrap()
        });
        let given = mid(&answer.body).to_owned();
        assert!(given > last, "{given} after {last}");
        last = given;
        let directory = if round % 2 == 0 {
            server.kill()
        } else {
            let directory = std::sync::Arc::clone(&server.directory);
            assert!(server.terminate().0);
            directory
        };
        server = Server::start_in(
            directory,
            "http://127.0.0.1:1",
            &format!("[push]\nsignature_key = \"{SIGNATURE_KEY}\"\n"),
        );
    }
}

#[test]
fn a_client_that_sends_too_much_reads_why_it_is_closed() {
    let server = start("");
    let pair = signed(&server, &format!("{A}:{B}"));
    let mut socket = websocket(&server, &format!("CHANNEL_ID={pair}&binaryMode=true"));
    wait_until_online(&server);
    let mebibyte = Message::Binary(vec![0; (1 << 20) + 1].into());
    // Three times the limit: the server stops reading in the middle of it.
    for _ in 0..3 {
        let _ = socket.send(mebibyte.clone());
    }
    let Message::Close(Some(close)) = socket.read().unwrap() else {
        panic!("no close frame")
    };
    assert_eq!(u16::from(close.code), 1009);
}
