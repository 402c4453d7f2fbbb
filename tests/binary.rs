//! Protobuf: requests written by hand here, answers read by `compat`.

use data_encoding::HEXLOWER;
use pullgate_compat::channel::PublicId;
use pullgate_compat::message::{Message, Sender};
use pullgate_compat::wire::{Response, decode_response};
use tungstenite::Message as Frame;

use crate::harness::{Server, get, send_raw};
use crate::push::{A, B, signed, start, wait_until_online, websocket};

/// A field that holds bytes or a message.
pub(crate) fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    // A varint, low bits first.
    let mut length = content.len();
    while length >= 128 {
        bytes.push(u8::try_from(length % 128).unwrap() | 128);
        length /= 128;
    }
    bytes.push(u8::try_from(length).unwrap());
    bytes.extend_from_slice(content);
    bytes
}

pub(crate) fn receiver(hex: &str, private: bool, signature: &[u8]) -> Vec<u8> {
    let mut receiver = field(1, &HEXLOWER.decode(hex.as_bytes()).unwrap());
    receiver.extend([2 << 3, u8::from(private)]);
    receiver.extend(field(3, signature));
    receiver
}

/// A `RequestBatch` with one message, kept for a minute.
pub(crate) fn publish(receivers: &[Vec<u8>], body: &str) -> Vec<u8> {
    publish_all(receivers, &[body])
}

/// The same with several.
pub(crate) fn publish_all(receivers: &[Vec<u8>], bodies: &[&str]) -> Vec<u8> {
    let receivers: Vec<u8> = receivers
        .iter()
        .flat_map(|receiver| field(1, receiver))
        .collect();
    let messages: Vec<u8> = bodies
        .iter()
        .flat_map(|body| {
            let mut message = receivers.clone();
            message.extend(field(3, body.as_bytes()));
            message.extend([4 << 3, 60]);
            field(1, &message)
        })
        .collect();
    field(1, &field(1, &messages))
}

pub(crate) fn post(address: &str, target: &str, body: &[u8]) -> crate::harness::Response {
    let length = body.len();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    send_raw(address, &[head.as_bytes(), body].concat())
}

pub(crate) fn messages(batch: &[u8]) -> Vec<Message> {
    let responses = decode_response(batch).unwrap();
    responses
        .into_iter()
        .flat_map(|response| match response {
            Response::Messages(messages) => messages,
            Response::ChannelStats(_) | Response::ServerStats(_) | Response::Json(_) => Vec::new(),
        })
        .collect()
}

pub(crate) fn public_signature(server: &Server) -> Vec<u8> {
    let signed = signed(server, &format!("public:{B}"));
    HEXLOWER
        .decode(signed.rsplit_once('.').unwrap().1.as_bytes())
        .unwrap()
}

/// The receiver B, signed.
pub(crate) fn public_receiver(server: &Server) -> Vec<u8> {
    receiver(B, false, &public_signature(server))
}

#[test]
fn a_binary_subscriber_gets_what_the_site_and_other_clients_publish() {
    let server = start("");
    let pair = signed(&server, &format!("{A}:{B}"));
    let mut socket = websocket(&server, &format!("CHANNEL_ID={pair}&binaryMode=true"));
    wait_until_online(&server);

    let request = publish(&[receiver(A, true, b"")], "from the site");
    let answer = post(&server.publish, "/bitrix/pub/?binaryMode=true", &request);
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    let first = messages(&socket.read().unwrap().into_data());
    assert_eq!(first.len(), 1);
    assert_eq!(
        (first[0].body.as_bytes(), first[0].sender, first[0].expiry),
        (&b"from the site"[..], Sender::Backend, 60)
    );

    // Over HTTP and over the socket a client reaches the public id only, signed, and is named.
    let signature = public_signature(&server);
    let request = publish(&[receiver(B, false, &signature)], "from a client");
    assert_eq!(
        post(
            &server.site,
            &format!("/bitrix/rest/?CHANNEL_ID={pair}"),
            &request
        )
        .status,
        200
    );
    socket.send(Frame::Binary(request.into())).unwrap();
    // Both may come in one frame.
    let mut got = Vec::new();
    while got.len() < 2 {
        got.extend(messages(&socket.read().unwrap().into_data()));
    }
    for message in got {
        assert_eq!(message.body.as_bytes(), b"from a client");
        assert_eq!(message.sender, Sender::Client(PublicId::parse(B).unwrap()));
    }

    let missed = get(
        &server.site,
        &format!("/bitrix/sub/?CHANNEL_ID={pair}&mid={}", first[0].id),
        &[],
    );
    assert_eq!(missed.body.matches("from a client").count(), 2);
}

#[test]
fn clients_may_not_do_what_the_site_may() {
    let server = start("");
    let pair = signed(&server, &format!("{A}:{B}"));
    let target = format!("/bitrix/rest/?CHANNEL_ID={pair}");
    let refused = |target: &str, request: &[u8]| post(&server.site, target, request).body;
    let private = publish(&[receiver(A, true, b"")], "x");
    assert_eq!(
        refused(&target, &private),
        "4020: Private channel is not allowed."
    );
    let unsigned = publish(&[receiver(B, false, b"")], "x");
    assert_eq!(
        refused(&target, &unsigned),
        "4021: Channel has an invalid signature."
    );
    assert_eq!(refused(&target, b"\xff"), "4013: Wrong Request Data.");
    let alone = format!("/bitrix/rest/?CHANNEL_ID={}", signed(&server, A));
    assert_eq!(
        refused(&alone, &unsigned),
        "4012: Public Channel Id is Required."
    );

    let mut socket = websocket(&server, &format!("CHANNEL_ID={pair}&binaryMode=true"));
    socket.send(Frame::Binary(private.into())).unwrap();
    let Frame::Close(Some(close)) = socket.read().unwrap() else {
        panic!("no close frame")
    };
    assert_eq!(u16::from(close.code), 4020);
}

#[test]
fn a_poll_that_was_too_slow_goes_on_where_it_was() {
    let server = start("poll_timeout = \"5s\"\n[push.limits]\nsubscriber_queue = \"1B\"\n");
    let target = format!("/bitrix/sub/?CHANNEL_ID={}", signed(&server, A));
    let send = |bodies: &[&str]| {
        let request = publish_all(&[receiver(A, true, b"")], bodies);
        post(&server.publish, "/bitrix/pub/?binaryMode=true", &request);
    };
    send(&["before"]);
    let answer = std::thread::scope(|scope| {
        let poll = scope.spawn(|| get(&server.site, &target, &[]));
        wait_until_online(&server);
        send(&["first", "second"]);
        poll.join().unwrap()
    });
    // Most often the queue overflows, and the answer is empty.
    let mut got = answer.body.clone();
    if !got.contains("second") {
        let mid = match answer.status {
            304 => answer.header("last-message-id").unwrap(),
            _ => &got.rsplit_once("\"mid\":\"").unwrap().1[..26],
        };
        let next = get(&server.site, &format!("{target}&mid={mid}"), &[]);
        got.push_str(&next.body);
    }
    assert_eq!(
        (got.matches("first").count(), got.matches("second").count()),
        (1, 1)
    );
    assert!(!got.contains("before"));
}
