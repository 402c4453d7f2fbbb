//! What a subscriber missed: from memory, and from the archive where memory does not go back far enough.
//!
//! Which messages these are is found out at once, in the step in which the subscriber registers; they
//! themselves are read as it takes them, a piece at a time. So a client that takes nothing costs little,
//! however much it missed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use pullgate_compat::channel::Receiver;
use pullgate_compat::message::{Message, MessageId};

use super::Hub;
use super::outgoing::{Outgoing, PIECE, framed, size};
use crate::clock::unix_time;
use crate::history::memory::Memory;
use crate::history::{CATCH_UP_PER_CHANNEL, Fetched, Unavailable, newest};

/// What memory has for a subscriber, read in the step in which it registers.
#[derive(Debug)]
pub(super) struct Recent {
    /// By channel, newest first, from after `complete_after` on.
    listed: Vec<Vec<MessageId>>,
    /// The newest of them, oldest first.
    messages: Vec<Arc<Message>>,
    complete_after: MessageId,
    /// What is greater comes live.
    until: MessageId,
}

/// Messages on their way to one client, oldest first.
#[derive(Debug)]
pub(crate) struct Missed {
    hub: Arc<Hub>,
    unread: VecDeque<Unread>,
}

/// One of them.
#[derive(Debug)]
pub(super) enum Unread {
    /// Kept for this client, whatever history does.
    Here(Arc<Message>),
    /// To be read from history, which may have let it go by then.
    Stored(MessageId),
}

impl Recent {
    pub(super) fn of(history: &Memory, receivers: &[Receiver], mid: MessageId) -> Self {
        let complete_after = history.complete_after();
        let listed = history.listed(receivers, mid.max(complete_after));
        let newest = newest(listed.clone());
        let found = history.fetch(&newest, usize::MAX, unix_time().as_secs());
        Self {
            listed,
            messages: found.messages,
            complete_after,
            until: complete_after,
        }
    }

    /// For one to whom everything greater than this comes live, though it may be in the archive already.
    pub(super) fn until(self, until: MessageId) -> Self {
        Self { until, ..self }
    }
}

impl Unread {
    fn id(&self) -> MessageId {
        match self {
            Self::Here(message) => message.id,
            Self::Stored(id) => *id,
        }
    }
}

impl Missed {
    pub(super) fn new(hub: Arc<Hub>, unread: VecDeque<Unread>) -> Self {
        Self { hub, unread }
    }

    /// The next piece; nothing at the end.
    ///
    /// # Errors
    /// When history cannot be read.
    pub(crate) async fn next(&mut self) -> Result<Vec<Arc<Message>>, Unavailable> {
        let mut piece = Vec::new();
        let mut bytes = 0;
        while bytes < PIECE && !self.unread.is_empty() {
            let some = match self.unread.front() {
                Some(Unread::Here(message)) => Fetched {
                    messages: vec![Arc::clone(message)],
                    read: 1,
                },
                Some(Unread::Stored(_)) | None => {
                    self.hub.read(&self.stored(), PIECE - bytes).await?
                }
            };
            self.unread.drain(..some.read.clamp(1, self.unread.len()));
            bytes += some.messages.iter().map(|it| framed(it)).sum::<usize>();
            piece.extend(some.messages);
        }
        Ok(piece)
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.unread.is_empty()
    }

    /// Puts what has come live behind the rest.
    pub(crate) fn extend(&mut self, live: &[Arc<Outgoing>]) {
        let here = |outgoing: &Arc<Outgoing>| Unread::Here(Arc::clone(outgoing.message()));
        self.unread.extend(live.iter().map(here));
    }

    /// Which are to be read next from history.
    fn stored(&self) -> Vec<MessageId> {
        let stored = |unread: &Unread| match unread {
            Unread::Stored(id) => Some(*id),
            Unread::Here(_) => None,
        };
        self.unread.iter().map_while(stored).collect()
    }
}

/// Joins what history has with what has come live while that was found out. What is in both comes
/// once, and everything by its id.
pub(super) fn joined(
    missed: VecDeque<Unread>,
    live: impl Iterator<Item = Arc<Message>>,
) -> VecDeque<Unread> {
    let here = live.map(Unread::Here);
    let by_id: BTreeMap<MessageId, Unread> = missed
        .into_iter()
        .chain(here)
        .map(|unread| (unread.id(), unread))
        .collect();
    by_id.into_values().collect()
}

/// The ids of what is missed, in order.
pub(super) fn ids(missed: &VecDeque<Unread>) -> Vec<MessageId> {
    missed.iter().map(Unread::id).collect()
}

impl Hub {
    /// What was stored for `receivers` after `mid`: what memory has, and before that the archive.
    pub(super) async fn missed(
        &self,
        receivers: &[Receiver],
        mid: MessageId,
        mut recent: Recent,
    ) -> Result<VecDeque<Unread>, Unavailable> {
        let mut missed = VecDeque::new();
        if mid < recent.complete_after {
            let older = self.archive.listed(receivers, mid, recent.until).await?;
            for (listed, older) in recent.listed.iter_mut().zip(older) {
                listed.extend(older);
                listed.truncate(CATCH_UP_PER_CHANNEL);
            }
            // Memory's are newer than all of these: they are among the newest anyway.
            let mut wanted = newest(recent.listed);
            wanted.retain(|id| *id <= recent.complete_after);
            missed.extend(wanted.into_iter().map(Unread::Stored));
        }
        // What memory has is kept for the client, so that nothing is missed because it is slow; as much
        // as may wait for it live.
        let mut room = self.sequence().limits.subscriber_queue;
        missed.extend(recent.messages.into_iter().map(|message| {
            room = room.saturating_sub(size(&message));
            match room {
                0 => Unread::Stored(message.id),
                1.. => Unread::Here(message),
            }
        }));
        Ok(missed)
    }

    /// Reads the first of `ids` from where they are: memory, or the archive.
    async fn read(&self, ids: &[MessageId], room: usize) -> Result<Fetched, Unavailable> {
        let of_archive = {
            let history = &self.sequence().history;
            let in_memory = ids.first().is_some_and(|first| history.has(*first));
            let together = ids.iter().take_while(|id| history.has(**id) == in_memory);
            let together = ids.get(..together.count()).unwrap_or(ids);
            if in_memory {
                return Ok(history.fetch(together, room, unix_time().as_secs()));
            }
            together
        };
        // Memory lets nothing go before the archive has it.
        self.archive.fetch(of_archive, room).await
    }

    /// What is stored for `receivers` after `mid`, for somebody who does not listen.
    pub(crate) async fn stored(
        self: &Arc<Self>,
        receivers: &[Receiver],
        mid: MessageId,
    ) -> Result<Vec<Arc<Message>>, Unavailable> {
        let recent = Recent::of(&self.sequence().history, receivers, mid);
        let unread = self.missed(receivers, mid, recent).await?;
        let mut missed = Missed::new(Arc::clone(self), unread);
        let mut stored = Vec::new();
        while !missed.is_empty() {
            stored.extend(missed.next().await?);
        }
        Ok(stored)
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
        let found = self.archive.fetch(&newest, 0).await?;
        Ok(found.messages.first().map(|message| message.id))
    }
}
