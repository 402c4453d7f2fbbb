//! Who listens to what, and the one order in which everything happens.
//!
//! One lock, the *sequence*, is held for the moment in which a message gets its id, enters history
//! and is handed to the cores; and for the moment in which a subscriber registers and reads history.
//! So ids grow in the order of delivery on every connection, and between catch-up and live nothing is
//! lost and nothing comes twice. Nothing under the lock depends on the number of subscribers: each
//! core has an [`Inbox`] and does its own fan-out, waking only tasks of its own thread.
//!
//! Knows the types of `compat`, knows nothing of HTTP.

pub(crate) mod catch_up;
mod closing;
mod group;
mod had;
pub(crate) mod inbox;
pub(crate) mod lingering;
pub(crate) mod memory;
pub(crate) mod outgoing;
mod shared;
pub(crate) mod subscriber;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pullgate_compat::channel::{ChannelList, Receiver};
use pullgate_compat::message::{Message, MessageId};

use crate::clock::unix_time;
use crate::history::memory::Memory;
use crate::history::{Archive, Draft, Unavailable};
use catch_up::{Missed, Recent};
use group::Group;
use had::Had;
use inbox::Inbox;
use lingering::{LINGER, Lingering};
use memory::Queues;
use outgoing::Outgoing;
use subscriber::{Closed, Leaving, Proof, Subscriber, Subscription};

/// See the module.
#[derive(Debug)]
pub(crate) struct Hub {
    sequence: Mutex<Sequence>,
    inboxes: Box<[Inbox]>,
    archive: Archive,
    /// Of the process: all sites' together.
    queues: Arc<Queues>,
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
    lingering: Lingering,
    subscribers: u64,
    limits: Limits,
    /// How often the site's key has changed.
    key: u32,
    /// Whether subscribers are sent away: new ones are closed at once.
    is_closing: bool,
    /// Whether another process has the history: nothing is published here any more.
    is_released: bool,
}

/// The next message id. `start` is never one that an earlier process used.
#[derive(Debug)]
struct Ids {
    start: u32,
    counter: u64,
}

/// More waits than can be delivered or written soon: the publisher must try again.
#[derive(Debug, thiserror::Error)]
#[error("{0} messages wait")]
pub(crate) struct Overloaded(usize);

