//! The back ends of a site, which all cores share: who takes the next request, and who is left out for a while.
//!
//! A back end is *out* when no connection to it can be made, and in again with the first that can. While others are
//! in, it is tried by one request when its pause is over. While none is in, there is no pause: one that refuses is asked
//! by everybody, which costs nothing, and one that is silent by one request at a time, so that the others need not
//! wait `connect_timeout` to be told.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::Origin;
use crate::connections::{Connections, Counted};

/// How long a back end is left out while others are in: nginx's `fail_timeout`.
const PAUSE: Duration = Duration::from_secs(10);

/// One back end.
#[derive(Debug)]
pub(crate) struct BackEnd {
    pub(crate) origin: Origin,
    /// Requests and websockets under way, of all cores.
    busy: Connections,
    /// Connections that could not be made since the start, of all cores.
    failures: AtomicU64,
    health: Mutex<Health>,
}

#[derive(Debug)]
enum Health {
    In,
    Out {
        /// The end of the pause.
        until: Instant,
        /// It did not answer in time, rather than refuse.
        silent: bool,
        /// A request is under way to see whether it is back.
        probing: bool,
    },
}

impl BackEnd {
    fn new(origin: Origin) -> Self {
        Self {
            origin,
            busy: Connections::default(),
            failures: AtomicU64::new(0),
            health: Mutex::new(Health::In),
        }
    }

    pub(crate) fn busy(&self) -> usize {
        self.busy.open()
    }

    /// Counts one request or websocket, until it is dropped.
    pub(super) fn count(&self) -> Counted {
        self.busy.count()
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(crate) fn is_in(&self) -> bool {
        matches!(*self.health(), Health::In)
    }

    /// A connection was made.
    pub(super) fn reached(&self) {
        let before = std::mem::replace(&mut *self.health(), Health::In);
        if matches!(before, Health::Out { .. }) {
            tracing::info!(back_end = %self.origin, "a back end is in again");
        }
    }

    /// No connection could be made.
    pub(super) fn unreachable(&self, silent: bool) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let out = Health::Out {
            until: Instant::now() + PAUSE,
            silent,
            probing: false,
        };
        if matches!(std::mem::replace(&mut *self.health(), out), Health::In) {
            tracing::warn!(back_end = %self.origin, "a back end is out: no connection can be made");
        }
    }

    /// Whether to try it although it is out. Who is told so is the only one, but where it refuses and nobody is in.
    fn may_be_back(&self, others_are_in: bool) -> bool {
        let Health::Out {
            until,
            silent,
            probing,
        } = &mut *self.health()
        else {
            return false;
        };
        match others_are_in {
            true if *until > Instant::now() => return false,
            false if !*silent => return true,
            true | false => {}
        }
        !std::mem::replace(probing, true)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct BackEnds {
    all: Vec<Arc<BackEnd>>,
    /// Where to begin to look, so that those that are equally busy take turns.
    turn: AtomicUsize,
}

impl BackEnds {
    pub(crate) fn new(origins: &[Origin]) -> Self {
        Self::with(origins, &[])
    }

    /// After a reload: those that stay are what they were, those that are gone get no new request.
    pub(crate) fn changed(&self, origins: &[Origin]) -> Self {
        Self::with(origins, &self.all)
    }

    fn with(origins: &[Origin], before: &[Arc<BackEnd>]) -> Self {
        let back_end = |origin: &Origin| {
            let same = before.iter().find(|back_end| back_end.origin == *origin);
            same.map_or_else(|| Arc::new(BackEnd::new(origin.clone())), Arc::clone)
        };
        Self {
            all: origins.iter().map(back_end).collect(),
            turn: AtomicUsize::new(0),
        }
    }

    pub(crate) fn all(&self) -> &[Arc<BackEnd>] {
        &self.all
    }

    /// The next to be asked, but for those that were `tried`: one that is due to be tried again, or else the one that
    /// is least busy.
    pub(super) fn choose(&self, tried: &[usize]) -> Option<Chosen> {
        let first = match self.all.len() {
            0 => return None,
            1 => 0,
            several => self.turn.fetch_add(1, Ordering::Relaxed) % several,
        };
        let in_turn = || {
            let all = self.all.iter().enumerate().cycle().skip(first);
            let all = all.take(self.all.len());
            all.filter(|(index, _)| !tried.contains(index))
        };
        let least_busy = in_turn()
            .filter(|(_, back_end)| back_end.is_in())
            .min_by_key(|(_, back_end)| back_end.busy());
        let others_are_in = least_busy.is_some();
        let may_be_back = in_turn().find(|(_, back_end)| back_end.may_be_back(others_are_in));
        let is_probe = may_be_back.is_some();
        let (index, back_end) = may_be_back.or(least_busy)?;
        Some(Chosen {
            index,
            back_end: Arc::clone(back_end),
            is_probe,
        })
    }
}

/// A back end that is to be asked.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) index: usize,
    back_end: Arc<BackEnd>,
    /// It was out.
    pub(super) is_probe: bool,
}

impl Deref for Chosen {
    type Target = BackEnd;

