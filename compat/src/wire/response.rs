//! What a server sent, read back: for clients in tests, for replaying recorded traffic, and for what
//! other nodes leave in Redis. Writing again gives the same bytes.

use bytes::Bytes;

use super::reader::{Malformed, Value, fields};
use crate::channel::{PublicId, Receiver};
use crate::message::{Body, Message, MessageId, Sender};

/// One response of a `ResponseBatch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// Messages for a subscriber.
    Messages(Vec<Message>),
    /// Which of the channels asked for are online.
    ChannelStats(Vec<ChannelStats>),
    /// The server's statistics, a JSON text.
    ServerStats(Body),
    /// Another JSON text.
    Json(Body),
}

/// Whether somebody listens to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelStats {
    /// The channel that was asked for.
    pub channel: Receiver,
    /// Whether somebody does.
    pub is_online: bool,
}

/// Data that no server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not protobuf, or another schema.
    #[error("malformed protobuf")]
    Malformed,
    /// A part that must be there is missing, or is not what it must be.
    #[error("missing or wrong {0}")]
    Wrong(&'static str),
}

impl From<Malformed> for DecodeError {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

/// Reads a `ResponseBatch`.
///
/// # Errors
///
/// For what is not protobuf, and for ids and senders that no server writes.
pub fn decode_response(data: &[u8]) -> Result<Vec<Response>, DecodeError> {
    repeated(data, response)
}

/// Reads the message in each field 1 of `data`.
pub(super) fn repeated<T>(
    data: &[u8],
    read: impl Fn(&[u8]) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut all = Vec::new();
    for field in fields(data) {
        if let (1, value) = field? {
            all.push(read(value.bytes()?)?);
        }
    }
    Ok(all)
}

fn response(data: &[u8]) -> Result<Response, DecodeError> {
    let mut response = Err(DecodeError::Wrong("command"));
    for field in fields(data) {
        response = Ok(match field? {
            (1, value) => Response::Messages(repeated(value.bytes()?, outgoing)?),
            (2, value) => Response::ChannelStats(repeated(value.bytes()?, channel_stats)?),
            (3, value) => Response::ServerStats(json(value.bytes()?)?),
            (4, value) => Response::Json(body(value)?),
            _ => continue,
        });
    }
    response
}

/// Reads an `OutgoingMessage`.
pub(super) fn outgoing(data: &[u8]) -> Result<Message, DecodeError> {
    let mut id = None;
    let mut message_body = Body::default();
    let (mut expiry, mut created) = (0, 0);
    let mut message_sender = Sender::Unknown;
    for field in fields(data) {
        match field? {
            (1, value) => id = MessageId::from_slice(value.bytes()?),
            (2, value) => message_body = body(value)?,
            (3, value) => expiry = value.uint32()?,
            (4, value) => created = value.fixed32()?,
            (5, value) => message_sender = sender(value.bytes()?)?,
            _ => {}
        }
    }
    Ok(Message {
        id: id.ok_or(DecodeError::Wrong("message id"))?,
        body: message_body,
        expiry,
        created,
        sender: message_sender,
    })
}

fn sender(data: &[u8]) -> Result<Sender, DecodeError> {
    let (mut kind, mut id) = (0, None);
    for field in fields(data) {
        match field? {
            (1, value) => kind = value.uint32()?,
            (2, value) => id = PublicId::from_slice(value.bytes()?),
            _ => {}
        }
    }
    match kind {
        0 => Ok(Sender::Unknown),
        1 => id
            .map(Sender::Client)
            .ok_or(DecodeError::Wrong("sender id")),
        2 => Ok(Sender::Backend),
        _ => Err(DecodeError::Wrong("sender type")),
    }
}

fn channel_stats(data: &[u8]) -> Result<ChannelStats, DecodeError> {
    let (mut id, mut is_private, mut is_online) = (&[][..], false, false);
    for field in fields(data) {
        match field? {
            (1, value) => id = value.bytes()?,
            (2, value) => is_private = value.bool()?,
            (3, value) => is_online = value.bool()?,
            _ => {}
        }
    }
    let channel = Receiver::from_parts(id, is_private);
    Ok(ChannelStats {
        channel: channel.ok_or(DecodeError::Wrong("channel id"))?,
        is_online,
    })
}

fn json(data: &[u8]) -> Result<Body, DecodeError> {
    let mut json = Body::default();
    for field in fields(data) {
        if let (1, value) = field? {
            json = body(value)?;
        }
    }
    Ok(json)
}

fn body(value: Value<'_>) -> Result<Body, DecodeError> {
    Ok(Body::from_lossy(Bytes::copy_from_slice(value.bytes()?)))
}
