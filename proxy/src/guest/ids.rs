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

mod source;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pullgate_compat::guest::GuestId;

use crate::history::redis::Redis;
use crate::state::State;
use source::{Known, Source, Unreserved};

/// Numbers in a block.
const BLOCK: u64 = 4096;

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
        // Redis may be unreachable and the disk full, and the site must be served all the same.
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
        let mut blocks = self.blocks();
        let floor = self.floor.load(Ordering::Acquire);
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
        let (first, last) = (block.start, block.end - 1);
        blocks.next = Some(block);
        tracing::info!(first, last, "guest ids reserved");
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