    fn deref(&self) -> &BackEnd {
        &self.back_end
    }
}

impl Drop for Chosen {
    /// Whoever asked may have gone without knowing: the next one asks.
    fn drop(&mut self) {
        if let (true, Health::Out { probing, .. }) = (self.is_probe, &mut *self.back_end.health()) {
            *probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back_ends(count: usize) -> BackEnds {
        let origin = |index| Origin::Unix(format!("/{index}").into());
        BackEnds::new(&(0..count).map(origin).collect::<Vec<_>>())
    }

    #[test]
    fn the_least_busy_is_next_and_equals_take_turns() {
        let back_ends = back_ends(3);
        let next = || back_ends.choose(&[]).unwrap().index;
        let mut turns = [next(), next(), next()];
        turns.sort_unstable();
        assert_eq!(turns, [0, 1, 2]);
        let _first = back_ends.all[0].count();
        let _third = back_ends.all[2].count();
        assert_eq!([next(), next(), next()], [1, 1, 1]);
        assert_eq!(back_ends.choose(&[0, 1]).unwrap().index, 2);
        assert!(back_ends.choose(&[0, 1, 2]).is_none());
    }

    #[test]
    fn one_that_is_out_is_asked_by_one_after_its_pause() {
        let back_ends = back_ends(2);
        let out = &back_ends.all[0];
        out.unreachable(false);
        for _ in 0..4 {
            assert_eq!(back_ends.choose(&[]).unwrap().index, 1);
        }
        if let Health::Out { until, .. } = &mut *out.health() {
            *until = Instant::now();
        }
        let probe = back_ends.choose(&[]).unwrap();
        assert_eq!((probe.index, probe.is_probe), (0, true));
        assert_eq!(back_ends.choose(&[]).unwrap().index, 1);
        // Whoever asked has gone: another one asks.
        drop(probe);
        let probe = back_ends.choose(&[]).unwrap();
        assert_eq!(probe.index, 0);
        probe.reached();
        drop(probe);
        assert!(out.is_in());
    }

    #[test]
    fn where_none_is_in_a_silent_one_is_asked_by_one_at_a_time_without_a_pause() {
        let back_ends = back_ends(1);
        back_ends.all[0].unreachable(true);
        let probe = back_ends.choose(&[]);
        assert!(probe.is_some() && back_ends.choose(&[]).is_none());
        drop(probe);
        assert!(back_ends.choose(&[]).is_some());
        // One that refuses is asked by all.
        back_ends.all[0].unreachable(false);
        let both = (back_ends.choose(&[]), back_ends.choose(&[]));
        assert!(both.0.is_some() && both.1.is_some());
    }

    #[test]
    fn a_reload_keeps_what_is_known_of_those_that_stay() {
        let before = back_ends(2);
        before.all[1].unreachable(false);
        let after = before.changed(&[Origin::Unix("/1".into()), Origin::Unix("/2".into())]);
        assert!(Arc::ptr_eq(&after.all[0], &before.all[1]));
        assert!(after.all[1].is_in() && !after.all[0].is_in());
    }
}
