//! Payloads as the messages that they hold.
//!
//! Only a payload of exactly the form that push servers write is taken apart: written again, it gives the same
//! bytes. So what is compared member by member is compared byte by byte; the form of ids, tags and times is
//! checked on the way. Any other payload is one message, its bytes.

use std::fmt;

use bytes::Bytes;
use pullgate_compat::message::{Body, Message as Published, MessageId, Sender};
use pullgate_compat::text;
use pullgate_compat::wire::{self, Response};

use crate::short;

/// What a payload is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Binary,
}

/// One of the messages in a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// A text frame.
    Text {
        mid: MessageId,
        /// Unix milliseconds.
        delivered: u64,
        body: Vec<u8>,
    },
    /// A response of a `ResponseBatch`; a catch-up is one, with several published messages in it.
    Response(Response),
    Bytes(Vec<u8>),
}

/// The messages of a payload; none if it is empty.
pub(crate) fn split(payload: &[u8], form: Form) -> Vec<Message> {
    if payload.is_empty() {
        return Vec::new();
    }
    let known = match form {
        Form::Text => text_frames(payload),
        Form::Binary => responses(payload),
    };
    known.unwrap_or_else(|| vec![Message::Bytes(payload.to_owned())])
}

fn text_frames(payload: &[u8]) -> Option<Vec<Message>> {
    let mut messages = Vec::new();
    let mut again = Vec::with_capacity(payload.len());
    for frame in text::frames(payload) {
        let frame = frame.ok()?;
        let now = frame.delivered()?;
        let published = Published {
            id: frame.mid,
            body: Body::from_lossy(Bytes::copy_from_slice(frame.text)),
            expiry: 0,
            created: 0,
            sender: Sender::Unknown,
        };
        text::encode(&published, &now, &mut again);
        messages.push(Message::Text {
            mid: frame.mid,
            delivered: now.unix_ms(),
            body: frame.text.to_owned(),
        });
    }
    (again == payload).then_some(messages)
}

fn responses(payload: &[u8]) -> Option<Vec<Message>> {
    let responses = wire::decode_response(payload).ok()?;
    let mut again = Vec::with_capacity(payload.len());
    for response in &responses {
        wire::encode_response(response, &mut again);
    }
    (again == payload).then(|| responses.into_iter().map(Message::Response).collect())
}

impl Message {
    /// Ids and bodies of what was published in it.
    pub(crate) fn published(&self) -> Vec<(MessageId, &[u8])> {
        match self {
            Self::Text { mid, body, .. } => vec![(*mid, body)],
            Self::Response(Response::Messages(messages)) => messages
                .iter()
                .map(|message| (message.id, message.body.as_bytes()))
                .collect(),
            Self::Response(
                Response::ChannelStats(_) | Response::ServerStats(_) | Response::Json(_),
            )
            | Self::Bytes(_) => Vec::new(),
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { body, .. } => f.write_str(&short::bytes(body)),
            Self::Response(Response::Messages(messages)) => {
                let bodies = messages
                    .iter()
                    .map(|message| short::bytes(message.body.as_bytes()));
                f.write_str(&bodies.collect::<Vec<_>>().join(", "))
            }
            Self::Response(Response::ChannelStats(channels)) => write!(f, "{channels:?}"),
            Self::Response(Response::ServerStats(json) | Response::Json(json)) => {
                f.write_str(&short::bytes(json.as_bytes()))
            }
            Self::Bytes(bytes) => f.write_str(&short::bytes(bytes)),
        }
    }
}

/// Several messages in few words.
pub(crate) fn listed(messages: &[Message]) -> String {
    let texts: Vec<_> = messages.iter().map(Message::to_string).collect();
    format!("{}: {}", messages.len(), short::text(&texts.join(", ")))
}
