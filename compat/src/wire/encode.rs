//! What a server sends, written as the reference server writes it: fields in the order of their numbers,
//! zero values written out.

use std::borrow::Borrow;

use super::response::{ChannelStats, Response};
use crate::channel::Receiver;
use crate::message::{Message, Sender};

/// A `ResponseBatch` with one response that holds all `messages`: a catch-up.
pub fn encode_messages<M: Borrow<Message>>(messages: &[M]) -> Vec<u8> {
    let bodies: usize = messages
        .iter()
        .map(|message| message.borrow().body.len())
        .sum();
    let mut out = Vec::with_capacity(bodies + ENVELOPE * (messages.len() + 1));
    write_messages(&mut out, messages);
    out
}

/// Appends a response with one message. Several, one behind the other, are a `ResponseBatch`: this is how
/// live messages that go out together are joined.
pub fn encode_response_message(message: &Message, out: &mut Vec<u8>) {
    out.reserve(ENVELOPE + message.body.len());
    write_messages(out, &[message]);
}

/// Appends the answer to a question about `channels`, one response of a `ResponseBatch`.
pub fn encode_channel_stats(channels: &[ChannelStats], out: &mut Vec<u8>) {
    response(out, 2, |out| {
        for channel in channels {
            nested(out, 1, |out| {
                address(out, &channel.channel);
                number(out, 3, u64::from(channel.is_online));
            });
        }
    });
}

/// Appends the answer to a question for the server's statistics, one response of a `ResponseBatch`.
pub fn encode_server_stats_json(json: &str, out: &mut Vec<u8>) {
    response(out, 3, |out| bytes(out, 1, json.as_bytes()));
}

/// Appends one response of a `ResponseBatch`, of any kind.
pub fn encode_response(of: &Response, out: &mut Vec<u8>) {
    match of {
        Response::Messages(messages) => write_messages(out, messages),
        Response::ChannelStats(channels) => encode_channel_stats(channels, out),
        Response::ServerStats(json) => response(out, 3, |out| bytes(out, 1, json.as_bytes())),
        Response::Json(json) => response(out, 4, |out| out.extend_from_slice(json.as_bytes())),
    }
}

/// More than a message takes beside its body.
const ENVELOPE: usize = 80;

/// Appends one response whose command has this number.
fn response(out: &mut Vec<u8>, command: u32, content: impl FnOnce(&mut Vec<u8>)) {
    nested(out, 1, |out| nested(out, command, content));
}

fn write_messages<M: Borrow<Message>>(out: &mut Vec<u8>, messages: &[M]) {
    response(out, 1, |out| {
        for message in messages {
            nested(out, 1, |out| outgoing(out, message.borrow()));
        }
    });
}

/// The fields of an `OutgoingMessage`.
pub(super) fn outgoing(out: &mut Vec<u8>, message: &Message) {
    bytes(out, 1, message.id.as_bytes());
    bytes(out, 2, message.body.as_bytes());
    number(out, 3, u64::from(message.expiry));
    key(out, 4, 5);
    out.extend_from_slice(&message.created.to_le_bytes());
    nested(out, 5, |out| match &message.sender {
        Sender::Unknown => number(out, 1, 0),
        Sender::Client(id) => {
            number(out, 1, 1);
            bytes(out, 2, id.as_bytes());
        }
        Sender::Backend => number(out, 1, 2),
    });
}

/// The fields `id` and `isPrivate`.
pub(super) fn address(out: &mut Vec<u8>, receiver: &Receiver) {
    match receiver {
        Receiver::Private(id) => {
            bytes(out, 1, id.as_bytes());
            number(out, 2, 1);
        }
        Receiver::Public(id) => {
            bytes(out, 1, id.as_bytes());
            number(out, 2, 0);
        }
    }
}

/// A field that is a message: its content, then its length put before it. That moves the content by a few
/// bytes, and spares every message a second description for its length.
pub(super) fn nested(out: &mut Vec<u8>, field: u32, content: impl FnOnce(&mut Vec<u8>)) {
    key(out, field, 2);
    let start = out.len();
    content(out);
    let end = out.len();
    varint(out, length(end - start));
    let digits = out.len() - end;
    if let Some(written) = out.get_mut(start..) {
        written.rotate_right(digits);
    }
}

pub(super) fn bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    key(out, field, 2);
    varint(out, length(bytes.len()));
    out.extend_from_slice(bytes);
}

fn number(out: &mut Vec<u8>, field: u32, number: u64) {
    key(out, field, 0);
    varint(out, number);
}

fn key(out: &mut Vec<u8>, field: u32, wire_type: u32) {
    varint(out, u64::from(field << 3 | wire_type));
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(low_byte(number) | 0x80);
        number >>= 7;
    }
    out.push(low_byte(number));
}

fn low_byte(number: u64) -> u8 {
    let [low, ..] = number.to_le_bytes();
    low
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
