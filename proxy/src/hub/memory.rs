//! What waits for subscribers in memory, of all sites together, and who is let go when it is too much.
//!
//! It is counted where it is kept, and once: a message that waits for ten thousand subscribers is one message, and ten
//! thousand places. Each is a [`Kept`], which is given back when it is dropped. So nothing has to be counted for a message
//! that is put into a queue, but when the queue grows.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Hub;
use super::outgoing::PIECE;
use super::subscriber::Subscriber;
use crate::limits::{Reason, refused};
use crate::net::cut_off::CutOff;

/// Who lets subscribers go frees so much more than it must, as a part of the bound: it has to look at all of them.
const MARGIN: usize = 8;

/// Before all are looked at again, where letting go of some was not enough: what their connections hold goes with these.
const PAUSE: Duration = Duration::from_millis(50);

/// Who takes a piece within so long does not keep others from reading theirs.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is shorter is taken by the kernel, and its reader is nobody to be let go.
const SHORT: usize = 16 << 10;

/// Of the process; see the module.
#[derive(Debug)]
pub(crate) struct Queues {
    /// `server.queues_memory`, bytes.
    max: AtomicUsize,
    /// Bytes that are kept now.
    used: AtomicUsize,
    /// Held by whoever lets subscribers go.
    sites: Mutex<Sites>,
    /// Who reads by HTTP, for as long as it has not taken all.
    readers: Mutex<Vec<Weak<Reader>>>,
}

#[derive(Debug, Default)]
struct Sites {
    hubs: Vec<Weak<Hub>>,
    /// Nobody is looked at before.
    not_before: Option<Instant>,
}

/// So many bytes are kept, until it is dropped.
#[derive(Debug)]
pub(crate) struct Kept {
    queues: Arc<Queues>,
    bytes: usize,
}

/// A client that reads by HTTP. It is no subscriber any more when its poll is answered.
#[derive(Debug)]
pub(super) struct Reader {
    /// What it has not taken of what was read for it, bytes.
    waits: AtomicUsize,
    /// When the last of that was handed to it, as it had taken what was before.
    since: Mutex<Instant>,
    cut_off: CutOff,
}

/// For whom something waits.
enum Slow {
    Subscriber(Arc<Subscriber>),
    Reader(Arc<Reader>),
}

/// Bytes that are counted as long as anybody has a part of them.
struct Counted {
    bytes: Vec<u8>,
    kept: Kept,
    /// Who is to take them, if that is one.
    reader: Option<Arc<Reader>>,
}