/// Why a publish was not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Hub {
    /// `start`: unix seconds, greater than at every earlier start of this server.
    pub(crate) fn new(
        cores: usize,
        start: u32,
        max_memory: usize,
        archive: Archive,
        limits: Limits,
        queues: &Arc<Queues>,
    ) -> Self {
        let ids = Ids { start, counter: 0 };
        let complete_after = match archive {
            Archive::None | Archive::Disk(_) => ids.last(),
            Archive::Redis(_) => MessageId::MAX,
        };
        Self {
            sequence: Mutex::new(Sequence {
                history: Memory::new(max_memory, complete_after),
                ids,
                channels: HashMap::new(),
                lingering: Lingering::default(),
                subscribers: 0,
                limits,
                key: 0,
                is_closing: false,
                is_released: false,
            }),
            inboxes: (0..cores).map(|_| Inbox::new(queues)).collect(),
            archive,
            queues: Arc::clone(queues),
        }
    }

    /// From now on these limits hold, and this for what memory may keep.
    pub(crate) fn set_limits(&self, limits: Limits, max_memory: usize) {
        let mut sequence = self.sequence();
        sequence.limits = limits;
        sequence.history.set_max_bytes(max_memory);
    }

    /// Accepts messages, in this order: when this returns each has its id, is in history (if its
    /// expiry is not 0), as durable as configured, and is on its way to every subscriber.
    pub(crate) async fn publish(&self, drafts: Vec<Draft>) -> Result<(), Refused> {
        if let Archive::Redis(redis) = &self.archive {
            return self.hand_over(redis, drafts).await;
        }
        let last = self.accept(drafts)?;
        if let Archive::Disk(disk) = &self.archive
            && let Some(last) = last
        {
            disk.durable(last).await?;
        }
        Ok(())
    }

    /// The one step in which messages get their ids and go their ways. The id of the last one that
    /// is stored.
    fn accept(&self, drafts: Vec<Draft>) -> Result<Option<MessageId>, Refused> {
        let now = unix_time().as_secs();
        let mut last = None;
        let mut sequence = self.sequence();
        if let Some(behind) = self.overloaded() {
            return Err(Overloaded(behind).into());
        }
        if sequence.is_released {
            return Err(Unavailable::released().into());
        }
        for draft in drafts {
            let message = Arc::new(Message {
                id: sequence.ids.next(),
                body: draft.body,
                expiry: draft.expiry.min(sequence.limits.message_ttl),
                created: u32::try_from(now).unwrap_or(u32::MAX),
                sender: draft.sender,
            });
            let mut evictable = message.id;
            if let Archive::Disk(disk) = &self.archive {
                disk.append(&message, &draft.receivers, now);
                evictable = disk.readable();
            }
            if message.expiry > 0 {
                last = Some(message.id);
            }
            sequence
                .history
                .append(&message, &draft.receivers, now, evictable);
            self.dispatch(&sequence, message, &draft.receivers);
        }
        Ok(last)
    }

    /// How many messages wait for the slowest part, if that is too many.
    fn overloaded(&self) -> Option<usize> {
        let delivery = self.inboxes.iter().find_map(Inbox::overloaded);
        match &self.archive {
            Archive::None | Archive::Redis(_) => delivery,
            Archive::Disk(disk) => delivery.or_else(|| disk.overloaded()),
        }
    }

    /// Puts a message into the inbox of each core on which somebody listens.
    fn dispatch(&self, sequence: &Sequence, message: Arc<Message>, receivers: &[Receiver]) {
        let listening: Vec<&(usize, Arc<Group>)> = receivers
            .iter()
            .filter_map(|receiver| sequence.channels.get(receiver))
            .flatten()
            .collect();
        if listening.is_empty() {
            return;
        }
        let beside = self.inboxes.len() * inbox::PLACE + size_of_val(listening.as_slice());
        let outgoing = Arc::new(Outgoing::new(message, beside, &self.queues));
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

    /// Registers a subscriber of `channels`, proven by the cookie, whose tasks run on `core`. With a `mid`, also what was
    /// stored after it; everything later comes through the subscription.
    ///
    /// # Errors
    /// When it cannot be found out what was stored.
    pub(crate) async fn subscribe(
        self: &Arc<Self>,
        core: usize,
        channels: &ChannelList,
        mid: Option<MessageId>,
    ) -> Result<(Subscription, Missed), Unavailable> {
        self.subscribe_by(Proof::Cookie, core, channels, mid).await
    }

    /// The same for who has another proof of the channels.
    pub(crate) async fn subscribe_by(
        self: &Arc<Self>,
        proof: Proof,
        core: usize,
        channels: &ChannelList,
        mid: Option<MessageId>,
    ) -> Result<(Subscription, Missed), Unavailable> {
        let mut receivers: Vec<Receiver> = Vec::new();
        for receiver in channels.receivers() {
            if !receivers.contains(&receiver) {
                receivers.push(receiver);
            }
        }
        let (subscriber, recent) = self.register(core, channels, &receivers, mid, proof);
        // From here on the drop of the subscription unregisters, however this ends.
        let subscription = Subscription::new(Arc::clone(self), core, receivers.into(), subscriber);
        subscription.alive();
        let missed = match (mid, recent) {
            (Some(mid), Some(recent)) => self.missed(subscription.receivers(), mid, recent).await?,
            (Some(_) | None, _) => VecDeque::new(),
        };
        let missed = Missed::new(Arc::clone(self), subscription.join(missed));
        Ok((subscription, missed))
    }

    /// The one step in which a subscriber is registered and memory is read.
    fn register(
        &self,
        core: usize,
        channels: &ChannelList,
        receivers: &[Receiver],
        mid: Option<MessageId>,
        proof: Proof,
    ) -> (Arc<Subscriber>, Option<Recent>) {
        let mut sequence = self.sequence();
        for channel in channels.channels() {
            if channel.public.is_some() {
                self.make_room(&sequence, Receiver::Private(channel.private));
            }
        }
        sequence.subscribers += 1;
        let (began_after, had) = match &self.archive {
            Archive::None | Archive::Disk(_) => {
                let last = sequence.ids.last();
                (last, Had::UpTo(last))
            }
            Archive::Redis(redis) => {
                let last = redis.last_id();
                (last, Had::up_to_mid(mid, last))
            }
        };
        let subscriber = Arc::new(Subscriber::new(
            sequence.subscribers,
            began_after,
            had,
            sequence.limits.subscriber_queue,
            proof,
            &self.queues,
        ));
        subscriber.close_proven_before(sequence.key);
        if sequence.is_closing {
            subscriber.close(Closed::Drained);
        }
        for receiver in receivers {
            let groups = sequence.channels.entry(*receiver).or_default();
            match groups.iter().find(|(at, _)| *at == core) {
                Some((_, group)) => group.add(&subscriber),
                None => {
                    // Most channels have no other.
                    groups.reserve_exact(1);
                    groups.push((core, Arc::new(Group::of(&subscriber))));
                }
            }
        }
        let recent = mid.map(|mid| {
            let recent = Recent::of(&sequence.history, receivers, mid);
            match self.archive.delivered() {
                Some(delivered) => recent.until(delivered),
                None => recent,
            }
        });
        (subscriber, recent)
    }

    /// What keeps messages, for the metrics and the end.
    pub(crate) fn archive(&self) -> &Archive {
        &self.archive
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

    /// Closes the oldest subscriber of `receiver` where there are as many as allowed.
    fn make_room(&self, sequence: &Sequence, receiver: Receiver) {
        let Some(groups) = sequence.channels.get(&receiver) else {
            return;
        };
        let open: usize = groups.iter().map(|(_, group)| group.open()).sum();
        if open < sequence.limits.connections_per_channel {
            return;
        }
        let oldest = groups
            .iter()
            .filter_map(|(_, group)| Some((group, group.oldest_open()?)))
            .min_by_key(|(_, subscriber)| subscriber.number());
        if let Some((group, oldest)) = oldest {
            oldest.close(Closed::Evicted);
            // However long it takes to go, it is not to be looked at again.
            group.remove(&oldest);
        }
    }

    /// Called once by every subscription when it goes.
    fn unsubscribe(
        &self,
        core: usize,
        receivers: &[Receiver],
        subscriber: &Subscriber,
        leaving: Leaving,
    ) {
        let mut left = Vec::new();
        let mut sequence = self.sequence();
        for receiver in receivers {
            let Some(groups) = sequence.channels.get_mut(receiver) else {
                continue;
            };
            groups.retain(|(at, group)| *at != core || !group.remove(subscriber));
            if groups.is_empty() {
                sequence.channels.remove(receiver);
                left.push(*receiver);
            }
        }
        if leaving == Leaving::ToComeAgain {
            sequence.lingering.add(&left, Instant::now());
        }
        drop(sequence);
        if let Archive::Redis(redis) = &self.archive {
            match leaving {
                Leaving::AtOnce => redis.left(left, Duration::ZERO),
                Leaving::ToComeAgain => redis.left(left, LINGER),
                Leaving::ForAnotherNode => {}
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

#[cfg(test)]
mod tests;
