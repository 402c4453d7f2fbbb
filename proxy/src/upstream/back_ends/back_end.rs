//! One back end: how busy it is, and whether it is in or out, and why.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use pullgate_compat::guest::GuestId;
use sha2::{Digest, Sha256};

use crate::config::{Health, Origin};
use crate::connections::{Connections, Counted};
use crate::upstream::check::Failure;

/// See the module.
#[derive(Debug)]
pub(crate) struct BackEnd {
    pub(crate) origin: Origin,
    /// Of the origin: the same in every process, so that all choose alike.
    seed: u64,
    /// Requests and websockets under way, of all cores.
    busy: Connections,
    /// Connections that could not be made since the start, of all cores.
    failures: AtomicU64,
    /// Checks that failed since the start.
    failed_checks: AtomicU64,
    standing: Mutex<Standing>,
}

/// What is known of it. Requests of all cores change it, and the one task that checks.
#[derive(Debug, Default)]
struct Standing {
    /// Connections in a row that could not be made.
    failures: u32,
    /// Checks in a row that failed.
    failed_checks: u32,
    /// `None`: it is in.
    out: Option<Out>,
}

#[derive(Debug)]
struct Out {
    why: Why,
    /// The end of the pause.
    until: Instant,
    /// It did not answer in time, rather than refuse.
    silent: bool,
    /// A request is under way to see whether it is back.
    probing: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// No connection can be made.
    Unreachable,
    /// It may be reached, and is not well. Nothing but a check brings it in.
    FailsChecks,
}

impl BackEnd {
    pub(super) fn new(origin: Origin) -> Self {
        let digest = Sha256::digest(origin.to_string());
        let seed = digest
            .first_chunk()
            .map_or(0, |seed| u64::from_be_bytes(*seed));
        Self {
            origin,
            seed,
            busy: Connections::default(),
            failures: AtomicU64::new(0),
            failed_checks: AtomicU64::new(0),
            standing: Mutex::default(),
        }
    }

    pub(crate) fn busy(&self) -> usize {
        self.busy.open()
    }

    /// Counts one request or websocket, until it is dropped.
    pub(in crate::upstream) fn count(&self) -> Counted {
        self.busy.count()
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(crate) fn failed_checks(&self) -> u64 {
        self.failed_checks.load(Ordering::Relaxed)
    }

    pub(crate) fn is_in(&self) -> bool {
        self.standing().out.is_none()
    }

    pub(crate) fn fails_checks(&self) -> bool {
        self.is_out_because(Why::FailsChecks)
    }

    pub(super) fn is_unreachable(&self) -> bool {
        self.is_out_because(Why::Unreachable)
    }

    fn is_out_because(&self, why: Why) -> bool {
        matches!(&self.standing().out, Some(out) if out.why == why)
    }

    /// How much a guest belongs here, compared with other back ends: the most where it is at home. Adding or removing one
    /// moves none but its own guests (rendezvous hashing: Thaler and Ravishankar, 1998).
    pub(super) fn affinity(&self, guest: GuestId) -> u64 {
        mixed(self.seed ^ mixed(guest.number().into()))
    }

    /// A connection was made for a request.
    pub(in crate::upstream) fn reached(&self) {
        let mut standing = self.standing();
        standing.failures = 0;
        match &mut standing.out {
            None => {}
            Some(out) if out.why == Why::FailsChecks => out.silent = false,
            Some(_) => {
                standing.out = None;
                self.log_in();
            }
        }
    }

    /// No connection could be made for a request.
    pub(in crate::upstream) fn unreachable(&self, silent: bool, settings: &Health) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut standing = self.standing();
        standing.failures = standing.failures.saturating_add(1);
        let until = Instant::now() + settings.pause;
        let many = standing.failures >= settings.max_failures;
        match &mut standing.out {
            Some(out) => (out.until, out.silent) = (until, silent),
            None if many => {
                standing.out = Some(Out {
                    why: Why::Unreachable,
                    until,
                    silent,
                    probing: false,
                });
                tracing::warn!(back_end = %self.origin, "a back end is out: no connection can be made");
            }
            None => {}
        }
    }

    /// A check has succeeded.
    pub(in crate::upstream) fn is_well(&self) {
        let before = std::mem::take(&mut *self.standing());
        if before.out.is_some() {
            self.log_in();
        }
    }

    /// A check has failed.
    pub(in crate::upstream) fn is_unwell(&self, why: &Failure, settings: &Health) {
        self.failed_checks.fetch_add(1, Ordering::Relaxed);
        let mut standing = self.standing();
        standing.failed_checks = standing.failed_checks.saturating_add(1);
        if standing.failed_checks < settings.max_failures {
            return;
        }
        let silent = why.is_silence();
        match &mut standing.out {
            Some(out) => (out.why, out.silent) = (Why::FailsChecks, silent),
            None => {
                standing.out = Some(Out {
                    why: Why::FailsChecks,
                    until: Instant::now(),
                    silent,
                    probing: false,
                });
                tracing::warn!(back_end = %self.origin, %why, "a back end is out: it fails its checks");
            }
        }
    }

    /// What checks said does not keep it out any more.
    pub(super) fn forget_checks(&self) {
        let mut standing = self.standing();
        standing.failed_checks = 0;
        standing.out.take_if(|out| out.why == Why::FailsChecks);
    }

    /// Whether it is out, and whoever asks is told so at once.
    pub(super) fn refuses(&self) -> bool {
        matches!(&self.standing().out, Some(out) if !out.silent)
    }

    /// Whether to see if it is back; after its pause, or at once. Whoever is told so is the only one.
    pub(super) fn is_to_be_probed(&self, after_pause: bool) -> bool {
        match &mut self.standing().out {
            Some(out) if after_pause && out.until > Instant::now() => false,
            Some(out) => !std::mem::replace(&mut out.probing, true),
            None => false,
        }
    }

    /// Whoever was to see may have gone without knowing: the next one asks.
    pub(super) fn was_probed(&self) {
        if let Some(out) = &mut self.standing().out {
            out.probing = false;
        }
    }

    /// As if its pause were over.
    #[cfg(test)]
    pub(super) fn end_pause(&self) {
        if let Some(out) = &mut self.standing().out {
            out.until = Instant::now();
        }
    }

    fn log_in(&self) {
        tracing::info!(back_end = %self.origin, "a back end is in again");
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every bit of the result depends on every bit of the number (the finaliser of SplitMix64: Steele, Lea and Flood, 2014).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
