//! One connection's end of the hub.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use pullgate_compat::channel::Receiver;
use pullgate_compat::message::MessageId;

use super::Hub;
use super::catch_up::{self, Unread};
use super::outgoing::{Outgoing, PIECE};
use crate::history::Archive;

/// For how long what is in a catch-up may come live as well, from Redis.
const OVERLAP: Duration = Duration::from_secs(30);

/// Between two signs of life that Redis is told of.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// Messages that other nodes may have delivered before this one hears of them.
const SOON: u64 = 10_000;

/// Why the hub gave a subscriber up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// A newer connection of the channel took its place.
    Evicted,
    /// It did not take what waited for it; it can catch up by mid.
    TooSlow,
    /// The server stops.
    Drained,
    /// The site's signature key has changed.
    Unproven,
}

/// What shows that a subscriber may listen to its channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The cookie of a guest, to whom the channels were told just now.
    Cookie,
    /// A signature by the site's key. Keys are counted: see [`Hub::close_proven_before`].
    Key(u32),
}

/// What the end of a subscription says of its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It has gone.
    AtOnce,
    /// It asks again soon: its channels stay online for a while.
    ToComeAgain,
    /// This server stops. With Redis the client goes to another, and stays online meanwhile.
    ForAnotherNode,
}

/// A bounded queue, filled by the core's delivering task and emptied by the connection's task.
#[derive(Debug)]
pub(crate) struct Subscriber {
    /// In order of subscription.
    number: u64,
    max_bytes: usize,
    /// The newest id given when it began.
    began_after: MessageId,
    proof: Proof,
    queue: Mutex<Queue>,
}

#[derive(Debug)]
struct Queue {
    messages: VecDeque<Arc<Outgoing>>,
    bytes: usize,
    /// What waits for the client elsewhere, bytes; set by its connection's task.
    outside: usize,
    had: Had,
    /// When Redis was last told that it is there.
    told: Option<Instant>,
    closed: Option<Closed>,
    reader: Option<Waker>,
}

/// How a subscriber tells what it has had: a message comes again when it names another of the
/// connection's channels, or when it was in the catch-up.
#[derive(Debug)]
pub(super) enum Had {
    /// Ids only grow, so it is what is not newer than the newest that was queued or came from history.
    UpTo(MessageId),
    /// Ids of several nodes may come a little out of order: it is the last one, the catch-up, and what
    /// is not newer than the client's `mid`.
    These {
        last: MessageId,
        mid: MessageId,
        caught_up: Option<Box<CaughtUp>>,
    },
}

/// The ids of a catch-up, in order.
#[derive(Debug)]
pub(super) struct CaughtUp {
    ids: Vec<MessageId>,
    until: Instant,
}

/// A registered subscriber; dropping it unregisters.
#[derive(Debug)]
pub(crate) struct Subscription {
    hub: Arc<Hub>,
    core: usize,
    receivers: Box<[Receiver]>,
    subscriber: Arc<Subscriber>,
    /// Whether its client asks again when it ends.
    comes_again: bool,
}

