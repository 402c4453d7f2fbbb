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
use super::had::Had;
use super::memory::{Kept, Queues};
use super::outgoing::{Outgoing, PIECE};
use crate::history::Archive;

/// Between two signs of life that Redis is told of.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// What a connection takes beside its queue is not counted so closely, bytes.
const GRAIN: usize = 4 << 10;

/// Why the hub gave a subscriber up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// A newer connection of the channel took its place.
    Evicted,
    /// It did not take what waited for it; it can catch up by mid.
    TooSlow,
    /// The same, because too much waits for all subscribers together.
    NoRoom,
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
    /// The part of that which is kept for this client alone, and not counted elsewhere.
    own: usize,
    /// When the client last took something, or something began to wait for it.
    since: Instant,
    /// The places in the queue and what is its own, of all that waits for subscribers.
    kept: Kept,
    had: Had,
    /// When Redis was last told that it is there.
    told: Option<Instant>,
    closed: Option<Closed>,
    reader: Option<Waker>,
    /// The same task, where it waits for the client to take something.
    writer: Option<Waker>,
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
        queues: &Arc<Queues>,
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
                own: 0,
                since: Instant::now(),
                kept: queues.keep(0),
                had,
                told: None,
                closed: None,
                reader: None,
                writer: None,
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

    /// Closes it for [`Closed::NoRoom`], and lets go of what is queued. Bytes that go a little later, with its connection.
    pub(super) fn let_go(&self) -> usize {
        let mut queue = self.queue();
        queue.closed.get_or_insert(Closed::NoRoom);
        queue.clear();
        queue.wake();
        if let Some(writer) = queue.writer.take() {
            writer.wake();
        }
        queue.outside
    }

    /// Bytes that wait for it, here and elsewhere, and since when it has taken nothing of that.
    pub(super) fn waits(&self) -> (usize, Instant) {
        let queue = self.queue();
        (queue.bytes + queue.outside, queue.since)
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
            queue.clear();
            queue.closed = Some(Closed::TooSlow);
        } else {
            if waiting == 0 {
                queue.since = Instant::now();
            }
            queue.bytes += message.size();
            queue.messages.push_back(Arc::clone(message));
            queue.count();
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
        self.since = Instant::now();
        if self.messages.is_empty() {
            // The queue's memory goes with its messages: an idle connection keeps none.
            self.messages = VecDeque::new();
            self.count();
        }
    }

    fn clear(&mut self) {
        self.messages = VecDeque::new();
        self.bytes = 0;
        self.count();
    }

    /// Counts what is this subscriber's alone.
    fn count(&mut self) {
        let places = self.messages.capacity() * size_of::<Arc<Outgoing>>();
        self.kept.set((places + self.own) / GRAIN * GRAIN);
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
    /// all together are within the bound. `own` of them are kept for nobody else.
    pub(crate) fn count_outside(&self, outside: usize, own: usize) -> bool {
        let mut queue = self.subscriber.queue();
        if queue.outside == 0 || outside < queue.outside {
            queue.since = Instant::now();
        }
        queue.outside = outside;
        queue.own = own;
        queue.count();
        let is_within = queue.bytes + outside <= self.subscriber.max_bytes;
        drop(queue);
        self.hub.queues.relieve_live();
        is_within
    }

    /// Waits until the client is let go for [`Closed::NoRoom`].
    pub(crate) async fn let_go(&self) {
        poll_fn(|cx| {
            let mut queue = self.subscriber.queue();
            if queue.closed == Some(Closed::NoRoom) {
                return Poll::Ready(());
            }
            queue.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
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
        queue.count();
        let missed = catch_up::joined(missed, early);
        queue.had.catch_up(catch_up::ids(&missed));
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
        queue.count();
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
