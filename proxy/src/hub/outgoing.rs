//! A message on its way: encoded once per format, shared by all its subscribers.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use pullgate_compat::message::Message;
use pullgate_compat::text::{self, Now};

use super::unix_time;

/// A live message and its encoded forms, each made when the first subscriber wants it.
#[derive(Debug)]
pub(crate) struct Outgoing {
    message: Arc<Message>,
    text: OnceLock<Bytes>,
}

impl Outgoing {
    pub(crate) fn new(message: Arc<Message>) -> Self {
        Self {
            message,
            text: OnceLock::new(),
        }
    }

    pub(crate) fn message(&self) -> &Arc<Message> {
        &self.message
    }

    pub(crate) fn body_len(&self) -> usize {
        self.message.body.len()
    }

    /// One `#!NGINXNMS!#` frame.
    pub(crate) fn text(&self) -> &Bytes {
        self.text
            .get_or_init(|| text_frames(std::slice::from_ref(&self.message)))
    }
}

/// Text frames of `messages`, one behind the other, timed now.
pub(crate) fn text_frames(messages: &[Arc<Message>]) -> Bytes {
    let now = Now::at(u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX));
    let mut frames = Vec::with_capacity(
        messages
            .iter()
            .map(|message| message.body.len() + 192)
            .sum(),
    );
    for message in messages {
        text::encode(message, &now, &mut frames);
    }
    frames.into()
}
