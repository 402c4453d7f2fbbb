//! What one core has to deliver, in the order of the sequence.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use super::outgoing::Outgoing;
use super::subscriber::Group;

/// Messages that may wait for a core before publishers are told to try again. Reached only when a
/// core cannot keep up for seconds.
const MAX_WAITING: usize = 100_000;

/// Bodies that may wait likewise, bytes.
const MAX_WAITING_BYTES: usize = 256 << 20;

/// Filled by publishers on any core, emptied by the delivering task of its own.
#[derive(Debug, Default)]
pub(crate) struct Inbox(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    items: Vec<Item>,
    bytes: usize,
    deliverer: Option<Waker>,
}

#[derive(Debug)]
struct Item {
    message: Arc<Outgoing>,
    groups: Vec<Arc<Group>>,
}

impl Inbox {
    /// Hands a message to this core. Called with the sequence locked, so items are in its order.
    pub(crate) fn post(&self, message: Arc<Outgoing>, groups: Vec<Arc<Group>>) {
        let mut waiting = self.waiting();
        waiting.bytes += message.body_len();
        waiting.items.push(Item { message, groups });
        let deliverer = waiting.deliverer.take();
        drop(waiting);
        if let Some(deliverer) = deliverer {
            deliverer.wake();
        }
    }

    /// How many messages wait, if that is too many.
    pub(crate) fn overloaded(&self) -> Option<usize> {
        let waiting = self.waiting();
        (waiting.items.len() >= MAX_WAITING || waiting.bytes >= MAX_WAITING_BYTES)
            .then_some(waiting.items.len())
    }

    /// Fans out what comes, for ever.
    pub(crate) async fn deliver(&self) {
        let mut items = Vec::new();
        loop {
            poll_fn(|cx| {
                let mut waiting = self.waiting();
                if waiting.items.is_empty() {
                    waiting.deliverer = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                waiting.bytes = 0;
                std::mem::swap(&mut waiting.items, &mut items);
                Poll::Ready(())
            })
            .await;
            for item in items.drain(..) {
                for group in item.groups {
                    group.push(&item.message);
                }
            }
            // The subscribers just woken get to write before the next round, which so grows and is
            // joined into one frame for each: the busier, the fewer writes.
            tokio::task::yield_now().await;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