impl Subscriber {
    pub(super) fn new(
        number: u64,
        began_after: MessageId,
        had: Had,
        max_bytes: usize,
        proof: Proof,
    ) -> Self {
        Self {
            proof,
            number,
            max_bytes,
            began_after,
            queue: Mutex::new(Queue {
                messages: VecDeque::new(),
                bytes: 0,
                outside: 0,
                had,
                told: None,
                closed: None,
                reader: None,
            }),
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn close(&self, why: Closed) {
        let mut queue = self.queue();
        queue.closed.get_or_insert(why);
        queue.wake();
    }

    /// Closes it if nothing but a key before this one proves it.
    pub(super) fn close_proven_before(&self, key: u32) {
        match self.proof {
            Proof::Key(its) if its < key => self.close(Closed::Unproven),
            Proof::Key(_) | Proof::Cookie => {}
        }
    }

    pub(super) fn push(&self, message: &Arc<Outgoing>) {
        let id = message.message().id;
        let mut queue = self.queue();
        if queue.closed.is_some() || !queue.had.is_new(id) {
            return;
        }
        let waiting = queue.bytes + queue.outside;
        if waiting + message.size() > self.max_bytes && waiting > 0 {
            queue.messages = VecDeque::new();
            queue.closed = Some(Closed::TooSlow);
        } else {
            queue.bytes += message.size();
            queue.messages.push_back(Arc::clone(message));
        }
        queue.wake();
    }

    /// Why the hub gave it up.
    pub(super) fn closed(&self) -> Option<Closed> {
        self.queue().closed
    }

    pub(super) fn is_open(&self) -> bool {
        self.closed().is_none()
    }

    /// Messages that wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.queue().messages.len()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Had {
    /// A `mid` far beyond the last id that was given is made up, and says nothing.
    pub(super) fn up_to_mid(mid: Option<MessageId>, last_given: MessageId) -> Self {
        let start = u32::try_from(last_given.start()).unwrap_or(u32::MAX);
        let given_soon = MessageId::new(start, last_given.counter() + SOON);
        Self::These {
            last: MessageId::MIN,
            mid: mid
                .filter(|mid| *mid <= given_soon)
                .unwrap_or(MessageId::MIN),
            caught_up: None,
        }
    }

    /// Whether a message has not been had; from now on it has.
    fn is_new(&mut self, id: MessageId) -> bool {
        self.forget();
        match self {
            Self::UpTo(newest) => {
                let is_new = id > *newest;
                *newest = id.max(*newest);
                is_new
            }
            Self::These {
                last,
                mid,
                caught_up,
            } => {
                let in_catch_up =
                    |caught_up: &mut Box<CaughtUp>| caught_up.ids.binary_search(&id).is_ok();
                let is_new =
                    id != *last && id > *mid && !caught_up.as_mut().is_some_and(in_catch_up);
                *last = id;
                is_new
            }
        }
    }

    /// Drops the ids of a catch-up that can no longer come again: there may be many subscribers.
    fn forget(&mut self) {
        if let Self::These { caught_up, .. } = self
            && caught_up
                .as_ref()
                .is_some_and(|it| it.until < Instant::now())
        {
            *caught_up = None;
        }
    }
}

impl Queue {
    /// Takes a piece; the rest is counted still.
    fn take_piece(&mut self, into: &mut Vec<Arc<Outgoing>>) {
        let mut taken = 0;
        while taken < PIECE
            && let Some(message) = self.messages.pop_front()
        {
            taken += message.size();
            into.push(message);
        }
        self.bytes -= taken;
        if self.messages.is_empty() {
            // The queue's memory goes with its messages: an idle connection keeps none.
            self.messages = VecDeque::new();
        }
    }

    /// Whether Redis has not been told of it just now: a client may send pongs without end.
    fn is_news(&mut self) -> bool {
        let is_news = self.told.is_none_or(|told| told.elapsed() > LEAST_PAUSE);
        if is_news {
            self.told = Some(Instant::now());
        }
        is_news
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Subscription {
    pub(super) fn new(
        hub: Arc<Hub>,
        core: usize,
        receivers: Box<[Receiver]>,
        subscriber: Arc<Subscriber>,
    ) -> Self {
        Self {
            hub,
            core,
            receivers,
            subscriber,
            comes_again: false,
        }
    }

    /// Its client asks again when it ends: the channels stay online for [`super::lingering::LINGER`].
    pub(crate) fn will_come_again(&mut self) {
        self.comes_again = true;
    }

    /// What it listens to, each once.
    pub(crate) fn receivers(&self) -> &[Receiver] {
        &self.receivers
    }

    /// The newest id given when it began.
    pub(crate) fn began_after(&self) -> MessageId {
        self.subscriber.began_after
    }

    /// Counts `outside` bytes, which wait for the client elsewhere, with those that are queued, from now on; whether
    /// all together are within the bound.
    pub(crate) fn count_outside(&self, outside: usize) -> bool {
        let mut queue = self.subscriber.queue();
        queue.outside = outside;
        queue.bytes + outside <= self.subscriber.max_bytes
    }

    /// The client showed a sign of life.
    pub(crate) fn alive(&self) {
        if let Archive::Redis(redis) = self.hub.archive() {
            if self.subscriber.queue().is_news() {
                redis.mark_online(&self.receivers);
            }
            self.subscriber.queue().had.forget();
        }
    }

    /// Joins what history has with what has come live meanwhile and is older than the newest of that.
    pub(super) fn join(&self, missed: VecDeque<Unread>) -> VecDeque<Unread> {
        let mut queue = self.subscriber.queue();
        let (Had::These { .. }, Some(newest)) = (&queue.had, catch_up::ids(&missed).pop()) else {
            return missed;
        };
        let (early, later): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut queue.messages)
            .into_iter()
            .partition(|outgoing| outgoing.message().id <= newest);
        queue.bytes = later.iter().map(|outgoing| outgoing.size()).sum();
        queue.messages = later;
        let early = early.iter().map(|outgoing| Arc::clone(outgoing.message()));
        let missed = catch_up::joined(missed, early);
        if let Had::These { caught_up, .. } = &mut queue.had {
            *caught_up = Some(Box::new(CaughtUp {
                ids: catch_up::ids(&missed),
                until: Instant::now() + OVERLAP,
            }));
        }
        missed
    }

    /// Waits for messages and moves what is queued behind `into`, as much as is a piece.
    ///
    /// # Errors
    /// When the hub has given this subscriber up and nothing is left in the queue.
    pub(crate) async fn next(&self, into: &mut Vec<Arc<Outgoing>>) -> Result<(), Closed> {
        poll_fn(|cx| self.poll_next(cx, into)).await
    }

    /// Moves all that is queued behind `into`.
    pub(crate) fn take_queued(&self, into: &mut Vec<Arc<Outgoing>>) {
        let mut queue = self.subscriber.queue();
        queue.bytes = 0;
        into.extend(std::mem::take(&mut queue.messages));
    }

    /// See [`Subscription::next`].
    pub(crate) fn poll_next(
        &self,
        cx: &mut Context<'_>,
        into: &mut Vec<Arc<Outgoing>>,
    ) -> Poll<Result<(), Closed>> {
        let mut queue = self.subscriber.queue();
        if queue.messages.is_empty() {
            if let Some(why) = queue.closed {
                return Poll::Ready(Err(why));
            }
            queue.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        queue.take_piece(into);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let leaving = match (self.subscriber.queue().closed, self.comes_again) {
            (Some(Closed::Drained), _) => Leaving::ForAnotherNode,
            (_, true) => Leaving::ToComeAgain,
            (_, false) => Leaving::AtOnce,
        };
        self.hub
            .unsubscribe(self.core, &self.receivers, &self.subscriber, leaving);
    }
}
