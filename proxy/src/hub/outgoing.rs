//! A message on its way: encoded once per format, shared by all its subscribers.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use pullgate_compat::message::Message;
use pullgate_compat::text::{self, Now};
use pullgate_compat::wire;

use super::memory::{Kept, Queues};
use crate::clock::unix_time;

/// How a subscriber wants its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `#!NGINXNMS!#` frames.
    Text,
    /// A protobuf `ResponseBatch` (`binaryMode=true`).
    Binary,
}

/// What goes to a client at a time: as many messages as begin within this, bytes.
pub(crate) const PIECE: usize = 256 << 10;

/// More than a message takes beside its body when it is encoded.
const FRAME: usize = 192;

/// More than a message that waits takes beside that: itself, what tells where its forms are, its place.
const ENTRY: usize = 320;

/// What a message takes as a frame, bytes.
pub(crate) fn framed(message: &Message) -> usize {
    FRAME + message.body.len()
}

/// What it takes in a queue.
pub(crate) fn size(message: &Message) -> usize {
    ENTRY + framed(message)
}

/// A live message and its encoded forms, each made when the first subscriber wants it, and counted once for all.
#[derive(Debug)]
pub(crate) struct Outgoing {
    message: Arc<Message>,
    kept: Kept,
    text: OnceLock<Bytes>,
    binary: OnceLock<Bytes>,
}

impl Outgoing {
    /// `beside`: what is kept to deliver it, bytes.
    pub(super) fn new(message: Arc<Message>, beside: usize, queues: &Arc<Queues>) -> Self {
        Self {
            kept: queues.keep(ENTRY + message.body.len() + beside),
            message,
            text: OnceLock::new(),
            binary: OnceLock::new(),
        }
    }

    pub(crate) fn message(&self) -> &Arc<Message> {
        &self.message
    }

    /// What it takes in a queue, bytes.
    pub(crate) fn size(&self) -> usize {
        size(&self.message)
    }

    /// The message alone; several, one behind the other, are well-formed too.
    pub(crate) fn encoded(&self, format: Format) -> &Bytes {
        match format {
            Format::Text => self.text.get_or_init(|| {
                let frame = text_frames(std::slice::from_ref(&self.message));
                self.kept.queues().share(frame)
            }),
            Format::Binary => self.binary.get_or_init(|| {
                let mut response = Vec::new();
                wire::encode_response_message(&self.message, &mut response);
                self.kept.queues().share(response)
            }),
        }
    }
}

/// Messages that a subscriber missed, in one piece, timed now.
pub(super) fn caught_up(messages: &[Arc<Message>], format: Format) -> Vec<u8> {
    match format {
        Format::Text => text_frames(messages),
        Format::Binary => {
            let messages: Vec<&Message> = messages.iter().map(Arc::as_ref).collect();
            wire::encode_messages(&messages)
        }
    }
}

/// Text frames of `messages`, one behind the other, timed now.
fn text_frames(messages: &[Arc<Message>]) -> Vec<u8> {
    let now = Now::at(u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX));
    let mut frames = Vec::with_capacity(messages.iter().map(|it| framed(it)).sum());
    for message in messages {
        text::encode(message, &now, &mut frames);
    }
    frames
}