impl Queues {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max: AtomicUsize::new(max),
            used: AtomicUsize::new(0),
            sites: Mutex::default(),
            readers: Mutex::default(),
        }
    }

    /// From now on this is the bound, bytes.
    pub(crate) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    pub(crate) fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// Bytes that are kept now.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Keeps so many bytes.
    pub(super) fn keep(self: &Arc<Self>, bytes: usize) -> Kept {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Kept {
            queues: Arc::clone(self),
            bytes,
        }
    }

    /// The same for what need not be kept, and so never takes the half that is for all else.
    pub(super) fn keep_within_half(self: &Arc<Self>, bytes: usize) -> Option<Kept> {
        let kept = self.keep(bytes);
        (self.used() <= self.max() / 2).then_some(kept)
    }

    /// Keeps these bytes, for all who have a part of them.
    pub(super) fn share(self: &Arc<Self>, bytes: Vec<u8>) -> Bytes {
        let kept = self.keep(bytes.capacity());
        Bytes::from_owner(Counted {
            bytes,
            kept,
            reader: None,
        })
    }

    /// The same for what `reader` is to take.
    pub(super) fn hand_to(self: &Arc<Self>, reader: &Arc<Reader>, bytes: Vec<u8>) -> Bytes {
        if bytes.len() < SHORT {
            return self.share(bytes);
        }
        let kept = self.keep(bytes.capacity());
        *reader.since() = Instant::now();
        if reader.waits.fetch_add(kept.bytes, Ordering::Relaxed) == 0 {
            let mut readers = self.readers();
            if readers.len() == readers.capacity() {
                readers.retain(|reader| reader.strong_count() > 0);
            }
            readers.push(Arc::downgrade(reader));
        }
        Bytes::from_owner(Counted {
            bytes,
            kept,
            reader: Some(Arc::clone(reader)),
        })
    }

    /// Waits until a piece can be read for somebody. Those who do not take theirs are let go meanwhile.
    pub(super) async fn room(self: &Arc<Self>) -> Kept {
        loop {
            let used = self.used.fetch_add(PIECE, Ordering::Relaxed);
            let kept = Kept {
                queues: Arc::clone(self),
                bytes: PIECE,
            };
            if used + PIECE <= self.max() {
                return kept;
            }
            drop(kept);
            self.relieve(PIECE, PATIENCE);
            tokio::time::sleep(PAUSE / 5).await;
        }
    }

    /// The subscribers of this hub are among those that are let go.
    pub(crate) fn watch(&self, hub: &Arc<Hub>) {
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        sites.hubs.retain(|hub| hub.strong_count() > 0);
        sites.hubs.push(Arc::downgrade(hub));
    }

    /// If more is kept than may be, lets the slowest go. They come back, and catch up.
    pub(super) fn relieve_live(&self) {
        self.relieve(0, Duration::ZERO);
    }

    /// The same where there is no room for so many bytes more. Nobody goes who has taken something within `patience`.
    fn relieve(&self, more: usize, patience: Duration) {
        let is_full = || self.used() + more > self.max();
        if !is_full() {
            return;
        }
        let mut sites = match self.sites.try_lock() {
            Ok(sites) => sites,
            Err(TryLockError::Poisoned(sites)) => sites.into_inner(),
            // Somebody is about it.
            Err(TryLockError::WouldBlock) => return,
        };
        let now = Instant::now();
        if sites.not_before.is_some_and(|then| now < then) {
            return;
        }
        let hubs: Vec<Arc<Hub>> = sites.hubs.iter().filter_map(Weak::upgrade).collect();
        self.let_slowest_go(&hubs, more, now, patience);
        sites.not_before = is_full().then(|| now + PAUSE);
    }

    /// Those go first for whom the most has waited for the longest.
    fn let_slowest_go(&self, hubs: &[Arc<Hub>], more: usize, now: Instant, patience: Duration) {
        let subscribers = hubs.iter().flat_map(|hub| hub.subscribers().into_values());
        let readers = {
            let mut readers = self.readers();
            readers.retain(|reader| reader.strong_count() > 0);
            let readers = readers.iter().filter_map(Weak::upgrade);
            readers.collect::<Vec<_>>().into_iter()
        };
        let all = subscribers
            .map(Slow::Subscriber)
            .chain(readers.map(Slow::Reader));
        // What connections hold that have been let go already, and are about to end.
        let mut going = 0;
        let mut waiting: Vec<(u128, Slow)> = Vec::new();
        for slow in all {
            let (bytes, since) = slow.waits();
            let long = now.saturating_duration_since(since);
            if slow.is_going() {
                going += bytes;
            } else if bytes > 0 && long >= patience {
                waiting.push((bytes as u128 * long.as_micros(), slow));
            }
        }
        waiting.sort_unstable_by_key(|(cost, _)| Reverse(*cost));
        let max = self.max();
        let enough = max - max / MARGIN;
        for (_, slow) in waiting {
            if self.used().saturating_sub(going) + more <= enough {
                break;
            }
            going += slow.let_go();
            refused(Reason::QueuesMemory, "a slow subscriber");
        }
    }

    fn readers(&self) -> MutexGuard<'_, Vec<Weak<Reader>>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slow {
    /// Bytes that wait for it, and since when it has taken nothing of that.
    fn waits(&self) -> (usize, Instant) {
        match self {
            Self::Subscriber(subscriber) => subscriber.waits(),
            Self::Reader(reader) => (reader.waits.load(Ordering::Relaxed), *reader.since()),
        }
    }

    /// Whether it has been let go.
    fn is_going(&self) -> bool {
        match self {
            Self::Subscriber(subscriber) => !subscriber.is_open(),
            Self::Reader(reader) => reader.cut_off.is_cut(),
        }
    }

    /// Bytes that go with its connection, a little later.
    fn let_go(&self) -> usize {
        match self {
            Self::Subscriber(subscriber) => subscriber.let_go(),
            Self::Reader(reader) => {
                reader.cut_off.cut();
                reader.waits.load(Ordering::Relaxed)
            }
        }
    }
}

impl Reader {
    fn since(&self) -> MutexGuard<'_, Instant> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn new(cut_off: CutOff) -> Self {
        Self {
            waits: AtomicUsize::new(0),
            since: Mutex::new(Instant::now()),
            cut_off,
        }
    }
}

impl Kept {
    /// From now on it is so many bytes.
    pub(super) fn set(&mut self, bytes: usize) {
        let used = &self.queues.used;
        match bytes.checked_sub(self.bytes) {
            Some(0) => {}
            Some(more) => _ = used.fetch_add(more, Ordering::Relaxed),
            None => _ = used.fetch_sub(self.bytes - bytes, Ordering::Relaxed),
        }
        self.bytes = bytes;
    }

    /// Of what it is a part.
    pub(super) fn queues(&self) -> &Arc<Queues> {
        &self.queues
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.queues.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(reader) = &self.reader {
            reader.waits.fetch_sub(self.kept.bytes, Ordering::Relaxed);
        }
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
