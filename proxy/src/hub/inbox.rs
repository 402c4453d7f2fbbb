//! What one core has to deliver, in the order of the sequence.
//!
//! Bounded: when a core is behind, publishers are told to try again. What comes from other nodes by
//! Redis cannot be refused. When a core is so far behind that there is no room for it, those to whom it
//! should go are closed as any who is too slow, and catch up when they come back. Neither is ever more than a half of what
//! all queues may take.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use super::group::Group;
use super::memory::Queues;
use super::outgoing::{Outgoing, PIECE};
use super::subscriber::Closed;

/// What may wait for a core, bytes. Reached only when a core cannot keep up for seconds.
const MAX_WAITING: usize = 256 << 20;

/// Places that an empty list keeps.
const KEPT: usize = 1024;

/// What a message takes in a list, bytes.
pub(super) const PLACE: usize = size_of::<Item>();

/// Filled by publishers on any core, emptied by the delivering task of its own.
#[derive(Debug)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    queues: Arc<Queues>,
}

#[derive(Debug, Default)]
struct Waiting {
    items: Vec<Item>,
    /// What they take, and what those take that are being delivered.
    bytes: usize,
    /// Messages among them.
    messages: usize,
    deliverer: Option<Waker>,
}

#[derive(Debug)]
enum Item {
    Message {
        message: Arc<Outgoing>,
        groups: Vec<Arc<Group>>,
    },
    /// There was no room for a message to this group.
    Behind(Arc<Group>),
}

impl Inbox {
    pub(super) fn new(queues: &Arc<Queues>) -> Self {
        Self {
            waiting: Mutex::default(),
            queues: Arc::clone(queues),
        }
    }

    /// What may wait.
    fn max(&self) -> usize {
        MAX_WAITING.min(self.queues.max() / 2)
    }

    /// Hands a message to this core. Called with the sequence locked, so items are in its order.
    pub(crate) fn post(&self, message: Arc<Outgoing>, groups: Vec<Arc<Group>>) {
        let mut waiting = self.waiting();
        if waiting.bytes < self.max() {
            let item = Item::Message { message, groups };
            waiting.bytes += item.size();
            waiting.messages += 1;
            waiting.items.push(item);
        } else {
            // A group is in here once, however much it misses.
            let left_out = groups.into_iter().filter(|group| group.fall_behind());
            waiting.items.extend(left_out.map(Item::Behind));
        }
        let deliverer = waiting.deliverer.take();
        drop(waiting);
        if let Some(deliverer) = deliverer {
            deliverer.wake();
        }
    }

    /// How many messages wait, if that is too many for publishers to add to them.
    pub(crate) fn overloaded(&self) -> Option<usize> {
        let waiting = self.waiting();
        (waiting.bytes >= self.max() / 2).then_some(waiting.messages)
    }

    /// Fans out what comes, for ever.
    pub(crate) async fn deliver(&self) {
        let mut items = Vec::new();
        let (mut bytes, mut messages) = (0, 0);
        loop {
            poll_fn(|cx| {
                let mut waiting = self.waiting();
                waiting.bytes -= std::mem::take(&mut bytes);
                waiting.messages -= std::mem::take(&mut messages);
                if waiting.items.is_empty() {
                    waiting.deliverer = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                (bytes, messages) = (waiting.bytes, waiting.messages);
                std::mem::swap(&mut waiting.items, &mut items);
                Poll::Ready(())
            })
            .await;
            // The subscribers just woken get to write before the next round, which so grows and is
            // joined into one frame for each: the busier, the fewer writes. But it may not grow until
            // what waits for one of them is too much, however quick it is.
            let mut round = 0;
            for item in items.drain(..) {
                if round >= PIECE {
                    tokio::task::yield_now().await;
                    round = 0;
                }
                round += item.size();
                item.deliver();
                if round >= PIECE {
                    self.queues.relieve_live();
                }
            }
            self.queues.relieve_live();
            items.shrink_to(KEPT);
            tokio::task::yield_now().await;
        }
    }

    /// Whether all was delivered.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        let waiting = self.waiting();
        waiting.bytes == 0 && waiting.items.is_empty()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Item {
    fn size(&self) -> usize {
        match self {
            Self::Message { message, groups } => {
                size_of::<Self>() + message.size() + size_of_val::<[_]>(groups)
            }
            Self::Behind(_) => 0,
        }
    }

    fn deliver(self) {
        match self {
            Self::Message { message, groups } => {
                for group in groups {
                    group.push(&message);
                }
            }
            Self::Behind(group) => {
                // First: whoever misses a message from now on is not closed by this.
                group.catch_up();
                group.close(Closed::TooSlow);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pullgate_compat::message::{Body, Message, MessageId, Sender};

    use super::super::had::Had;
    use super::super::subscriber::{Proof, Subscriber};
    use super::*;

    /// More than all tests together keep.
    fn queues() -> Arc<Queues> {
        Arc::new(Queues::new(1 << 40))
    }

    fn message(number: u64, body: &Body) -> Arc<Outgoing> {
        let message = Arc::new(Message {
            id: MessageId::new(1, number),
            body: body.clone(),
            expiry: 0,
            created: 0,
            sender: Sender::Backend,
        });
        Arc::new(Outgoing::new(message, 0, &queues()))
    }

    fn subscriber(number: u64) -> Arc<Subscriber> {
        let had = Had::UpTo(MessageId::MIN);
        Arc::new(Subscriber::new(
            number,
            MessageId::MIN,
            had,
            1 << 30,
            Proof::Cookie,
            &queues(),
        ))
    }

    /// The core's task, until all is delivered.
    async fn deliver(inbox: &Inbox) {
        let idle = async {
            while !inbox.is_idle() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = inbox.deliver() => {}
            () = idle => {}
        }
    }

    #[tokio::test]
    async fn short_messages_count_with_what_they_take() {
        let inbox = Inbox::new(&queues());
        let group = Arc::new(Group::of(&subscriber(1)));
        let body = Body::from("7 bytes");
        let numbers = 1..300_000;
        let posted = numbers.take_while(|number| {
            inbox.post(message(*number, &body), vec![Arc::clone(&group)]);
            inbox.overloaded().is_none()
        });
        let posted = posted.count();
        assert_eq!(inbox.overloaded(), Some(posted + 1));
        deliver(&inbox).await;
        assert_eq!(inbox.overloaded(), None);
        assert_eq!(inbox.waiting().messages, 0);
    }

    #[tokio::test]
    async fn who_misses_a_message_because_the_core_is_behind_is_closed() {
        let inbox = Inbox::new(&queues());
        let (first, second) = (subscriber(1), subscriber(2));
        let group = Arc::new(Group::of(&first));
        let other = Arc::new(Group::of(&second));
        let body = Body::from("x".repeat(1 << 20));
        for number in 0..1000 {
            inbox.post(message(number, &body), vec![Arc::clone(&group)]);
        }
        {
            let waiting = inbox.waiting();
            assert!(waiting.bytes < MAX_WAITING + (2 << 20));
            assert_eq!(waiting.items.len(), waiting.messages + 1);
        }
        deliver(&inbox).await;
        assert_eq!(first.closed(), Some(Closed::TooSlow));
        assert_eq!(second.closed(), None);
        // Whoever comes afterwards gets what comes.
        let third = subscriber(3);
        group.add(&third);
        inbox.post(message(2000, &body), vec![group, other]);
        deliver(&inbox).await;
        assert_eq!((third.closed(), third.waiting()), (None, 1));
        assert_eq!((second.closed(), second.waiting()), (None, 1));
    }
}
