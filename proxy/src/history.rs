//! What was published and may still be asked for: the messages a subscriber catches up with.
//!
//! What this process accepted lately is in its [`memory`], which is all of the engine `memory`. An
//! [`Archive`] keeps what must outlive the process: it is read for what memory does not have.
//!
//! With Redis neither is used: several nodes share it.
//!
//! The hub calls memory with its sequence locked, so appending a message, giving it its id and
//! registering a subscriber happen in one order that everybody sees.

pub(crate) mod disk;
pub(crate) mod memory;
pub(crate) mod redis;

use std::sync::Arc;

use pullgate_compat::channel::Receiver;
use pullgate_compat::message::{Body, Message, MessageId, Sender};

use disk::Disk;
use redis::Redis;

/// Newest messages of one channel that a catch-up may bring.
pub(crate) const CATCH_UP_PER_CHANNEL: usize = 100;

/// Newest messages of all the channels of one connection that a catch-up may bring.
pub(crate) const CATCH_UP_PER_CONNECTION: usize = 200;

/// A message that has no id yet.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) receivers: Vec<Receiver>,
    /// With what a client proved each receiver; none where the site publishes text.
    pub(crate) signatures: Vec<Vec<u8>>,
    pub(crate) body: Body,
    /// Seconds for which it is kept; 0: it is not.
    pub(crate) expiry: u32,
    pub(crate) sender: Sender,
}

/// What was listed by channel, as one catch-up: the newest, oldest first, each once.
pub(crate) fn newest(listed: impl IntoIterator<Item = Vec<MessageId>>) -> Vec<MessageId> {
    let mut ids: Vec<MessageId> = listed.into_iter().flatten().collect();
    ids.sort_unstable();
    ids.dedup();
    ids.split_off(ids.len().saturating_sub(CATCH_UP_PER_CONNECTION))
}

/// What was read of a list of ids.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    /// Those of the messages that are still there, in the order of the ids.
    pub(crate) messages: Vec<Arc<Message>>,
    /// How many of the ids were read, from the first.
    pub(crate) read: usize,
}

impl Fetched {
    /// Reads messages by `get`, as many as begin within `room` bytes; the first always does.
    pub(crate) fn within<E>(
        room: usize,
        ids: &[MessageId],
        mut get: impl FnMut(MessageId) -> Result<Option<Arc<Message>>, E>,
    ) -> Result<Self, E> {
        let mut fetched = Self::default();
        let mut bytes = 0;
        for id in ids {
            if bytes >= room && fetched.read > 0 {
                break;
            }
            fetched.read += 1;
            if let Some(message) = get(*id)? {
                bytes += message.body.len();
                fetched.messages.push(message);
            }
        }
        Ok(fetched)
    }
}

/// What keeps messages beyond the memory of this process.
#[derive(Debug)]
pub(crate) enum Archive {
    /// Nothing: a restart forgets them.
    None,
    Disk(Disk),
    /// For several nodes, whose messages come in no order that this process makes: memory is not used.
    Redis(Arc<Redis>),
}

/// The archive cannot be read or written now.
#[derive(Debug, Clone, thiserror::Error)]
#[error("history is not available: {0}")]
pub(crate) struct Unavailable(pub(crate) String);

impl Unavailable {
    /// Another process has it.
    pub(crate) fn released() -> Self {
        Self("another process has taken over".to_owned())
    }
}

impl Archive {
    /// The newest ids of each of `receivers` after `after`, up to and with `until`, newest first.
    pub(crate) async fn listed(
        &self,
        receivers: &[Receiver],
        after: MessageId,
        until: MessageId,
    ) -> Result<Vec<Vec<MessageId>>, Unavailable> {
        match self {
            Self::None => Ok(vec![Vec::new(); receivers.len()]),
            Self::Disk(disk) => disk.listed(receivers, after, until).await,
            Self::Redis(redis) => {
                let mut listed = redis.listed(receivers, after).await?;
                for ids in &mut listed {
                    ids.retain(|id| *id <= until);
                }
                Ok(listed)
            }
        }
    }

    /// Where messages come from the archive: the greatest id that has come. Who registers now gets all that are
    /// greater live, in order; those that are listed already must not come before others that are not stored.
    pub(crate) fn delivered(&self) -> Option<MessageId> {
        match self {
            Self::None | Self::Disk(_) => None,
            Self::Redis(redis) => redis.delivered(),
        }
    }

    /// Those of the messages that are still there, as many as begin within `room` bytes.
    pub(crate) async fn fetch(
        &self,
        ids: &[MessageId],
        room: usize,
    ) -> Result<Fetched, Unavailable> {
        match self {
            Self::None => Ok(Fetched {
                messages: Vec::new(),
                read: ids.len(),
            }),
            Self::Disk(disk) => disk.fetch(ids, room).await,
            Self::Redis(redis) => redis.fetch(ids, room).await,
        }
    }

    /// Finishes what is under way.
    pub(crate) fn close(&self) {
        match self {
            Self::None => {}
            Self::Disk(disk) => disk.close(),
            Self::Redis(redis) => redis.close(),
        }
    }
}
