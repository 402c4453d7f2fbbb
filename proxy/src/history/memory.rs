//! History in memory: bounded by time, by count per channel and by bytes; gone with the process.
//!
//! Messages are kept once, by id; a channel only lists ids. An id whose message has expired stays in
//! the list while the channel has a younger or older live one, because the reference server answers
//! `Last-Message-Id` by the newest *listed* id and then looks whether its message is still there.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use pullgate_compat::channel::Receiver;
use pullgate_compat::message::{Message, MessageId};

use super::CATCH_UP_PER_CHANNEL;

/// What a stored message costs besides its body: map entries, list entries, the message itself.
const OVERHEAD: usize = 256;

#[derive(Debug)]
pub(crate) struct Memory {
    max_bytes: usize,
    bytes: usize,
    messages: BTreeMap<MessageId, Stored>,
    channels: HashMap<Receiver, Listed>,
    /// Unix seconds at which a message goes, soonest first.
    expiries: BinaryHeap<Reverse<(u64, MessageId)>>,
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
            expiries: BinaryHeap::new(),
            complete_after: begins_after,
        }
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
        self.expire(now);
        if message.expiry == 0 {
            return;
        }
        let mut unique: Vec<Receiver> = Vec::with_capacity(receivers.len());
        for receiver in receivers {
            if !unique.contains(receiver) {
                unique.push(*receiver);
            }
        }
        for receiver in &unique {
            let listed = self.channels.entry(*receiver).or_default();
            listed.ids.push_back(message.id);
            listed.live += 1;
            if listed.ids.len() > CATCH_UP_PER_CHANNEL
                && let Some(oldest) = listed.ids.pop_front()
            {
                self.unlist(oldest, *receiver);
            }
        }
        let expires = now + u64::from(message.expiry);
        self.expiries.push(Reverse((expires, message.id)));
        self.bytes += message.body.len() + OVERHEAD;
        let listed = unique.len();
        self.messages.insert(
            message.id,
            Stored {
                message: Arc::clone(message),
                expires,
                receivers: unique.into(),
                listed,
            },
        );
        while self.bytes > self.max_bytes
            && let Some((&oldest, _)) = self.messages.first_key_value()
            && oldest <= evictable
        {
            self.complete_after = oldest;
            self.remove(oldest);
        }
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

    /// Those of the messages that are still there.
    pub(crate) fn fetch(&self, ids: &[MessageId], now: u64) -> Vec<Arc<Message>> {
        ids.iter()
            .filter_map(|id| self.messages.get(id))
            .filter(|stored| stored.expires > now)
            .map(|stored| Arc::clone(&stored.message))
            .collect()
    }

    /// Everything stored after this id is here, if it has not expired; what came before may be gone.
    pub(crate) fn complete_after(&self) -> MessageId {
        self.complete_after
    }

    fn expire(&mut self, now: u64) {
        while let Some(&Reverse((expires, id))) = self.expiries.peek()
            && expires <= now
        {
            self.expiries.pop();
            self.remove(id);
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

    /// The message goes; its id stays listed where other messages keep the channel alive.
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
                if listed.live == 0 {
                    self.channels.remove(receiver);
                }
            }
        }
    }

    fn forget(&mut self, id: MessageId) -> Option<Stored> {
        let stored = self.messages.remove(&id)?;
        self.bytes -= stored.message.body.len() + OVERHEAD;
        Some(stored)
    }
}

#[cfg(test)]
mod tests;
