//! New guest numbers: never twice, through restarts and crashes.
//!
//! Numbers come from blocks that are on disk as taken before the first of them is given. A thread of
//! its own reserves the next block while the current one is used, so no request waits for a disk. A
//! crash skips the rest of its blocks.
//!
//! Nodes that share a Redis take their blocks there. A node that has not reached it since its start
//! gives none.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pullgate_compat::guest::GuestId;
use tokio::runtime::Runtime;

use crate::history::Unavailable;
use crate::history::redis::Redis;
use crate::state::{State, StateError};

/// Numbers in a block.
const BLOCK: u64 = 4096;

const COUNTER: &str = "guest_ids";

/// The counter that nodes share.
const SHARED_COUNTER: &str = "pullgate:guest_ids";

/// How often a node hears how far the others are,
const LISTENING: Duration = Duration::from_secs(60);
/// and numbers that they may take meanwhile.
const MARGIN: u64 = 16 * BLOCK;

/// Between two attempts to get a block, and between two looks at the connection to Redis.
const PAUSE: Duration = Duration::from_secs(1);

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
    /// Reserves the first block and starts the reserving thread. `shared`: where all nodes take theirs.
    pub(crate) fn start(
        state: Arc<State>,
        shared: Option<Arc<Redis>>,
    ) -> Result<Arc<Self>, std::io::Error> {
        let source = match shared {
            None => Source::Own(state),
            Some(redis) => Source::Shared {
                state,
                redis,
                runtime: tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()?,
            },
        };
        let current = match &source {
            Source::Own(_) => source.block().map_err(std::io::Error::other)?,
            // Redis may be away, and the site must be served all the same.
            Source::Shared { .. } => 0..0,
        };
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
        std::thread::spawn(move || reserve_blocks(&source, &reserving, &wanted));
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

fn reserve_blocks(source: &Source, ids: &std::sync::Weak<Ids>, wanted: &Receiver<()>) {
    let (mut learnt, mut connections) = (Instant::now(), 0);
    loop {
        match wanted.recv_timeout(PAUSE) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => {
                // A Redis that comes back may have lost what was taken.
                if learnt.elapsed() > LISTENING || source.connections() != connections {
                    (learnt, connections) = (Instant::now(), source.connections());
                    if let Err(why) = source.learn() {
                        tracing::debug!(%why, "other nodes' guest ids are not known now");
                    }
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let Some(ids) = ids.upgrade() else { return };
        if ids.blocks().next.is_some() {
            continue;
        }
        match source.block() {
            Ok(block) if block.start > u64::from(GuestId::MAX) => {
                ids.exhausted.store(true, Ordering::Relaxed);
                tracing::error!("guest ids have run out: new visitors get none");
                return;
            }
            Ok(block) => ids.blocks().next = Some(block),
            Err(why) => {
                tracing::error!(%why, "no new guest ids could be reserved");
                // Whoever wants one asks again, at most this often.
                std::thread::sleep(PAUSE);
                if ids.blocks().current.is_empty() {
                    ids.ask();
                }
            }
        }
    }
}

/// Where blocks come from.
enum Source {
    Own(Arc<State>),
    /// All nodes take theirs from Redis. Each keeps the greatest number that it heard of, in case that
    /// Redis loses it.
    Shared {
        state: Arc<State>,
        redis: Arc<Redis>,
        runtime: Runtime,
    },
}

/// Why no block could be reserved.
#[derive(Debug, thiserror::Error)]
enum Unreserved {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Redis(#[from] Unavailable),
}

impl Source {
    fn block(&self) -> Result<Range<u64>, Unreserved> {
        let last = match self {
            Self::Own(state) => state.raise(COUNTER, BLOCK, 0)?,
            Self::Shared { .. } => self.raise(BLOCK)?,
        };
        Ok(last + 1 - BLOCK..last + 1)
    }

    /// Hears how far the other nodes are.
    fn learn(&self) -> Result<(), Unreserved> {
        match self {
            Self::Own(_) => {}
            Self::Shared { .. } => {
                self.raise(0)?;
            }
        }
        Ok(())
    }

    fn connections(&self) -> u64 {
        match self {
            Self::Own(_) => 0,
            Self::Shared { redis, .. } => redis.connections(),
        }
    }

    fn raise(&self, by: u64) -> Result<u64, Unreserved> {
        let Self::Shared {
            state,
            redis,
            runtime,
        } = self
        else {
            return Ok(0);
        };
        let known = state.raise(COUNTER, 0, 0)?;
        let last = runtime.block_on(redis.reserve(SHARED_COUNTER, by, known, MARGIN))?;
        Ok(state.raise(COUNTER, 0, last)?)
    }
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
            let first = Source::Own(state).block().unwrap();
            assert_eq!(first.clone().count() as u64, BLOCK);
            for number in first {
                assert!(GuestId::new(number.try_into().unwrap()).is_some());
                assert!(seen.insert(number));
            }
        }
    }
}
