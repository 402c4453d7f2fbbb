//! Who listens to what, and the one order in which everything happens.
//!
//! One lock, the *sequence*, is held for the moment in which a message gets its id, enters history
//! and is handed to the cores; and for the moment in which a subscriber registers and reads history.
//! So ids grow in the order of delivery on every connection, and between catch-up and live nothing is
//! lost and nothing comes twice. Nothing under the lock depends on the number of subscribers: each
//! core has an [`Inbox`] and does its own fan-out, waking only tasks of its own thread.
//!
//! Knows the types of `compat`, knows nothing of HTTP.

pub(crate) mod inbox;
pub(crate) mod outgoing;
pub(crate) mod subscriber;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pullgate_compat::channel::{ChannelList, Receiver};
use pullgate_compat::message::{Body, Message, MessageId, Sender};

use crate::history::memory::Memory;
use inbox::Inbox;
use outgoing::Outgoing;
use subscriber::{Closed, Group, Subscriber, Subscription};

/// Between two channels closed for a restart, where there are few.
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

/// See the module.
#[derive(Debug)]
pub(crate) struct Hub {
    sequence: Mutex<Sequence>,
    inboxes: Box<[Inbox]>,
    limits: Limits,
}

/// What the hub must know of `[push.limits]`.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Connections of one channel with a public id, before the oldest goes.
    pub(crate) connections_per_channel: usize,
    /// Longest life of a stored message, seconds.
    pub(crate) message_ttl: u32,
    /// Bytes that may wait for one subscriber.
    pub(crate) subscriber_queue: usize,
}

/// What changes in one step.
#[derive(Debug)]
struct Sequence {
    ids: Ids,
    history: Memory,
    channels: HashMap<Receiver, Vec<(usize, Arc<Group>)>>,
    subscribers: u64,
}

/// The next message id. `start` is never one that an earlier process used.
#[derive(Debug)]
struct Ids {
    start: u32,
    counter: u64,
}

/// Every core has more waiting than it can deliver soon: the publisher must try again.
#[derive(Debug, thiserror::Error)]
#[error("delivery is {0} messages behind")]
pub(crate) struct Overloaded(usize);

impl Hub {
    /// `start`: unix seconds, greater than at every earlier start of this server.
    pub(crate) fn new(cores: usize, start: u32, history: Memory, limits: Limits) -> Self {
        Self {
            sequence: Mutex::new(Sequence {
                ids: Ids { start, counter: 0 },
                history,
                channels: HashMap::new(),
                subscribers: 0,
            }),
            inboxes: (0..cores).map(|_| Inbox::default()).collect(),
            limits,
        }
    }

    /// Accepts one message for all its `receivers`: when this returns it has its id, is in history
    /// (if `expiry`, in seconds, is not 0) and is on its way to every subscriber.
    pub(crate) fn publish(
        &self,
        receivers: &[Receiver],
        body: Body,
        expiry: u32,
        sender: Sender,
    ) -> Result<MessageId, Overloaded> {
        let now = unix_time().as_secs();
        let mut sequence = self.sequence();
        if let Some(behind) = self.inboxes.iter().find_map(Inbox::overloaded) {
            return Err(Overloaded(behind));
        }
        let id = sequence.ids.next();
        let message = Arc::new(Message {
            id,
            body,
            expiry: expiry.min(self.limits.message_ttl),
            created: u32::try_from(now).unwrap_or(u32::MAX),
            sender,
        });
        sequence.history.append(&message, receivers, now);

        let mut listening: Vec<(usize, Arc<Group>)> = Vec::new();
        for receiver in receivers {
            if let Some(groups) = sequence.channels.get(receiver) {
                listening.extend(groups.iter().cloned());
            }
        }
        if !listening.is_empty() {
            let outgoing = Arc::new(Outgoing::new(message));
            for (core, inbox) in self.inboxes.iter().enumerate() {
                let groups: Vec<_> = listening
                    .iter()
                    .filter(|(at, _)| *at == core)
                    .map(|(_, group)| Arc::clone(group))
                    .collect();
                if !groups.is_empty() {
                    inbox.post(Arc::clone(&outgoing), groups);
                }
            }
        }
        Ok(id)
    }

