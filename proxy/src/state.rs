//! What must survive a crash: the counters in `state.redb`, and secrets that nobody configured.
//!
//! A lock keeps two processes from sharing a state directory. Nothing else here keeps the site from being served: a
//! store that is damaged is put aside for a new one, and one that cannot be used now is opened again with the
//! next use. So that guest numbers do not repeat even then, they are kept in a second file: [`numbers`].

mod numbers;
mod opening;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use data_encoding::HEXLOWER;
use pullgate_compat::guest::GuestId;
use pullgate_compat::message::MessageId;
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition};

use crate::files::write_whole;
use numbers::Numbers;
use opening::{lock, open};

/// The store's file.
const STORE: &str = "state.redb";

/// The counter of guest numbers.
pub(crate) const GUEST_IDS: &str = "guest_ids";

/// Name → the highest number handed out.
const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");
/// Guest → the id of the last message that went to the user it became.
const MOVED: TableDefinition<'_, u32, &[u8; 13]> = TableDefinition::new("moved");
/// Counter and the first number that it jumped over → the first behind it that it did not.
const SKIPPED: TableDefinition<'_, (&str, u64), u64> = TableDefinition::new("skipped");

type Counters<'txn> = Table<'txn, &'static str, u64>;
type Skipped<'txn> = Table<'txn, (&'static str, u64), u64>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error("{} cannot be used: {source}", .path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("the state directory {} is in use by another pullgate", .0.display())]
    InUse(PathBuf),
    #[error("the store {} cannot be opened: {source}", .path.display())]
    Open { path: PathBuf, source: redb::Error },
    #[error("the store {} is damaged: {what}", .path.display())]
    Damaged { path: PathBuf, what: String },
    #[error("another process has taken over")]
    Released,
    #[error("the store cannot be read or written: {0}")]
    Store(redb::Error),
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
}

/// The state directory.
#[derive(Debug)]
pub(crate) struct State {
    directory: PathBuf,
    /// The store, or why it is closed: then the next use opens it.
    store: Mutex<Result<Database, String>>,
    /// Held to the end of the process, or until another process takes over.
    lock: Mutex<Option<File>>,
    /// Whether another process may have the store: it is not opened again here. Changed with the store locked.
    is_released: AtomicBool,
}

impl State {
    /// Opens the directory, making it (mode 0700) if it is not there.
    ///
    /// # Errors
    ///
    /// When another process has it. Everything else is logged, and tried again when the state is used.
    pub(crate) fn open(directory: &Path) -> Result<Self, StateError> {
        let lock = match lock(directory) {
            Ok(lock) => Some(lock),
            Err(in_use @ StateError::InUse(_)) => return Err(in_use),
            Err(_) => None,
        };
        let store = match open(directory) {
            Ok(store) => Ok(store),
            Err(in_use @ StateError::InUse(_)) => return Err(in_use),
            Err(why) => {
                tracing::error!(%why, "the state cannot be used: new guests get no number until it can");
                Err(why.to_string())
            }
        };
        Ok(Self {
            directory: directory.to_owned(),
            store: Mutex::new(store),
            lock: Mutex::new(lock),
            is_released: AtomicBool::new(false),
        })
    }

    /// Closes the store for good, and lets another process have the directory.
    pub(crate) fn release(&self) {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_released.store(true, Ordering::Relaxed);
        *store = Err(StateError::Released.to_string());
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        *lock = None;
    }

    /// Why the state could not be used when it was last tried.
    pub(crate) fn trouble(&self) -> Option<String> {
        // Whoever holds the lock is using it.
        let store = self.store.try_lock().ok()?;
        store.as_ref().err().cloned()
    }

    /// The second that begins the ids of this process's messages: later than at every start before. Without the
    /// state it is that of now.
    pub(crate) fn message_start(&self, now: u64) -> u64 {
        self.raise("message_start", 1, now).unwrap_or_else(|why| {
            tracing::error!(%why, "ids of messages may repeat if the clock was set back");
            now
        })
    }

    /// Raises a counter by `by`, or to `at_least` if that is more, and returns it once it is on disk.
    pub(crate) fn raise(&self, counter: &str, by: u64, at_least: u64) -> Result<u64, StateError> {
        self.change(|counters, _| {
            let current = number(counters, counter)?;
            let raised = current.saturating_add(by).max(at_least);
            counters.insert(counter, raised)?;
            Ok(raised)
        })
    }

    /// Raises a counter to `margin` above `known` if it is below `known`, and returns where it was.
    pub(crate) fn rise_above(
        &self,
        counter: &str,
        known: u64,
        margin: u64,
    ) -> Result<Option<u64>, StateError> {
        self.change(|counters, _| {
            let current = number(counters, counter)?;
            if current >= known {
                return Ok(None);
            }
            counters.insert(counter, known.saturating_add(margin))?;
            Ok(Some(current))
        })
    }

