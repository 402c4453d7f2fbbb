use data_encoding::HEXLOWER_PERMISSIVE;

use super::*;
use crate::channel::{ChannelId, PublicId, Receiver};
use crate::message::{Body, Message, MessageId, Sender};
use crate::signature::{Algorithm, SignatureKey};
use crate::status::Status;

mod checks;
mod lenience;

const ID: [u8; 16] = *b"0123456789abcdef";

fn key() -> SignatureKey {
    SignatureKey::new(Algorithm::Sha1, "a key")
}

fn message(sender: Sender) -> Message {
    Message {
        id: MessageId::new(1_700_000_000, 15),
        body: Body::from("{}"),
        expiry: 0,
        created: 0x6b04_f98e,
        sender,
    }
}

/// Bytes written in hex, blanks between them as one likes.
fn hex(text: &str) -> Vec<u8> {
    let digits = text.split_whitespace().collect::<String>();
    HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).unwrap()
}

/// A field whose number and length are below 16 and 128.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    assert!(number < 16 && length < 128);
    [&[number << 3 | 2, length], content].concat()
}

#[test]
fn a_live_message_is_one_response() {
    let mut out = Vec::new();
    encode_response_message(&message(Sender::Backend), &mut out);
    let expected = "0a22 0a20 0a1e 0a0d 17000000000000000000000015
                    1202 7b7d 1800 258ef9046b 2a02 0802";
    assert_eq!(out, hex(expected));
}

#[test]
fn live_messages_joined_are_a_batch() {
    let messages = [
        message(Sender::Backend),
        message(Sender::Client(PublicId(ID))),
    ];
    let mut out = Vec::new();
    for message in &messages {
        encode_response_message(message, &mut out);
    }
    let responses = messages.map(|message| Response::Messages(vec![message]));
    assert_eq!(decode_response(&out).unwrap(), responses);
}

#[test]
fn a_catch_up_is_one_response_with_all() {
    let messages = vec![message(Sender::Backend), message(Sender::Unknown)];
    let out = encode_messages(&messages);
    assert_eq!(
        decode_response(&out).unwrap(),
        [Response::Messages(messages)]
    );
    assert_eq!(encode_messages::<Message>(&[]), hex("0a02 0a00"));
}

#[test]
fn a_long_message_is_framed_as_a_short_one() {
    let mut long = message(Sender::Backend);
    long.body = Body::from("x".repeat(70_000));
    let out = encode_messages(std::slice::from_ref(&long));
    assert_eq!(
        decode_response(&out),
        Ok(vec![Response::Messages(vec![long])])
    );
}

#[test]
fn zeros_are_written_out() {
    let mut out = Vec::new();
    let channels = [
        Receiver::Private(ChannelId(ID)),
        Receiver::Public(PublicId(ID)),
    ];
    let channels = channels.map(|channel| ChannelStats {
        channel,
        is_online: false,
    });
    encode_channel_stats(&channels, &mut out);
    let id = field(1, &ID);
    let [private, public] = ["1001 1800", "1000 1800"].map(|rest| [id.clone(), hex(rest)].concat());
    let stats = [field(1, &private), field(1, &public)].concat();
    assert_eq!(out, field(1, &field(2, &stats)));

    let mut out = Vec::new();
    encode_server_stats_json("", &mut out);
    assert_eq!(out, hex("0a04 1a02 0a00"));
}

#[test]
fn every_response_comes_back() {
    let channel = Receiver::Private(ChannelId(ID));
    let responses = [
        Response::Messages(vec![message(Sender::Client(PublicId(ID)))]),
        Response::Messages(Vec::new()),
        Response::ChannelStats(vec![ChannelStats {
            channel,
            is_online: true,
        }]),
        Response::ServerStats("[]".into()),
        Response::Json("{}".into()),
    ];
    let mut out = Vec::new();
    for response in &responses {
        encode_response(response, &mut out);
    }
    assert_eq!(decode_response(&out).unwrap(), responses);
}

#[test]
fn what_no_server_sends_is_refused() {
    let wrong = |data: &[u8]| decode_response(data).unwrap_err().to_string();
    assert_eq!(wrong(&field(1, b"")), "missing or wrong command");
    assert_eq!(wrong(&hex("0a04 0a02 0a00")), "missing or wrong message id");
    assert_eq!(wrong(&hex("0a04 1202 0a00")), "missing or wrong channel id");
    assert_eq!(wrong(b"\x0a\x05"), "malformed protobuf");
    for sender in ["0801", "0803"] {
        let mut message = encode_message(&message(Sender::Backend));
        message.extend(field(5, &hex(sender)));
        assert!(decode_message(&message).is_err(), "{sender}");
    }
}

#[test]
fn nodes_read_each_other() {
    let signed = Recipient {
        receiver: Receiver::Public(PublicId(ID)),
        signature: b"signature".to_vec(),
    };
    let trusted = Recipient {
        receiver: Receiver::Private(ChannelId(ID)),
        signature: Vec::new(),
    };
    let stored = message(Sender::Client(PublicId(ID)));
    assert_eq!(decode_message(&encode_message(&stored)), Ok(stored.clone()));
    for content in [Content::Stored(stored.id), Content::Message(stored)] {
        let recipients = vec![signed.clone(), trusted.clone(), trusted.clone()];
        let notification = Notification {
            recipients,
            content,
        };
        let data = encode_notification(&notification);
        assert_eq!(decode_notifications(&data), Ok(vec![notification]));
    }
    let licences = hex("0a04 1202 0801");
    assert_eq!(decode_notifications(&licences), Ok(Vec::new()));
}
