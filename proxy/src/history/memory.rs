//! History in memory: bounded by time, by count per channel and by bytes; gone with the process.
//!
//! Messages are kept once, by id; a channel only lists ids. An id whose message has expired stays in
//! the list while the channel has a younger or older live one, because the reference server answers
//! `Last-Message-Id` by the newest *listed* id and then looks whether its message is still there.
//!
//! The bound counts every structure here. Whoever appends also clears up, a little more than it brings:
//! so nobody holds the hub's lock for all that has come due.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use pullgate_compat::channel::Receiver;
use pullgate_compat::message::{Message, MessageId};

use super::{CATCH_UP_PER_CHANNEL, Fetched};

/// What a stored message takes besides its body and receivers: itself and its places by id and by expiry.
const MESSAGE: usize = 320;

/// What a channel takes besides its ids: its place in the map, and a list that has room for a few.
const CHANNEL: usize = 192;

/// What an id takes in a channel's list, which may have room for as many again.
const LISTED: usize = 2 * size_of::<MessageId>();

/// Bytes that may go with one message that comes, at least.
const STEP: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Memory {
    max_bytes: usize,
    /// What all of this takes.
    bytes: usize,
    messages: BTreeMap<MessageId, Stored>,
    channels: HashMap<Receiver, Listed>,
    /// Unix seconds at which a message goes, soonest first; one for each of `messages`.
    expiries: BTreeSet<(u64, MessageId)>,
    complete_after: MessageId,
}

#[derive(Debug)]
struct Stored {
    message: Arc<Message>,
    expires: u64,
    receivers: Box<[Receiver]>,
    /// Channels that still list it; a message nobody lists goes at once.
    listed: usize,
}

/// The ids of one channel, oldest first.
#[derive(Debug, Default)]
struct Listed {
    ids: VecDeque<MessageId>,
    /// How many of them still have a message.
    live: usize,
}

impl Memory {
    /// `begins_after`: the newest id that an earlier process may have given.
    pub(crate) fn new(max_bytes: usize, begins_after: MessageId) -> Self {
        Self {
            max_bytes,
            bytes: 0,
            messages: BTreeMap::new(),
            channels: HashMap::new(),
            expiries: BTreeSet::new(),
            complete_after: begins_after,
        }
    }

    /// From now on so much may be kept; what is too much goes with what comes.
    pub(crate) fn set_max_bytes(&mut self, max_bytes: usize) {
        self.max_bytes = max_bytes;
    }

    /// Stores `message` for its `receivers`. Ids must come in growing order; an expiry of 0 is not stored.
    /// What is not newer than `evictable` may have to go for it.
    pub(crate) fn append(
        &mut self,
        message: &Arc<Message>,
        receivers: &[Receiver],
        now: u64,
        evictable: MessageId,
    ) {
        // More may go than comes, so a backlog shrinks; but not much more.
        let step = STEP.max(2 * (message.body.len() + MESSAGE));
        self.expire(now, step);
        if message.expiry > 0 {
            self.store(message, receivers, now);
        }
        self.evict(evictable, step);
    }

    fn store(&mut self, message: &Arc<Message>, receivers: &[Receiver], now: u64) {
        let mut unique: Vec<Receiver> = Vec::with_capacity(receivers.len());
        for receiver in receivers {
            if !unique.contains(receiver) {
                unique.push(*receiver);
            }
        }
        for receiver in &unique {
            self.list(message.id, *receiver);
        }
        let expires = now + u64::from(message.expiry);
        let stored = Stored {
            message: Arc::clone(message),
            expires,
            listed: unique.len(),
            receivers: unique.into(),
        };
        self.bytes += stored.size();
        self.expiries.insert((expires, message.id));
        self.messages.insert(message.id, stored);
    }

