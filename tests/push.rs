//! Publishing and subscribing.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use tungstenite::{Message, WebSocket};

use crate::harness::{SIGNATURE_KEY, Server, connect, get, pullgate, send, send_raw, wait_for};

pub(crate) const A: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const B: &str = "fedcba9876543210fedcba9876543210";
const NOWHERE: &str = "http://127.0.0.1:1";

pub(crate) fn start(more: &str) -> Server {
    Server::start(
        NOWHERE,
        &format!("[push]\nsignature_key = \"{SIGNATURE_KEY}\"\n{more}"),
    )
}

pub(crate) fn signed(server: &Server, channel: &str) -> String {
    let config = server.directory.path().join("pullgate.toml");
    let output = pullgate()
        .args(["sign", "--config", config.to_str().unwrap(), channel])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub(crate) fn publish(server: &Server, channels: &str, body: &str, expiry: u32) {
    let target = format!("/bitrix/pub/?CHANNEL_ID={channels}");
    let answer = send(
        &server.publish,
        "POST",
        &target,
        &[&format!("Message-Expiry: {expiry}")],
        body,
    );
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
}

pub(crate) fn websocket(server: &Server, query: &str) -> WebSocket<TcpStream> {
    websocket_at(&server.site, &format!("/bitrix/subws/?{query}"))
}

/// The same at an address that need not be pullgate's.
pub(crate) fn websocket_at(address: &str, target: &str) -> WebSocket<TcpStream> {
    let url = format!("ws://{address}{target}");
    tungstenite::client(url, connect(address)).unwrap().0
}

/// Waits until somebody listens to channel A.
pub(crate) fn wait_until_online(server: &Server) {
    let target = format!("/bitrix/pub/?CHANNEL_ID={A}/{B}");
    wait_for(|| get(&server.publish, &target, &[]).body.contains(A));
}

/// Waits until so many are connected by websocket and by long poll.
pub(crate) fn wait_until_connected(server: &Server, websockets: u64, polls: u64) {
    wait_for(|| {
        let own = get(&server.publish, "/server-stat/", &[]).json()[0].take();
        own["websockets"] == websockets && own["pollings"] == polls
    });
}

/// The published bodies in text frames.
pub(crate) fn bodies(frames: &str) -> Vec<&str> {
    frames
        .split("#!NGINXNME!#")
        .filter_map(|frame| {
            frame
                .split_once("\"text\":")
                .map(|(_, text)| text.strip_suffix('}').unwrap())
        })
        .collect()
}

pub(crate) fn mid(frames: &str) -> &str {
    &frames.rsplit_once("\"mid\":\"").unwrap().1[..26]
}

#[test]
fn a_websocket_gets_what_is_published_and_catches_up() {
    let server = start("");
    let channel = signed(&server, A);
    let mut socket = websocket(&server, &format!("CHANNEL_ID={channel}"));
    wait_until_online(&server);
    publish(&server, A, r#"{"n":1}"#, 60);
    let frame = socket.read().unwrap().into_text().unwrap();
    assert_eq!(bodies(&frame), [r#"{"n":1}"#]);
    let last = mid(&frame).to_owned();
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    publish(&server, A, r#"{"n":2}"#, 60);
    publish(&server, A, r#"{"n":3}"#, 60);
    let mut socket = websocket(&server, &format!("CHANNEL_ID={channel}&mid={last}"));
    let frame = socket.read().unwrap().into_text().unwrap();
    assert_eq!(bodies(&frame), [r#"{"n":2}"#, r#"{"n":3}"#]);
}

#[test]
fn a_websocket_that_is_open_listens() {
    let server = start("");
    let channel = signed(&server, A);
    for _ in 0..50 {
        let mut socket = websocket(&server, &format!("CHANNEL_ID={channel}"));
        publish(&server, A, "at once", 0);
        let frame = socket.read().unwrap().into_text().unwrap();
        assert_eq!(bodies(&frame), ["at once"]);
    }
}

#[test]
fn a_poll_gets_the_next_message_or_304() {
    let server = start("poll_timeout = \"4s\"\n");
    let target = format!("/bitrix/sub/?CHANNEL_ID={}", signed(&server, A));
    let empty = get(&server.site, &target, &[]);
    assert_eq!(
        (empty.status, empty.header("last-message-id")),
        (304, Some(""))
    );
    assert_eq!(
        empty.header("expires"),
        Some("Thu, 01 Jan 1973 11:11:01 GMT")
    );
    let answer = std::thread::scope(|scope| {
        let poll = scope.spawn(|| get(&server.site, &target, &[]));
        // The channel is online since the poll before.
        wait_until_connected(&server, 0, 1);
        publish(&server, A, "hello", 60);
        poll.join().unwrap()
    });
    assert_eq!((answer.status, bodies(&answer.body)), (200, vec!["hello"]));
    let later = get(
        &server.site,
        &format!("{target}&mid={}", mid(&answer.body)),
        &[],
    );
    assert_eq!(
        (later.status, later.header("last-message-id")),
        (304, Some(mid(&answer.body)))
    );
}

#[test]
fn publishing_through_a_site_listener_needs_leave() {
    let server = start("");
    for path in [
        "/bitrix/pub/",
        "/BITRIX/pub/",
        "/bitrix/%70ub/",
        "/bitrix//pub/",
        "/x/../bitrix/pub/",
    ] {
        assert_eq!(
            send(
                &server.site,
                "POST",
                &format!("{path}?CHANNEL_ID={A}"),
                &[],
                "x"
            )
            .status,
            403,
            "{path}"
        );
    }
    let open = start("publish_allow = [\"127.0.0.0/8\"]\n");
    let target = format!("/bitrix/pub/?CHANNEL_ID={A}");
    assert_eq!(send(&open.site, "POST", &target, &[], "x").status, 200);
    // The local proxy in front is trusted, the visitor behind it is not.
    assert_eq!(
        send(
            &open.site,
            "POST",
            &target,
            &["X-Forwarded-For: 8.8.8.8"],
            "x"
        )
        .status,
        403
    );
    assert_eq!(get(&server.publish, "/index.php", &[]).status, 404);
}

#[test]
fn a_publisher_that_does_not_wait_is_heard() {
    let server = start("");
    let mut socket = websocket(&server, &format!("CHANNEL_ID={}", signed(&server, A)));
    wait_until_online(&server);
    for number in 0..100 {
        let mut stream = TcpStream::connect(&server.publish).unwrap();
        let body = number.to_string();
        let length = body.len();
        write!(stream, "POST /bitrix/pub/?CHANNEL_ID={A} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    }
    let mut seen = std::collections::HashSet::new();
    while seen.len() < 100 {
        if let Message::Text(frame) = socket.read().unwrap() {
            for body in bodies(&frame) {
                assert!(seen.insert(body.to_owned()), "{body} came twice");
            }
        }
    }
}

#[test]
fn bad_channels_are_refused() {
    let server = start("");
    let answer = get(
        &server.site,
        &format!("/bitrix/sub/?CHANNEL_ID={A}.{}", "0".repeat(40)),
        &[],
    );
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (400, "4010: Wrong Channel Id.")
    );
    let mut socket = websocket(&server, "CHANNEL_ID=x");
    let Message::Close(Some(close)) = socket.read().unwrap() else {
        panic!("no close frame")
    };
    assert_eq!(
        (u16::from(close.code), close.reason.as_str()),
        (4010, "4010: Wrong Channel Id.")
    );
}

#[test]
fn a_body_over_the_limit_is_refused_in_any_form() {
    let server = start("[push.limits]\nmax_payload = \"1KiB\"\n");
    let target = format!("/bitrix/pub/?CHANNEL_ID={A}");
    assert_eq!(
        send(&server.publish, "POST", &target, &[], &"x".repeat(1024)).status,
        200
    );
    assert_eq!(
        send(&server.publish, "POST", &target, &[], &"x".repeat(1025)).status,
        413
    );
    let chunks = format!("100\r\n{}\r\n", "x".repeat(256)).repeat(5);
    let chunked = format!(
        "POST {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
    );
    assert_eq!(send_raw(&server.publish, chunked.as_bytes()).status, 413);
    publish(&server, A, "still there", 0);
}

#[test]
fn a_stop_says_goodbye_to_every_socket() {
    let server = start("");
    let channel = signed(&server, A);
    let query = format!("CHANNEL_ID={channel}");
    let mut sockets: Vec<_> = (0..50).map(|_| websocket(&server, &query)).collect();
    wait_until_connected(&server, 50, 0);
    let stopped = std::thread::spawn(move || server.terminate().0);
    for socket in &mut sockets {
        let Message::Close(Some(close)) = socket.read().unwrap() else {
            panic!("no close frame")
        };
        assert_eq!(u16::from(close.code), 1001);
        while socket.read().is_ok() {}
    }
    assert!(stopped.join().unwrap());
}

#[test]
fn a_stop_ends_polls_and_sockets_kindly() {
    let push = format!("[push]\nsignature_key = \"{SIGNATURE_KEY}\"\npoll_timeout = \"300s\"\n");
    let server = Server::start_with_push("drain_timeout = \"300s\"\n", &push);
    let channel = signed(&server, A);
    let mut socket = websocket(&server, &format!("CHANNEL_ID={channel}"));
    let site = server.site.clone();
    let poll =
        std::thread::spawn(move || get(&site, &format!("/bitrix/sub/?CHANNEL_ID={channel}"), &[]));
    wait_until_connected(&server, 1, 1);
    let reader = std::thread::spawn(move || {
        let Message::Close(Some(close)) = socket.read().unwrap() else {
            panic!("no close frame")
        };
        while socket.read().is_ok() {}
        u16::from(close.code)
    });
    let (success, took) = server.terminate();
    // Less than the polls may take by themselves, and the drain.
    assert!(success && took < Duration::from_secs(100), "{took:?}");
    assert_eq!(poll.join().unwrap().status, 304);
    assert_eq!(reader.join().unwrap(), 1001);
}

/// All that channel A has of stored messages.
pub(crate) fn caught_up(server: &Server) -> Vec<String> {
    let channel = signed(server, A);
    let target = format!("/bitrix/sub/?CHANNEL_ID={channel}&mid={}", "0".repeat(26));
    let answer = get(&server.site, &target, &[]);
    bodies(&answer.body)
        .into_iter()
        .map(str::to_owned)
        .collect()
}
