//! Locks the directory and opens the store, or a new one in place of one that is damaged.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::Database;

use super::numbers::Numbers;
use super::{COUNTERS, GUEST_IDS, SKIPPED, STORE, StateError, make, number};
use crate::files::put_aside;

/// Where guest numbers go on if both files were damaged: beyond what any site has given.
const UNKNOWN: u64 = 1 << 30;

/// Keeps other processes out.
pub(super) fn lock(directory: &Path) -> Result<File, StateError> {
    make(directory)?;
    let path = directory.join("lock");
    let unusable = |source| StateError::Directory {
        path: path.clone(),
        source,
    };
    let file = File::create(&path).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StateError::InUse(directory.to_owned())),
        Err(fs::TryLockError::Error(source)) => Err(unusable(source)),
    }
}

/// Opens the store. One that is damaged is put aside, and a new one takes its place.
pub(super) fn open(directory: &Path) -> Result<Database, StateError> {
    make(directory)?;
    let path = directory.join(STORE);
    let (store, at_least) = match open_store(directory, &path) {
        Err(StateError::Damaged { what, .. }) => {
            let kept = put_aside(&path).map_err(|source| StateError::Directory {
                path: path.clone(),
                source,
            })?;
            tracing::error!(
                what,
                kept = %kept.display(),
                "the state is damaged: it was put aside, and a new one begins"
            );
            (open_store(directory, &path)?, UNKNOWN)
        }
        opened => (opened?, 0),
    };
    let numbers = Numbers::kept(directory).unwrap_or_else(|| Numbers {
        taken: at_least,
        of_the_site: Vec::new(),
    });
    restore(&store, &numbers).map_err(StateError::Store)?;
    Ok(store)
}

fn open_store(directory: &Path, path: &Path) -> Result<Database, StateError> {
    // The library panics over some kinds of damage.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let mut store = Database::create(path)?;
        store.check_integrity()?;
        Ok(store)
    }));
    let damaged = |what| StateError::Damaged {
        path: path.to_owned(),
        what,
    };
    let error = match opened {
        Ok(Ok(store)) => return Ok(store),
        Ok(Err(error)) => error,
        Err(_) => return Err(damaged("reading it failed".to_owned())),
    };
    if matches!(
        error,
        redb::DatabaseError::DatabaseAlreadyOpen | redb::DatabaseError::LockProtocolMismatch
    ) {
        return Err(StateError::InUse(directory.to_owned()));
    }
    match is_damage(&error) {
        true => Err(damaged(error.to_string())),
        false => Err(StateError::Open {
            path: path.to_owned(),
            source: error.into(),
        }),
    }
}

/// Whether `error` speaks of what is in the file. All others pass, or are for another version.
fn is_damage(error: &redb::DatabaseError) -> bool {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "what is not known to be damage is left alone"
    )]
    match error {
        redb::DatabaseError::RepairAborted
        | redb::DatabaseError::Storage(redb::StorageError::Corrupted(_)) => true,
        redb::DatabaseError::Storage(redb::StorageError::Io(error)) => matches!(
            error.kind(),
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
        ),
        _ => false,
    }
}

/// Raises the counter of guest numbers to what the second file knows.
fn restore(store: &Database, numbers: &Numbers) -> Result<(), redb::Error> {
    let write = store.begin_write()?;
    {
        let mut counters = write.open_table(COUNTERS)?;
        let taken = number(&counters, GUEST_IDS)?;
        if taken >= numbers.taken {
            return Ok(());
        }
        tracing::error!(
            known = taken,
            above = numbers.taken,
            "state.redb has lost guest numbers that were given: new ones go on above"
        );
        counters.insert(GUEST_IDS, numbers.taken)?;
        let mut skipped = write.open_table(SKIPPED)?;
        for range in &numbers.of_the_site {
            skipped.insert((GUEST_IDS, range.start), range.end)?;
        }
    }
    write.commit()?;
    Ok(())
}