    /// Registers a subscriber of `channels` whose tasks run on `core`. With a `mid`, also what was
    /// stored after it, oldest first; everything later comes through the subscription.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        core: usize,
        channels: &ChannelList,
        mid: Option<MessageId>,
    ) -> (Subscription, Vec<Arc<Message>>) {
        let mut receivers: Vec<Receiver> = Vec::new();
        for receiver in channels.receivers() {
            if !receivers.contains(&receiver) {
                receivers.push(receiver);
            }
        }
        let mut sequence = self.sequence();
        for channel in channels.channels() {
            if channel.public.is_some() {
                self.make_room(&sequence, Receiver::Private(channel.private));
            }
        }
        sequence.subscribers += 1;
        let subscriber = Arc::new(Subscriber::new(
            sequence.subscribers,
            sequence.ids.last(),
            self.limits.subscriber_queue,
        ));
        for receiver in &receivers {
            let groups = sequence.channels.entry(*receiver).or_default();
            match groups.iter().find(|(at, _)| *at == core) {
                Some((_, group)) => group.add(&subscriber),
                None => groups.push((core, Arc::new(Group::of(&subscriber)))),
            }
        }
        let missed = match mid {
            Some(mid) => sequence
                .history
                .since(&receivers, mid, unix_time().as_secs()),
            None => Vec::new(),
        };
        drop(sequence);
        (
            Subscription::new(Arc::clone(self), core, receivers.into(), subscriber),
            missed,
        )
    }

    /// The newest stored id of `receivers`; see [`Memory::last`].
    pub(crate) fn last_id(&self, receivers: &[Receiver]) -> Option<MessageId> {
        self.sequence()
            .history
            .last(receivers, unix_time().as_secs())
    }

    /// Whether anybody listens.
    pub(crate) fn is_online(&self, receiver: Receiver) -> bool {
        self.sequence().channels.contains_key(&receiver)
    }

    /// How many private channels somebody listens to.
    pub(crate) fn private_channels(&self) -> usize {
        self.sequence()
            .channels
            .keys()
            .filter(|receiver| matches!(receiver, Receiver::Private(_)))
            .count()
    }

    /// Delivers for `core` until the process ends. Runs on that core's runtime.
    pub(crate) async fn deliver(&self, core: usize) {
        if let Some(inbox) = self.inboxes.get(core) {
            inbox.deliver().await;
        }
    }

    /// Closes every subscriber, for a restart: paced over `within`, so that not all come back at once.
    pub(crate) async fn close_all(&self, within: Duration) {
        let groups: Vec<Arc<Group>> = self
            .sequence()
            .channels
            .values()
            .flat_map(|groups| groups.iter().map(|(_, group)| Arc::clone(group)))
            .collect();
        let pause = within / u32::try_from(groups.len().max(1)).unwrap_or(u32::MAX);
        let pause = pause.min(LONGEST_PAUSE);
        let mut due = Duration::ZERO;
        for group in groups {
            group.close(Closed::Drained);
            due += pause;
            if due > Duration::from_millis(10) {
                tokio::time::sleep(std::mem::take(&mut due)).await;
            }
        }
    }

    /// Closes the oldest subscriber of `receiver` where there are as many as allowed.
    fn make_room(&self, sequence: &Sequence, receiver: Receiver) {
        let Some(groups) = sequence.channels.get(&receiver) else {
            return;
        };
        let open: usize = groups.iter().map(|(_, group)| group.open()).sum();
        if open < self.limits.connections_per_channel {
            return;
        }
        if let Some(oldest) = groups
            .iter()
            .filter_map(|(_, group)| group.oldest_open())
            .min_by_key(|subscriber| subscriber.number())
        {
            oldest.close(Closed::Evicted);
        }
    }

    /// Called once by every subscription when it goes.
    fn unsubscribe(&self, core: usize, receivers: &[Receiver], subscriber: &Subscriber) {
        let mut sequence = self.sequence();
        for receiver in receivers {
            let Some(groups) = sequence.channels.get_mut(receiver) else {
                continue;
            };
            groups.retain(|(at, group)| *at != core || !group.remove(subscriber));
            if groups.is_empty() {
                sequence.channels.remove(receiver);
            }
        }
    }

    /// A panic elsewhere must not stop delivery: what the lock guards is whole between its steps.
    fn sequence(&self) -> MutexGuard<'_, Sequence> {
        self.sequence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ids {
    fn next(&mut self) -> MessageId {
        self.counter += 1;
        self.last()
    }

    fn last(&self) -> MessageId {
        MessageId::new(self.start, self.counter)
    }
}

/// Now, since 1970.
pub(crate) fn unix_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