    /// The last of a guest's messages that went to the user it became.
    pub(crate) fn moved(&self, guest: GuestId) -> Result<Option<MessageId>, StateError> {
        self.with(|store| {
            let table = match store.begin_read()?.open_table(MOVED) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
                table => table?,
            };
            let last = table.get(guest.number())?;
            Ok(last.and_then(|id| MessageId::from_bytes(*id.value())))
        })
    }

    /// Sets what [`State::moved`] says, if it still says `from`; otherwise false.
    pub(crate) fn set_moved(
        &self,
        guest: GuestId,
        from: Option<MessageId>,
        last: MessageId,
    ) -> Result<bool, StateError> {
        self.with(|store| {
            let write = store.begin_write()?;
            let same = {
                let mut table = write.open_table(MOVED)?;
                let now = table
                    .get(guest.number())?
                    .and_then(|id| MessageId::from_bytes(*id.value()));
                if now == from {
                    table.insert(guest.number(), last.as_bytes())?;
                }
                now == from
            };
            write.commit()?;
            Ok(same)
        })
    }

    /// Takes the next `count` numbers of a counter, none of them below `from`, and returns them once they
    /// are on disk. What is jumped over is remembered: those numbers are never taken.
    pub(crate) fn take(
        &self,
        counter: &str,
        count: u64,
        from: u64,
    ) -> Result<Range<u64>, StateError> {
        self.change(|counters, skipped| {
            let next = number(counters, counter)?.saturating_add(1);
            if from > next {
                skipped.insert((counter, next), from)?;
            }
            let start = next.max(from);
            let end = start.saturating_add(count);
            counters.insert(counter, end - 1)?;
            Ok(start..end)
        })
    }

    /// Remembers what a counter jumped over elsewhere.
    pub(crate) fn add_skipped(
        &self,
        counter: &str,
        ranges: &[Range<u64>],
    ) -> Result<(), StateError> {
        self.change(|_, skipped| {
            for range in ranges {
                skipped.insert((counter, range.start), range.end)?;
            }
            Ok(())
        })
    }

    /// The numbers that [`Self::take`] jumped over, or that were added.
    pub(crate) fn skipped(&self, counter: &str) -> Result<Vec<Range<u64>>, StateError> {
        self.with(|store| {
            let table = match store.begin_read()?.open_table(SKIPPED) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            ranges(&table, counter)
        })
    }

    /// Changes counters, all or nothing. Guest numbers are in their second file before they count.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Counters<'_>, &mut Skipped<'_>) -> Result<T, redb::Error>,
    ) -> Result<T, StateError> {
        self.with(|store| {
            let write = store.begin_write()?;
            let changed = {
                let mut counters = write.open_table(COUNTERS)?;
                let mut skipped = write.open_table(SKIPPED)?;
                let changed = change(&mut counters, &mut skipped)?;
                Numbers {
                    taken: number(&counters, GUEST_IDS)?,
                    of_the_site: ranges(&skipped, GUEST_IDS)?,
                }
                .keep(&self.directory);
                changed
            };
            write.commit()?;
            Ok(changed)
        })
    }

    /// Uses the store. One that fails is closed.
    fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StateError> {
        let mut kept = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_released.load(Ordering::Relaxed) {
            return Err(StateError::Released);
        }
        let (store, again) = match std::mem::replace(&mut *kept, Err("it is in use".to_owned())) {
            Ok(store) => (Ok(store), false),
            Err(_) => (open(&self.directory), true),
        };
        let done = store.and_then(|store| {
            // The library panics over some kinds of damage.
            match catch_unwind(AssertUnwindSafe(|| work(&store))) {
                Ok(Ok(done)) => Ok((store, done)),
                Ok(Err(error)) => Err(StateError::Store(error)),
                Err(_) => Err(StateError::Damaged {
                    path: self.directory.join(STORE),
                    what: "reading it failed".to_owned(),
                }),
            }
        });
        match done {
            Ok((store, done)) => {
                if again {
                    tracing::info!("the state can be used again");
                }
                *kept = Ok(store);
                Ok(done)
            }
            Err(why) => {
                *kept = Err(why.to_string());
                Err(why)
            }
        }
    }
}

fn number(
    counters: &impl ReadableTable<&'static str, u64>,
    counter: &str,
) -> Result<u64, redb::Error> {
    Ok(counters.get(counter)?.map_or(0, |value| value.value()))
}

fn ranges(
    skipped: &impl ReadableTable<(&'static str, u64), u64>,
    counter: &str,
) -> Result<Vec<Range<u64>>, redb::Error> {
    let entries = skipped.range((counter, 0)..=(counter, u64::MAX))?;
    let ranges = entries.map(|entry| {
        let (key, end) = entry?;
        Ok(key.value().1..end.value())
    });
    ranges.collect()
}

/// A secret that was generated before; `None` if none was. Needs no lock, and makes nothing.
pub(crate) fn stored_secret(directory: &Path, file: &str) -> Result<Option<String>, StateError> {
    let path = directory.join(file);
    let found = match fs::read_to_string(&path) {
        Ok(secret) if secret.trim().len() >= 64 => Ok(Some(secret.trim().to_owned())),
        Ok(_) => Err(io::Error::other("it holds no whole secret")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    found.map_err(|source| StateError::Directory { path, source })
}

/// Generates a secret, into a file of mode 0600.
pub(crate) fn generate_secret(directory: &Path, file: &str) -> Result<String, StateError> {
    let path = directory.join(file);
    make(directory)?;
    let secret = random_secret()?;
    write_whole(&path, secret.as_bytes(), 0o600)
        .map_err(|source| StateError::Directory { path, source })?;
    Ok(secret)
}

/// A secret that is kept nowhere.
pub(crate) fn random_secret() -> Result<String, StateError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(StateError::Random)?;
    Ok(HEXLOWER.encode(&bytes))
}

fn make(directory: &Path) -> Result<(), StateError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|source| StateError::Directory {
            path: directory.to_owned(),
            source,
        })
}
