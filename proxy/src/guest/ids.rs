//! New guest numbers: never twice, through restarts and crashes.
//!
//! Numbers come from blocks that are on disk as taken before the first of them is given. A thread of
//! its own reserves the next block while the current one is used, so no request waits for a disk. A
//! crash skips the rest of its blocks.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pullgate_compat::guest::GuestId;

use crate::state::{State, StateError};

/// Numbers in a block.
const BLOCK: u64 = 4096;

const COUNTER: &str = "guest_ids";

/// See the module.
#[derive(Debug)]
pub(crate) struct Ids {
    blocks: Mutex<Blocks>,
    reserve: SyncSender<()>,
    given: AtomicU64,
    exhausted: AtomicBool,
}

#[derive(Debug)]
struct Blocks {
    current: Range<u64>,
    next: Option<Range<u64>>,
}

impl Ids {
    /// Reserves the first block and starts the reserving thread.
    pub(crate) fn start(state: Arc<State>) -> Result<Arc<Self>, StateError> {
        let current = block(&state)?;
        let (reserve, wanted) = sync_channel(1);
        let ids = Arc::new(Self {
            blocks: Mutex::new(Blocks {
                current,
                next: None,
            }),
            reserve,
            given: AtomicU64::new(0),
            exhausted: AtomicBool::new(false),
        });
        ids.ask();
        let reserving = Arc::downgrade(&ids);
        std::thread::spawn(move || reserve_blocks(&state, &reserving, &wanted));
        Ok(ids)
    }

    /// A number that nobody ever had. None when they ran out, or the disk is far behind.
    pub(crate) fn next(&self) -> Option<GuestId> {
        let mut blocks = self.blocks();
        if blocks.current.is_empty()
            && let Some(next) = blocks.next.take()
        {
            blocks.current = next;
        }
        if blocks.next.is_none() {
            self.ask();
        }
        let number = blocks.current.next()?;
        let id = GuestId::new(number.try_into().ok()?)?;
        self.given.fetch_add(1, Ordering::Relaxed);
        Some(id)
    }

    /// Numbers given since the start.
    pub(crate) fn given(&self) -> u64 {
        self.given.load(Ordering::Relaxed)
    }

    /// There is no number left to reserve.
    pub(crate) fn exhausted(&self) -> bool {
        self.exhausted.load(Ordering::Relaxed)
    }

    fn ask(&self) {
        // Full means that it was asked already.
        let _ = self.reserve.try_send(());
    }

    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reserve_blocks(state: &State, ids: &std::sync::Weak<Ids>, wanted: &Receiver<()>) {
    while wanted.recv().is_ok() {
        let Some(ids) = ids.upgrade() else { return };
        if ids.blocks().next.is_some() {
            continue;
        }
        match block(state) {
            Ok(block) if block.start > u64::from(GuestId::MAX) => {
                ids.exhausted.store(true, Ordering::Relaxed);
                tracing::error!("guest ids have run out: new visitors get none");
                return;
            }
            Ok(block) => ids.blocks().next = Some(block),
            Err(error) => tracing::error!(%error, "no new guest ids could be reserved"),
        }
    }
}

fn block(state: &State) -> Result<Range<u64>, StateError> {
    let end = state.raise(COUNTER, BLOCK, 0)? + 1;
    Ok(end - BLOCK..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_never_repeat_over_restarts() {
        let directory = tempfile::tempdir().unwrap();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..3 {
            let state = Arc::new(State::open(directory.path()).unwrap());
            let first = block(&state).unwrap();
            assert_eq!(first.clone().count() as u64, BLOCK);
            for number in first {
                assert!(GuestId::new(number.try_into().unwrap()).is_some());
                assert!(seen.insert(number));
            }
        }
    }
}
