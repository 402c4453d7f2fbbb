//! History on disk: survives a crash of the process, and of the machine to the degree configured.
//!
//! A thread of its own writes what publishers append, all that waits as one batch: under load many
//! messages share one write and one sync. What is not written yet is still in memory, which lets
//! nothing go before it is; so readers always find a message in one of the two.
//!
//! While the disk cannot be used, the thread keeps what it could not write, tries again, and memory goes on alone.

mod format;
mod store;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;

use pullgate_compat::channel::Receiver;
use pullgate_compat::message::{Message, MessageId};
use tokio::sync::watch;

pub(crate) use self::store::{Bounds, OpenError};
use self::store::{Entry, Store};
use self::writer::Writer;
use super::{Fetched, Unavailable};
use crate::clock::unix_time;
use crate::files::put_aside;

/// What may wait to be written, bytes, before publishers are told to try again.
const MAX_WAITING: usize = 64 << 20;

/// What is written as one batch, bytes; the store makes copies of it.
const BATCH: usize = 4 << 20;

/// When a publish is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// At once. Written in the next moment, synced every 50 ms.
    Interval,
    /// When it is synced.
    Always,
}

/// See the module. Closing it, or dropping it, writes what waits.
#[derive(Debug)]
pub(crate) struct Disk {
    shared: Arc<Shared>,
    durability: Durability,
    progress: watch::Receiver<Progress>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    folder: Folder,
    /// None: it cannot be used now. Changed by the writer alone.
    store: RwLock<Option<Arc<Store>>>,
    /// Why.
    trouble: Mutex<Option<String>>,
    waiting: Mutex<Waiting>,
    more: Condvar,
    /// Whether another process may have the store: what it has must not seem to be nothing.
    is_released: AtomicBool,
    metrics: Metrics,
}

/// Where the store is, and how large it may get.
#[derive(Debug)]
struct Folder {
    path: Box<Path>,
    bounds: Bounds,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    /// What they take, and what the batch takes that is being written.
    bytes: usize,
    /// The latter alone.
    writing: usize,
    closing: bool,
}

/// How far the writer is.
#[derive(Debug, Clone, Copy)]
struct Progress {
    /// Everything up to this id can be read.
    written: MessageId,
    /// Everything up to this id is as durable as it gets.
    synced: MessageId,
    /// Nothing can be written now.
    failed: bool,
}

/// Counted for the admin listener.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Buckets that went before their messages expired, for the size allowed.
    pub(crate) evicted_buckets: AtomicU64,
    /// Reads and writes that failed, and messages that did not wait until writes did not fail.
    pub(crate) failures: AtomicU64,
}

