//! What a subscriber missed: from memory, and from the archive where memory does not go back far enough.
//!
//! Which messages these are is found out at once, in the step in which the subscriber registers; they
//! themselves are read as it takes them, a piece at a time. So a client that takes nothing costs little,
//! however much it missed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use pullgate_compat::channel::Receiver;
use pullgate_compat::message::{Message, MessageId};

use super::Hub;
use super::memory::{Kept, Reader};
use super::outgoing::{Format, Outgoing, PIECE, caught_up, framed, size};
use crate::clock::unix_time;
use crate::history::memory::Memory;
use crate::history::{CATCH_UP_PER_CHANNEL, Fetched, Unavailable, newest};
use crate::net::cut_off::CutOff;

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
    /// For what is kept for this client, which history may have too: it is counted for each.
    here: Kept,
    /// For the piece that was read, until it is encoded.
    piece: Option<Kept>,
    /// Who takes the pieces, if it can be let go otherwise than as a subscriber.
    reader: Option<Arc<Reader>>,
}

/// One of them.
#[derive(Debug)]
pub(super) enum Unread {
    /// Kept for this client, whatever history does.
    Here(Arc<Message>),
    /// The same, come live.
    Live(Arc<Outgoing>),
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
    /// What is kept for this client and not counted elsewhere, bytes. History may have it, too.
    fn kept(&self) -> usize {
        match self {
            Self::Here(message) => size(message),
            Self::Live(_) | Self::Stored(_) => 0,
        }
    }

    fn id(&self) -> MessageId {
        match self {
            Self::Here(message) => message.id,
            Self::Live(outgoing) => outgoing.message().id,
            Self::Stored(id) => *id,
        }
    }
}

impl Missed {
    /// Where much waits for others already, nothing is kept for this client that history has.
    pub(super) fn new(hub: Arc<Hub>, mut unread: VecDeque<Unread>) -> Self {
        let kept = unread.iter().map(Unread::kept).sum();
        let here = hub.queues.keep_within_half(kept).unwrap_or_else(|| {
            for unread in &mut unread {
                if let Unread::Here(message) = unread {
                    *unread = Unread::Stored(message.id);
                }
            }
            hub.queues.keep(0)
        });
        Self {
            hub,
            unread,
            here,
            piece: None,
            reader: None,
        }
    }

    /// The pieces go out as a response, which can be cut off.
    pub(crate) fn read_over(&mut self, cut_off: Option<CutOff>) {
        self.reader = cut_off.map(|cut_off| Arc::new(Reader::new(cut_off)));
    }

    /// A piece as its client gets it, timed now.
    pub(crate) fn encoded(&mut self, piece: &[Arc<Message>], format: Format) -> Bytes {
        self.handed(caught_up(piece, format))
    }

    /// Bytes for the client, counted until it has taken them.
    pub(crate) fn handed(&mut self, bytes: Vec<u8>) -> Bytes {
        self.piece = None;
        match &self.reader {
            Some(reader) => self.hub.queues.hand_to(reader, bytes),
            None => self.hub.queues.share(bytes),
        }
    }

    /// The next piece; nothing at the end.
    ///
    /// # Errors
    /// When history cannot be read.
    pub(crate) async fn next(&mut self) -> Result<Vec<Arc<Message>>, Unavailable> {
        let mut piece = Vec::new();
        let mut bytes = 0;
        self.piece = match self.unread.is_empty() {
            true => None,
            false => Some(self.hub.queues.room().await),
        };
        while bytes < PIECE && !self.unread.is_empty() {
            let some = match self.unread.front() {
                Some(Unread::Here(message)) => Fetched {
                    messages: vec![Arc::clone(message)],
                    read: 1,
                },
                Some(Unread::Live(outgoing)) => Fetched {
                    messages: vec![Arc::clone(outgoing.message())],
                    read: 1,
                },
                Some(Unread::Stored(_)) | None => {
                    let stored = self.stored();
                    Box::pin(self.hub.read(&stored, PIECE - bytes)).await?
                }
            };
            self.unread.drain(..some.read.clamp(1, self.unread.len()));
            bytes += some.messages.iter().map(|it| framed(it)).sum::<usize>();
            piece.extend(some.messages);
        }
        if let Some(kept) = &mut self.piece {
            kept.set(bytes);
        }
        self.here.set(self.unread.iter().map(Unread::kept).sum());
        Ok(piece)
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.unread.is_empty()
    }

    /// Puts what has come live behind the rest.
    pub(crate) fn extend(&mut self, live: &[Arc<Outgoing>]) {
        self.unread.extend(live.iter().cloned().map(Unread::Live));
    }

    /// Which are to be read next from history.
    fn stored(&self) -> Vec<MessageId> {
        let stored = |unread: &Unread| match unread {
            Unread::Stored(id) => Some(*id),
            Unread::Here(_) | Unread::Live(_) => None,
        };
        self.unread.iter().map_while(stored).collect()
    }
}

/// Joins what history has with what has come live while that was found out. What is in both comes
/// once, and everything by its id.
pub(super) fn joined(
    missed: VecDeque<Unread>,
    live: impl IntoIterator<Item = Arc<Outgoing>>,
) -> VecDeque<Unread> {
    let live = live.into_iter().map(Unread::Live);
    let by_id: BTreeMap<MessageId, Unread> = missed
        .into_iter()
        .chain(live)
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
