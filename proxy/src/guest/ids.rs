//! New guest numbers: never twice, through restarts and crashes.
//!
//! Numbers come from blocks that are on disk as taken before the first of them is given. A thread of
//! its own reserves the next block while the current one is used, so no request waits for a disk. A
//! crash skips the rest of its blocks.
//!
//! A cookie that proves a number above the counter proves that the counter was lost. The counter rises above it, and
//! what was reserved below is given to nobody.
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
use crate::state::{GUEST_IDS, State, StateError};

/// Numbers in a block.
const BLOCK: u64 = 4096;

/// The counter that nodes share.
const SHARED_COUNTER: &str = "pullgate:guest_ids";

/// How often a node hears how far the others are,
const LISTENING: Duration = Duration::from_secs(60);
/// and numbers that they may take meanwhile.
const MARGIN: u64 = 16 * BLOCK;

/// Above a number that was lost as many again may have been given, but no more than this are left out for it.
const LONGEST_MARGIN: u64 = 1 << 24;

/// Between two attempts to get a block, and between two looks at the connection to Redis.
const PAUSE: Duration = Duration::from_secs(1);

/// Between two log lines that say that no block can be reserved.
const REMINDER: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(crate) struct Ids {
    blocks: Mutex<Blocks>,
    /// Wakes the reserving thread.
    reserve: SyncSender<()>,
    /// Numbers up to this one are taken, as far as this node knows. Raised by the reserving thread.
    taken: AtomicU64,
    /// The greatest number above that a cookie proved. Raised by requests.
    proven: AtomicU64,
    /// No number below is given: the counter was lost, and they may have been given before.
    floor: AtomicU64,
    /// Whether other nodes take numbers too.
    is_shared: bool,
    /// For metrics.
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
        let (reserve, wanted) = sync_channel(1);
        let ids = Arc::new(Self {
            blocks: Mutex::new(Blocks {
                current: 0..0,
                next: None,
                // Without the state nobody is adopted.
                of_the_site: source.of_the_site().unwrap_or_default(),
            }),
            reserve,
            taken: AtomicU64::new(0),
            proven: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            is_shared: source.shared.is_some(),
            given: AtomicU64::new(0),
            exhausted: AtomicBool::new(false),
        });
        // Redis may be away and the disk full, and the site must be served all the same.
        if source.shared.is_none()
            && let Err(why) = ids.reserve(&source)
        {
            tracing::error!(%why, "no new guest ids could be reserved");
        }
        ids.ask();
        let reserving = Arc::downgrade(&ids);
        std::thread::spawn(move || reserve_blocks(&source, &reserving, &wanted));
        Ok(ids)
    }

    /// A number that nobody ever had. None when they ran out, or the disk is far behind.
    pub(crate) fn next(&self) -> Option<GuestId> {
        let floor = self.floor.load(Ordering::Acquire);
        let mut blocks = self.blocks();
        if blocks.next.as_ref().is_some_and(|next| next.start < floor) {
            blocks.next = None;
        }
        if (blocks.current.is_empty() || blocks.current.start < floor)
            && let Some(next) = blocks.next.take()
        {
            blocks.current = next;
        }
        if blocks.next.is_none() {
            self.ask();
        }
        if blocks.current.start < floor {
            return None;
        }
        let number = blocks.current.next()?;
        let id = GuestId::new(number.try_into().ok()?)?;
        self.given.fetch_add(1, Ordering::Relaxed);
        Some(id)
    }

    /// Hears that a cookie proves a number. Costs a look where the number is known to be taken.
    pub(crate) fn was_given(&self, id: GuestId) {
        let number = u64::from(id.number());
        if number <= self.taken.load(Ordering::Relaxed)
            || number <= self.proven.fetch_max(number, Ordering::Relaxed)
        {
            return;
        }
        // Where nodes share a counter, it is mostly another's guest: the reserving thread finds out.
        if !self.is_shared {
            self.floor.fetch_max(number + 1, Ordering::Release);
        }
        self.ask();
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
    let mut connections = 0;
    let mut learnt = Instant::now();
    let mut failing: Option<Instant> = None;
    let mut is_first = true;
    loop {
        let is_wanted = match wanted.recv_timeout(PAUSE) {
            Ok(()) => true,
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let Some(ids) = ids.upgrade() else { return };
        // A Redis that comes back may have lost what was taken.
        let is_due = learnt.elapsed() > LISTENING || source.connections() != connections;
        if is_due && source.shared.is_some() {
            (learnt, connections) = (Instant::now(), source.connections());
            if let Err(why) = ids.learn(source) {
                tracing::debug!(%why, "other nodes' guest ids are not known now");
            }
        }
        if !is_wanted && failing.is_none() {
            continue;
        }
        match ids.reserve(source) {
            Ok(()) => {
                if std::mem::take(&mut is_first) {
                    source.warn_of_given(&ids.blocks().of_the_site);
                }
                if failing.take().is_some() {
                    tracing::info!("new guest ids are reserved again");
                }
            }
            Err(Unreserved::Exhausted) => {
                ids.exhausted.store(true, Ordering::Relaxed);
                tracing::error!("guest ids have run out: new visitors get none");
                return;
            }
            Err(why) => {
                if failing.is_none_or(|said| said.elapsed() > REMINDER) {
                    tracing::error!(%why, "no new guest ids could be reserved");
                    failing = Some(Instant::now());
                }
                std::thread::sleep(PAUSE);
            }
        }
    }
}

/// The reserving thread's part.
impl Ids {
    /// Makes sure that the next block is there, above all that cookies have proved.
    fn reserve(&self, source: &Source) -> Result<(), Unreserved> {
        self.learn(source)?;
        let floor = self.floor.load(Ordering::Acquire);
        let is_there =
            |blocks: &Blocks| blocks.next.as_ref().is_some_and(|next| next.start >= floor);
        if is_there(&self.blocks()) {
            return Ok(());
        }
        let block = source.block(&self.known())?;
        let of_the_site = source.of_the_site()?;
        if block.start > u64::from(GuestId::MAX) {
            return Err(Unreserved::Exhausted);
        }
        self.taken.fetch_max(block.end - 1, Ordering::Relaxed);
        let mut blocks = self.blocks();
        blocks.of_the_site = of_the_site;
        blocks.next = Some(block);
        Ok(())
    }

    /// Hears how far the counter is, and raises it if it is behind what cookies have proved.
    fn learn(&self, source: &Source) -> Result<(), Unreserved> {
        let proven = self.proven.load(Ordering::Relaxed);
        if proven <= self.taken.load(Ordering::Relaxed) && !self.is_shared {
            return Ok(());
        }
        let heard = source.learn(&self.known())?;
        self.taken.fetch_max(heard.taken, Ordering::Relaxed);
        self.floor.fetch_max(heard.lost, Ordering::Release);
        if heard.is_news {
            tracing::error!(
                proven,
                above = heard.lost,
                "the counter of guest ids was lost: a greater number was given before. New ones go on above"
            );
        }
        Ok(())
    }

    /// The greatest number that cookies have proved, and how many above it to leave out if it was lost.
    fn known(&self) -> Known {
        let number = self.proven.load(Ordering::Relaxed);
        Known {
            number,
            margin: number.clamp(MARGIN, LONGEST_MARGIN),
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

/// What cookies have proved.
struct Known {
    number: u64,
    /// How many above it to leave out if the counter is below it.
    margin: u64,
}

/// How far the counter is.
struct Heard {
    taken: u64,
    /// What is not above this may have been given twice, had it gone on: the counter was lost. 0: never.
    lost: u64,
    /// Whether that was found out just now.
    is_news: bool,
}

/// Why no block could be reserved.
#[derive(Debug, thiserror::Error)]
enum Unreserved {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Redis(#[from] Unavailable),
    #[error("no number is left")]
    Exhausted,
}

impl Source {
    fn block(&self, known: &Known) -> Result<Range<u64>, Unreserved> {
        if self.shared.is_none() {
            return Ok(self.state.take(GUEST_IDS, BLOCK, self.first_id)?);
        }
        let last = self.raise(known, BLOCK)?.taken;
        Ok(last + 1 - BLOCK..last + 1)
    }

    /// Hears how far the counter is, and raises it above what is known.
    fn learn(&self, known: &Known) -> Result<Heard, Unreserved> {
        if self.shared.is_some() {
            return self.raise(known, 0);
        }
        let risen = self
            .state
            .rise_above(GUEST_IDS, known.number, known.margin)?;
        let taken = self.state.raise(GUEST_IDS, 0, 0)?;
        Ok(Heard {
            taken,
            lost: risen.map_or(0, |_| taken),
            is_news: risen.is_some(),
        })
    }

    fn connections(&self) -> u64 {
        self.shared
            .as_ref()
            .map_or(0, |(redis, _)| redis.connections())
    }

    /// Raises the counter that nodes share by `by`.
    fn raise(&self, known: &Known, by: u64) -> Result<Heard, Unreserved> {
        let heard = self.state.raise(GUEST_IDS, 0, 0)?;
        let counter = Counter {
            key: SHARED_COUNTER,
            at_least: heard.max(known.number),
            margin: match heard < known.number {
                true => known.margin,
                false => MARGIN,
            },
            first: self.first_id,
            skipped: &self.state.skipped(GUEST_IDS)?,
        };
        let Some((redis, runtime)) = &self.shared else {
            return Err(Unavailable("there is no Redis".to_owned()).into());
        };
        let raised = runtime.block_on(redis.reserve(&counter, by))?;
        self.state.add_skipped(GUEST_IDS, &raised.skipped)?;
        Ok(Heard {
            taken: self.state.raise(GUEST_IDS, 0, raised.last)?,
            lost: raised.lost,
            is_news: raised.is_news,
        })
    }

    /// The numbers that were left to the site, as far as this node has heard.
    fn of_the_site(&self) -> Result<Vec<Range<u64>>, StateError> {
        self.state.skipped(GUEST_IDS)
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

    const NOTHING: Known = Known {
        number: 0,
        margin: 0,
    };

    #[test]
    fn numbers_never_repeat_over_restarts() {
        let directory = tempfile::tempdir().unwrap();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..3 {
            let state = Arc::new(State::open(directory.path()).unwrap());
            let first = source(state, 1).block(&NOTHING).unwrap();
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
            given.extend(source.block(&NOTHING).unwrap());
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
