//! What a subscriber missed: read from memory, and from the archive where memory does not go back far
//! enough.

use std::sync::Arc;

use pullgate_compat::channel::Receiver;
use pullgate_compat::message::{Message, MessageId};

use super::{Hub, unix_time};
use crate::history::memory::Memory;
use crate::history::{CATCH_UP_PER_CHANNEL, Unavailable, newest};

/// What memory has for a subscriber, read in the step in which it registers.
#[derive(Debug)]
pub(super) struct Recent {
    /// By channel, newest first, from after `complete_after` on.
    listed: Vec<Vec<MessageId>>,
    /// The newest of them, oldest first.
    messages: Vec<Arc<Message>>,
    complete_after: MessageId,
}

impl Recent {
    pub(super) fn of(history: &Memory, receivers: &[Receiver], mid: MessageId) -> Self {
        let complete_after = history.complete_after();
        let listed = history.listed(receivers, mid.max(complete_after));
        let messages = history.fetch(&newest(listed.clone()), unix_time().as_secs());
        Self {
            listed,
            messages,
            complete_after,
        }
    }
}

impl Hub {
    /// What was stored for `receivers` after `mid`: what memory has, and before that the archive.
    pub(super) async fn missed(
        &self,
        receivers: &[Receiver],
        mid: MessageId,
        mut recent: Recent,
    ) -> Result<Vec<Arc<Message>>, Unavailable> {
        if mid >= recent.complete_after {
            return Ok(recent.messages);
        }
        let older = self
            .archive
            .listed(receivers, mid, recent.complete_after)
            .await?;
        for (listed, older) in recent.listed.iter_mut().zip(older) {
            listed.extend(older);
            listed.truncate(CATCH_UP_PER_CHANNEL);
        }
        // Memory's are newer than all of these: they are among the newest anyway.
        let mut wanted = newest(recent.listed);
        wanted.retain(|id| *id <= recent.complete_after);
        let mut messages = self.archive.fetch(&wanted).await?;
        messages.append(&mut recent.messages);
        Ok(messages)
    }

    /// What is stored for `receivers` after `mid`, for somebody who does not listen.
    pub(crate) async fn stored(
        &self,
        receivers: &[Receiver],
        mid: MessageId,
    ) -> Result<Vec<Arc<Message>>, Unavailable> {
        let recent = Recent::of(&self.sequence().history, receivers, mid);
        self.missed(receivers, mid, recent).await
    }

    /// The newest stored id of `receivers`, if its message is still there.
    pub(crate) async fn last_id(
        &self,
        receivers: &[Receiver],
    ) -> Result<Option<MessageId>, Unavailable> {
        let recent = Recent::of(&self.sequence().history, receivers, MessageId::MIN);
        if let Some(newest) = recent.listed.iter().filter_map(|ids| ids.first()).max() {
            let last = recent.messages.last().map(|message| message.id);
            return Ok(last.filter(|last| last == newest));
        }
        let older = self
            .archive
            .listed(receivers, MessageId::MIN, recent.complete_after)
            .await?;
        let newest: Vec<MessageId> = newest(older).into_iter().next_back().into_iter().collect();
        let found = self.archive.fetch(&newest).await?;
        Ok(found.first().map(|message| message.id))
    }
}
