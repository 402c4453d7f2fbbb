//! What the nodes of a cluster leave each other in Redis.
//!
//! A stored message is an `OutgoingMessage` under `message:` and its id. A published one goes to the other
//! nodes as a `NotificationBatch` on the pub/sub channel `pushserver:` and the name of its node.

use super::encode::{address, bytes, nested, outgoing};
use super::reader::fields;
use super::request::Address;
use super::response::{self, DecodeError, repeated};
use crate::channel::Receiver;
use crate::message::{Message, MessageId};

/// The `OutgoingMessage` that is stored for `message`.
pub fn encode_message(message: &Message) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + message.body.len());
    outgoing(&mut out, message);
    out
}

/// Reads an `OutgoingMessage`.
///
/// # Errors
///
/// For what is not protobuf, and for an id or a sender that no server writes.
pub fn decode_message(data: &[u8]) -> Result<Message, DecodeError> {
    response::outgoing(data)
}

/// A message that another node published, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Where it goes, in order; what is named twice receives twice.
    pub recipients: Vec<Recipient>,
    /// The message.
    pub content: Content,
}

/// A receiver as the publisher named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Where the message goes.
    pub receiver: Receiver,
    /// The raw signature with which a client proved the receiver; empty when the site published. It was
    /// verified by the node that sends it.
    pub signature: Vec<u8>,
}

/// The message of a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The message itself. The reference server always sends this.
    Message(Message),
    /// The id under which it is stored.
    Stored(MessageId),
}

impl Content {
    /// The message's id.
    pub fn id(&self) -> MessageId {
        match self {
            Self::Message(message) => message.id,
            Self::Stored(id) => *id,
        }
    }
}

/// A `NotificationBatch` of one notification.
pub fn encode_notification(notification: &Notification) -> Vec<u8> {
    let mut out = Vec::new();
    nested(&mut out, 1, |out| {
        nested(out, 1, |out| {
            nested(out, 1, |out| ipc_message(out, notification));
        });
    });
    out
}

fn ipc_message(out: &mut Vec<u8>, notification: &Notification) {
    for recipient in &notification.recipients {
        nested(out, 1, |out| {
            address(out, &recipient.receiver);
            if !recipient.signature.is_empty() {
                bytes(out, 3, &recipient.signature);
            }
        });
    }
    match &notification.content {
        Content::Message(message) => nested(out, 3, |out| outgoing(out, message)),
        Content::Stored(id) => bytes(out, 2, id.as_bytes()),
    }
}

/// Reads a `NotificationBatch`; notifications about anything but messages are left out.
///
/// # Errors
///
/// For what is not protobuf, and for ids and senders that no server writes.
pub fn decode_notifications(data: &[u8]) -> Result<Vec<Notification>, DecodeError> {
    let batches = repeated(data, |notification| {
        let mut messages = Vec::new();
        for field in fields(notification) {
            if let (1, value) = field? {
                messages = repeated(value.bytes()?, notification_of)?;
            }
        }
        Ok(messages)
    })?;
    Ok(batches.into_iter().flatten().collect())
}

fn notification_of(data: &[u8]) -> Result<Notification, DecodeError> {
    let mut recipients = Vec::new();
    let (mut id, mut message) = (None, None);
    for field in fields(data) {
        match field? {
            (1, value) => recipients.push(recipient(value.bytes()?)?),
            (2, value) => id = MessageId::from_slice(value.bytes()?),
            (3, value) => message = Some(response::outgoing(value.bytes()?)?),
            _ => {}
        }
    }
    let content = message.map(Content::Message).or(id.map(Content::Stored));
    Ok(Notification {
        recipients,
        content: content.ok_or(DecodeError::Wrong("message"))?,
    })
}

fn recipient(data: &[u8]) -> Result<Recipient, DecodeError> {
    let address = Address::read(data)?;
    Ok(Recipient {
        receiver: address.receiver().ok_or(DecodeError::Wrong("channel id"))?,
        signature: address.signature.to_vec(),
    })
}