    /// The ids of each of `receivers` after `after`, newest first.
    pub(crate) fn listed(&self, receivers: &[Receiver], after: MessageId) -> Vec<Vec<MessageId>> {
        let of = |receiver| {
            let listed: &Listed = self.channels.get(receiver)?;
            let newer = listed.ids.iter().rev().take_while(|&&id| id > after);
            Some(newer.copied().collect())
        };
        receivers
            .iter()
            .map(|receiver| of(receiver).unwrap_or_default())
            .collect()
    }

    /// Whether the message is here, expired or not.
    pub(crate) fn has(&self, id: MessageId) -> bool {
        self.messages.contains_key(&id)
    }

    /// Those of the messages that are still there, see [`Fetched::within`].
    pub(crate) fn fetch(&self, ids: &[MessageId], room: usize, now: u64) -> Fetched {
        let find = |id| {
            let stored = self.messages.get(&id);
            let unexpired = stored.filter(|stored| stored.expires > now);
            Ok::<_, Infallible>(unexpired.map(|stored| Arc::clone(&stored.message)))
        };
        let Ok(fetched) = Fetched::within(room, ids, find);
        fetched
    }

    /// Everything stored after this id is here, if it has not expired; what came before may be gone.
    pub(crate) fn complete_after(&self) -> MessageId {
        self.complete_after
    }

    /// Lets go of what has expired, up to about `step` bytes of it.
    fn expire(&mut self, now: u64, step: usize) {
        let enough = self.bytes.saturating_sub(step);
        while self.bytes > enough
            && let Some(&(expires, id)) = self.expiries.first()
            && expires <= now
        {
            self.remove(id);
        }
    }

    /// Lets go of the oldest while there is too much, up to about `step` bytes of them.
    fn evict(&mut self, evictable: MessageId, step: usize) {
        let enough = self.bytes.saturating_sub(step).max(self.max_bytes);
        while self.bytes > enough
            && let Some((&oldest, _)) = self.messages.first_key_value()
            && oldest <= evictable
        {
            self.complete_after = oldest;
            self.remove(oldest);
        }
    }

    fn list(&mut self, id: MessageId, receiver: Receiver) {
        let listed = self.channels.entry(receiver).or_insert_with(|| {
            self.bytes += CHANNEL;
            Listed::default()
        });
        listed.ids.push_back(id);
        listed.live += 1;
        self.bytes += LISTED;
        if listed.ids.len() > CATCH_UP_PER_CHANNEL
            && let Some(oldest) = listed.ids.pop_front()
        {
            self.bytes -= LISTED;
            self.unlist(oldest, receiver);
        }
    }

    /// A channel's list has grown too long for this id.
    fn unlist(&mut self, id: MessageId, receiver: Receiver) {
        let Some(stored) = self.messages.get_mut(&id) else {
            return;
        };
        if let Some(listed) = self.channels.get_mut(&receiver) {
            listed.live -= 1;
        }
        stored.listed -= 1;
        if stored.listed == 0 {
            self.forget(id);
        }
    }

    /// The message goes; its id stays listed where other messages keep the channel alive, unless nobody
    /// is told of ids that old.
    fn remove(&mut self, id: MessageId) {
        let Some(stored) = self.forget(id) else {
            return;
        };
        for receiver in &stored.receivers {
            let Some(listed) = self.channels.get_mut(receiver) else {
                continue;
            };
            if listed.ids.binary_search(&id).is_ok() {
                listed.live -= 1;
            }
            while listed
                .ids
                .front()
                .is_some_and(|id| *id <= self.complete_after)
            {
                listed.ids.pop_front();
                self.bytes -= LISTED;
            }
            if listed.live == 0 {
                self.bytes -= CHANNEL + listed.ids.len() * LISTED;
                self.channels.remove(receiver);
            }
        }
    }

    fn forget(&mut self, id: MessageId) -> Option<Stored> {
        let stored = self.messages.remove(&id)?;
        self.expiries.remove(&(stored.expires, id));
        self.bytes -= stored.size();
        Some(stored)
    }
}

impl Stored {
    fn size(&self) -> usize {
        MESSAGE + self.message.body.len() + size_of_val::<[Receiver]>(&self.receivers)
    }
}

#[cfg(test)]
mod tests;
