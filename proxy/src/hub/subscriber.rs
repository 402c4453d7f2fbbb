//! One connection's end of the hub, and the groups in which a core finds its own.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use pullgate_compat::channel::Receiver;
use pullgate_compat::message::MessageId;

use super::Hub;
use super::outgoing::Outgoing;

/// Why the hub gave a subscriber up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// A newer connection of the channel took its place.
    Evicted,
    /// It did not take what waited for it; it can catch up by mid.
    TooSlow,
    /// The server stops.
    Drained,
}

/// A bounded queue, filled by the core's delivering task and emptied by the connection's task.
#[derive(Debug)]
pub(crate) struct Subscriber {
    /// In order of subscription.
    number: u64,
    max_bytes: usize,
    /// The newest id given when it began.
    began_after: MessageId,
    queue: Mutex<Queue>,
}

#[derive(Debug)]
struct Queue {
    messages: VecDeque<Arc<Outgoing>>,
    bytes: usize,
    /// The newest id that was queued or came from history. Ids only grow, so what is not newer has
    /// been seen: it names another of this connection's channels, or was in the catch-up.
    last: MessageId,
    closed: Option<Closed>,
    reader: Option<Waker>,
}

/// The subscribers of one channel on one core, oldest first.
#[derive(Debug)]
pub(crate) struct Group(Mutex<Vec<Arc<Subscriber>>>);

/// A registered subscriber; dropping it unregisters.
#[derive(Debug)]
pub(crate) struct Subscription {
    hub: Arc<Hub>,
    core: usize,
    receivers: Box<[Receiver]>,
    subscriber: Arc<Subscriber>,
}

impl Subscriber {
    pub(super) fn new(number: u64, began_after: MessageId, max_bytes: usize) -> Self {
        Self {
            number,
            max_bytes,
            began_after,
            queue: Mutex::new(Queue {
                messages: VecDeque::new(),
                bytes: 0,
                last: began_after,
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

    fn push(&self, message: &Arc<Outgoing>) {
        let id = message.message().id;
        let mut queue = self.queue();
        if id <= queue.last || queue.closed.is_some() {
            return;
        }
        if queue.bytes + message.body_len() > self.max_bytes && !queue.messages.is_empty() {
            queue.messages = VecDeque::new();
            queue.closed = Some(Closed::TooSlow);
        } else {
            queue.last = id;
            queue.bytes += message.body_len();
            queue.messages.push_back(Arc::clone(message));
        }
        queue.wake();
    }

    fn is_open(&self) -> bool {
        self.queue().closed.is_none()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Group {
    pub(super) fn of(subscriber: &Arc<Subscriber>) -> Self {
        Self(Mutex::new(vec![Arc::clone(subscriber)]))
    }

    pub(super) fn add(&self, subscriber: &Arc<Subscriber>) {
        self.members().push(Arc::clone(subscriber));
    }

    /// Takes a member out; true when none is left.
    pub(super) fn remove(&self, subscriber: &Subscriber) -> bool {
        let mut members = self.members();
        if let Ok(at) = members.binary_search_by_key(&subscriber.number, |member| member.number) {
            members.remove(at);
        }
        members.is_empty()
    }

    pub(super) fn push(&self, message: &Arc<Outgoing>) {
        for member in self.members().iter() {
            member.push(message);
        }
    }

    pub(super) fn close(&self, why: Closed) {
        for member in self.members().iter() {
            member.close(why);
        }
    }

    pub(super) fn open(&self) -> usize {
        self.members()
            .iter()
            .filter(|member| member.is_open())
            .count()
    }

    pub(super) fn oldest_open(&self) -> Option<Arc<Subscriber>> {
        self.members()
            .iter()
            .find(|member| member.is_open())
            .map(Arc::clone)
    }

    fn members(&self) -> MutexGuard<'_, Vec<Arc<Subscriber>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        }
    }

    /// What it listens to, each once.
    pub(crate) fn receivers(&self) -> &[Receiver] {
        &self.receivers
    }

    /// The newest id given when it began.
    pub(crate) fn began_after(&self) -> MessageId {
        self.subscriber.began_after
    }

    /// Waits for messages and moves all that are queued behind `into`.
    ///
    /// # Errors
    /// When the hub has given this subscriber up and nothing is left in the queue.
    pub(crate) async fn next(&self, into: &mut Vec<Arc<Outgoing>>) -> Result<(), Closed> {
        poll_fn(|cx| self.poll_next(cx, into)).await
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
        queue.bytes = 0;
        // The queue's memory goes with its messages: an idle connection keeps none.
        into.extend(std::mem::take(&mut queue.messages));
        Poll::Ready(Ok(()))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub
            .unsubscribe(self.core, &self.receivers, &self.subscriber);
    }
}