impl Disk {
    /// Opens the store in `path`. One that is damaged is put aside, and an empty one takes its place.
    ///
    /// # Errors
    ///
    /// When another process has it. Everything else is logged, and tried again.
    pub(crate) fn open(
        path: &Path,
        bounds: Bounds,
        durability: Durability,
    ) -> Result<Self, OpenError> {
        let folder = Folder {
            path: path.into(),
            bounds,
        };
        let (store, trouble) = match folder.open() {
            Ok(store) => (Some(Arc::new(store)), None),
            Err(in_use @ OpenError::InUse { .. }) => return Err(in_use),
            Err(why) => {
                tracing::error!(%why, "{FORGETFUL}");
                (None, Some(why.to_string()))
            }
        };
        let (report, progress) = watch::channel(Progress {
            written: MessageId::MIN,
            synced: MessageId::MIN,
            failed: store.is_none(),
        });
        let shared = Arc::new(Shared {
            folder,
            store: RwLock::new(store),
            trouble: Mutex::new(trouble),
            waiting: Mutex::default(),
            more: Condvar::new(),
            is_released: AtomicBool::new(false),
            metrics: Metrics::default(),
        });
        let writer = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || Writer::new(&shared, &report, durability).run()
        });
        Ok(Self {
            shared,
            durability,
            progress,
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Hands a message to the writer. Called in the order of ids; never waits.
    pub(crate) fn append(&self, message: &Arc<Message>, receivers: &[Receiver], now: u64) {
        if message.expiry == 0 {
            return;
        }
        let entry = Entry {
            message: Arc::clone(message),
            receivers: receivers.into(),
            expires: now + u64::from(message.expiry),
        };
        let mut waiting = self.shared.waiting();
        if self.progress.borrow().failed && waiting.bytes >= MAX_WAITING {
            self.shared.metrics.failures.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.push(entry);
        drop(waiting);
        self.shared.more.notify_one();
    }

    /// How many messages wait, if that is too many. Nobody waits for a disk that cannot be used.
    pub(crate) fn overloaded(&self) -> Option<usize> {
        if self.progress.borrow().failed {
            return None;
        }
        let waiting = self.shared.waiting();
        (waiting.bytes >= MAX_WAITING).then_some(waiting.entries.len())
    }

    /// What memory may let go: it can be read here, or memory must not wait for it.
    pub(crate) fn readable(&self) -> MessageId {
        let progress = self.progress.borrow();
        match progress.failed {
            true => MessageId::MAX,
            false => progress.written,
        }
    }

    /// Waits until `id` is as durable as a publish must be before it is answered.
    pub(crate) async fn durable(&self, id: MessageId) -> Result<(), Unavailable> {
        if self.durability == Durability::Interval {
            return Ok(());
        }
        let mut progress = self.progress.clone();
        match progress
            .wait_for(|progress| progress.synced >= id || progress.failed)
            .await
        {
            Ok(progress) if progress.synced >= id => Ok(()),
            Ok(_) | Err(_) => Err(Unavailable("it cannot be written".into())),
        }
    }

    /// See [`super::Archive::listed`]. What cannot be read is left out, logged and counted.
    pub(crate) async fn listed(
        &self,
        receivers: &[Receiver],
        after: MessageId,
        until: MessageId,
    ) -> Result<Vec<Vec<MessageId>>, Unavailable> {
        let receivers = receivers.to_vec();
        let channels = receivers.len();
        let read = self.read(move |store| store.listed(&receivers, after, until));
        Ok(read.await?.unwrap_or_else(|| vec![Vec::new(); channels]))
    }

    /// See [`super::Archive::fetch`]. What cannot be read is left out, logged and counted.
    pub(crate) async fn fetch(
        &self,
        ids: &[MessageId],
        room: usize,
    ) -> Result<Fetched, Unavailable> {
        let all = ids.len();
        let ids = ids.to_vec();
        let read = self.read(move |store| store.fetch(&ids, room, unix_time().as_secs()));
        Ok(read.await?.unwrap_or_else(|| Fetched {
            messages: Vec::new(),
            read: all,
        }))
    }

    /// Bytes of what is kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.shared.store().map_or(0, |store| store.bytes())
    }

    /// Why nothing can be written now.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.shared.trouble().clone()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Writes and syncs what waits, and stops the writer.
    pub(crate) fn close(&self) {
        self.shared.waiting().closing = true;
        self.shared.more.notify_one();
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!("the writer of history broke off");
        }
    }

    /// Closes it for good, and lets another process have the store as soon as nobody reads it any more.
    pub(crate) fn release(&self) {
        self.close();
        self.shared.is_released.store(true, Ordering::Release);
        self.shared.set_store(None);
    }

    /// Reads on a thread that may wait for the disk. `None`: it could not be read.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> fjall::Result<T> + Send + 'static,
    ) -> Result<Option<T>, Unavailable> {
        let Some(store) = self.shared.store() else {
            // Without a store there is nothing to read, and the log says why.
            return match self.shared.is_released.load(Ordering::Acquire) {
                true => Err(Unavailable::released()),
                false => Ok(None),
            };
        };
        // The library panics over some kinds of damage, which ends that thread alone.
        let what = match tokio::task::spawn_blocking(move || read(&store)).await {
            Ok(Ok(found)) => return Ok(Some(found)),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        self.shared.metrics.failures.fetch_add(1, Ordering::Relaxed);
        tracing::error!(what, "history cannot be read: a subscriber misses messages");
        Ok(None)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.close();
    }
}

/// What is true while nothing can be written.
const FORGETFUL: &str =
    "history cannot be written: it is kept in memory alone until it can, and a restart forgets it";

impl Folder {
    fn open(&self) -> Result<Store, OpenError> {
        match Store::open(&self.path, self.bounds.clone()) {
            Err(OpenError::Damaged { what, .. }) => {
                let kept = put_aside(&self.path).map_err(|source| OpenError::Io {
                    path: self.path.to_path_buf(),
                    source,
                })?;
                tracing::error!(
                    what,
                    kept = %kept.display(),
                    "history is damaged: it was put aside, and a new one begins"
                );
                Store::open(&self.path, self.bounds.clone())
            }
            opened => opened,
        }
    }
}

impl Shared {
    fn store(&self) -> Option<Arc<Store>> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        store.clone()
    }

    fn set_store(&self, store: Option<Store>) {
        let store = store.map(Arc::new);
        let before = std::mem::replace(
            &mut *self.store.write().unwrap_or_else(PoisonError::into_inner),
            store,
        );
        // Closing one that failed may panic, too.
        if catch_unwind(AssertUnwindSafe(|| drop(before))).is_err() {
            tracing::debug!("closing history failed");
        }
    }

    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn push(&mut self, entry: Entry) {
        self.bytes += entry.size();
        self.entries.push_back(entry);
    }

    /// Takes what is to be written next. What was taken before is written.
    fn take_batch(&mut self) -> Vec<Entry> {
        self.bytes -= std::mem::take(&mut self.writing);
        let mut batch = Vec::new();
        while self.writing < BATCH
            && let Some(entry) = self.entries.pop_front()
        {
            self.writing += entry.size();
            batch.push(entry);
        }
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
        batch
    }
}
