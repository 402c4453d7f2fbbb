//! New guest numbers: never twice, through restarts and crashes.
//!
//! Numbers come from blocks that are on disk as taken before the first of them is given. A thread of
//! its own reserves the next block while the current one is used, so no request waits for a disk. A
//! crash skips the rest of its blocks.
//!
//! Nodes that share a Redis take their blocks there. A node that has not reached it since its start
//! gives none.
//!
//! Numbers below `guest.first_id` are left to the site: the counter jumps over them, and what it jumped over
//! is kept beside it. Only those may be adopted. Below `first_id` there may also be numbers that pullgate
//! gave before it was set, or set so high; they stay pullgate's.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pullgate_compat::guest::GuestId;
use tokio::runtime::Runtime;

use crate::history::Unavailable;
use crate::history::redis::{Counter, Redis};
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
    /// What the counter jumped over.
    of_the_site: Vec<Range<u64>>,
}

impl Ids {
    /// Reserves the first block and starts the reserving thread. `shared`: where all nodes take theirs.
    pub(crate) fn start(
        state: Arc<State>,
        first_id: u32,
        shared: Option<Arc<Redis>>,
    ) -> Result<Arc<Self>, std::io::Error> {
        let shared = match shared {
            None => None,
            Some(redis) => {
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                Some((redis, runtime.enable_time().build()?))
            }
        };
        let source = Source {
            state,
            first_id: first_id.into(),
            shared,
        };
        let current = match &source.shared {
            None => source.block().map_err(std::io::Error::other)?,
            // Redis may be unreachable, and the site must be served all the same.
            Some(_) => 0..0,
        };
        let of_the_site = source.of_the_site().map_err(std::io::Error::other)?;
        let (reserve, wanted) = sync_channel(1);
        let ids = Arc::new(Self {
            blocks: Mutex::new(Blocks {
                current,
                next: None,
                of_the_site,
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

    /// Whether pullgate never gave the number, and never gives it.
    pub(crate) fn is_of_the_site(&self, id: GuestId) -> bool {
        let number = u64::from(id.number());
        let blocks = self.blocks();
        blocks
            .of_the_site
            .iter()
            .any(|range| range.contains(&number))
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
    let mut is_first = true;
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
        let reserved = source.block().and_then(|block| {
            let of_the_site = source.of_the_site()?;
            if std::mem::take(&mut is_first) {
                source.warn_of_given(&of_the_site);
            }
            ids.blocks().of_the_site = of_the_site;
            Ok(block)
        });
        match reserved {
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
struct Source {
    state: Arc<State>,
    first_id: u64,
    /// All nodes take theirs from Redis. Each keeps the greatest number that it heard of, and which were
    /// left to the site, in case that Redis loses it.
    shared: Option<(Arc<Redis>, Runtime)>,
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
        let Some((redis, runtime)) = &self.shared else {
            return Ok(self.state.take(COUNTER, BLOCK, self.first_id)?);
        };
        let last = self.raise(redis, runtime, BLOCK)?;
        Ok(last + 1 - BLOCK..last + 1)
    }

    /// Hears how far the other nodes are.
    fn learn(&self) -> Result<(), Unreserved> {
        if let Some((redis, runtime)) = &self.shared {
            self.raise(redis, runtime, 0)?;
        }
        Ok(())
    }

    fn connections(&self) -> u64 {
        self.shared
            .as_ref()
            .map_or(0, |(redis, _)| redis.connections())
    }

    fn raise(&self, redis: &Redis, runtime: &Runtime, by: u64) -> Result<u64, Unreserved> {
        let counter = Counter {
            key: SHARED_COUNTER,
            at_least: self.state.raise(COUNTER, 0, 0)?,
            margin: MARGIN,
            first: self.first_id,
            skipped: &self.state.skipped(COUNTER)?,
        };
        let (last, skipped) = runtime.block_on(redis.reserve(&counter, by))?;
        self.state.add_skipped(COUNTER, &skipped)?;
        Ok(self.state.raise(COUNTER, 0, last)?)
    }

    /// The numbers that were left to the site, as far as this node has heard.
    fn of_the_site(&self) -> Result<Vec<Range<u64>>, StateError> {
        self.state.skipped(COUNTER)
    }

    fn warn_of_given(&self, of_the_site: &[Range<u64>]) {
        let below = |range: &Range<u64>| range.end.min(self.first_id).saturating_sub(range.start);
        let left: u64 = of_the_site.iter().map(below).sum();
        let numbers = (self.first_id - 1).saturating_sub(left);
        if numbers > 0 {
            tracing::warn!(
                numbers,
                "pullgate gave numbers below guest.first_id before: with these no guest is adopted"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(state: Arc<State>, first_id: u64) -> Source {
        Source {
            state,
            first_id,
            shared: None,
        }
    }

    #[test]
    fn numbers_never_repeat_over_restarts() {
        let directory = tempfile::tempdir().unwrap();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..3 {
            let state = Arc::new(State::open(directory.path()).unwrap());
            let first = source(state, 1).block().unwrap();
            assert_eq!(first.clone().count() as u64, BLOCK);
            for number in first {
                assert!(GuestId::new(number.try_into().unwrap()).is_some());
                assert!(seen.insert(number));
            }
        }
    }

    /// Whatever is configured one after the other.
    #[test]
    fn numbers_of_the_site_are_never_given() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Arc::new(State::open(directory.path()).unwrap());
        let mut given = std::collections::HashSet::new();
        for (first_id, gaps) in [(1, 0), (100, 0), (10_000, 1), (5_000, 1), (30_000, 2)] {
            let source = source(open(), first_id);
            given.extend(source.block().unwrap());
            let skipped = source.of_the_site().unwrap();
            assert_eq!(skipped.len(), gaps, "{first_id}: {skipped:?}");
            let mut numbers = skipped.into_iter().flatten();
            assert!(numbers.all(|number| !given.contains(&number)));
        }
        let ids = Ids::start(open(), 1, None).unwrap();
        for number in 1..30_000 {
            let id = GuestId::new(number).unwrap();
            assert_eq!(ids.is_of_the_site(id), !given.contains(&number.into()));
        }
    }
}
