//! What must survive a crash: the counters in `state.redb`, and secrets that nobody configured.
//!
//! Opening the store locks it, so two processes cannot share a state directory.

use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use pullgate_compat::guest::GuestId;
use pullgate_compat::message::MessageId;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

/// Name → the highest number handed out.
const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");

/// Guest → the id of the last message that went to the user it became.
const MOVED: TableDefinition<'_, u32, &[u8; 13]> = TableDefinition::new("moved");
/// Counter and the first number that it jumped over → the first behind it that it did not.
const SKIPPED: TableDefinition<'_, (&str, u64), u64> = TableDefinition::new("skipped");

#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error("{} cannot be used: {source}", .path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("the state directory {} is in use by another pullgate", .0.display())]
    InUse(PathBuf),
    #[error("the store {} cannot be opened: {source}", .path.display())]
    Open { path: PathBuf, source: redb::Error },
    #[error("the store cannot be read or written: {0}")]
    Store(redb::Error),
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
}

/// The open state directory.
#[derive(Debug)]
pub(crate) struct State {
    database: Database,
}

impl State {
    /// Opens the directory, making it (mode 0700) if it is not there.
    pub(crate) fn open(directory: &Path) -> Result<Self, StateError> {
        make(directory)?;
        let path = directory.join("state.redb");
        let database = Database::create(&path).map_err(|error| {
            if matches!(error, redb::DatabaseError::DatabaseAlreadyOpen) {
                return StateError::InUse(directory.to_owned());
            }
            StateError::Open {
                path,
                source: error.into(),
            }
        })?;
        Ok(Self { database })
    }

    /// Raises a counter by `by`, or to `at_least` if that is more, and returns it once it is on disk.
    pub(crate) fn raise(&self, counter: &str, by: u64, at_least: u64) -> Result<u64, StateError> {
        let raise = || -> Result<u64, redb::Error> {
            let write = self.database.begin_write()?;
            let raised = {
                let mut table = write.open_table(COUNTERS)?;
                let current = table.get(counter)?.map_or(0, |value| value.value());
                let raised = current.saturating_add(by).max(at_least);
                table.insert(counter, raised)?;
                raised
            };
            write.commit()?;
            Ok(raised)
        };
        raise().map_err(StateError::Store)
    }

    /// The last of a guest's messages that went to the user it became.
    pub(crate) fn moved(&self, guest: GuestId) -> Result<Option<MessageId>, StateError> {
        let read = || -> Result<_, redb::Error> {
            let read = self.database.begin_read()?;
            let table = match read.open_table(MOVED) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
                table => table?,
            };
            let last = table.get(guest.number())?;
            Ok(last.and_then(|id| MessageId::from_bytes(*id.value())))
        };
        read().map_err(StateError::Store)
    }

    /// See [`State::moved`].
    pub(crate) fn set_moved(&self, guest: GuestId, last: MessageId) -> Result<(), StateError> {
        let write = || -> Result<_, redb::Error> {
            let write = self.database.begin_write()?;
            write
                .open_table(MOVED)?
                .insert(guest.number(), last.as_bytes())?;
            write.commit()?;
            Ok(())
        };
        write().map_err(StateError::Store)
    }

    /// Takes the next `count` numbers of a counter, none of them below `from`, and returns them once they
    /// are on disk. What is jumped over is remembered: those numbers are never taken.
    pub(crate) fn take(
        &self,
        counter: &str,
        count: u64,
        from: u64,
    ) -> Result<Range<u64>, StateError> {
        let take = || -> Result<Range<u64>, redb::Error> {
            let write = self.database.begin_write()?;
            let taken = {
                let mut counters = write.open_table(COUNTERS)?;
                let mut skipped = write.open_table(SKIPPED)?;
                let next = counters.get(counter)?.map_or(0, |value| value.value()) + 1;
                if from > next {
                    skipped.insert((counter, next), from)?;
                }
                let start = next.max(from);
                counters.insert(counter, start + count - 1)?;
                start..start + count
            };
            write.commit()?;
            Ok(taken)
        };
        take().map_err(StateError::Store)
    }

    /// Remembers what a counter jumped over elsewhere.
    pub(crate) fn add_skipped(
        &self,
        counter: &str,
        skipped: &[Range<u64>],
    ) -> Result<(), StateError> {
        let write = || -> Result<_, redb::Error> {
            let write = self.database.begin_write()?;
            for range in skipped {
                write
                    .open_table(SKIPPED)?
                    .insert((counter, range.start), range.end)?;
            }
            write.commit()?;
            Ok(())
        };
        write().map_err(StateError::Store)
    }

    /// The numbers that [`Self::take`] jumped over, or that were added.
    pub(crate) fn skipped(&self, counter: &str) -> Result<Vec<Range<u64>>, StateError> {
        let read = || -> Result<Vec<Range<u64>>, redb::Error> {
            let table = match self.database.begin_read()?.open_table(SKIPPED) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            let entries = table.range((counter, 0)..=(counter, u64::MAX))?;
            let skipped = entries.map(|entry| {
                let (key, end) = entry?;
                Ok(key.value().1..end.value())
            });
            skipped.collect()
        };
        read().map_err(StateError::Store)
    }
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
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(StateError::Random)?;
    let secret = HEXLOWER.encode(&bytes);
    // Written beside and renamed: a crash leaves no half of it.
    let fresh = path.with_extension("new");
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|mut file| {
            file.write_all(secret.as_bytes())
                .and_then(|()| file.sync_all())
        })
        .and_then(|()| fs::rename(&fresh, &path))
        .map_err(|source| StateError::Directory { path, source })?;
    Ok(secret)
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn nobody_else_reads_the_state() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("a/state");
        State::open(&state).unwrap();
        let mode = fs::metadata(&state).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn what_was_moved_is_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let guest = GuestId::new(17).unwrap();
        let last = MessageId::new(1, 5);
        {
            let state = State::open(directory.path()).unwrap();
            assert_eq!(state.moved(guest).unwrap(), None);
            state.set_moved(guest, last).unwrap();
        }
        let state = State::open(directory.path()).unwrap();
        assert_eq!(state.moved(guest).unwrap(), Some(last));
    }
}
