//! The back ends of a site, which all cores share: who takes the next request, and who is left out for a while.
//!
//! A back end is *out* when no connection to it can be made, or when it fails its [checks](crate::upstream::check).
//! While others are in, one that cannot be reached is tried by one request when its pause is over, and in again if it can;
//! where there are checks, it is they who see. While none is in, there is no pause: one that refuses, or is not well, is asked
//! by everybody, which costs nothing, and one that is silent by one request at a time, so that the others need not
//! wait `connect_timeout` to be told.

mod back_end;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pullgate_compat::guest::GuestId;

use crate::config::{Health, Origin, Sticky, Upstream};
pub(crate) use back_end::BackEnd;

/// See the module.
#[derive(Debug)]
pub(crate) struct BackEnds {
    all: Vec<Arc<BackEnd>>,
    sticky: Sticky,
    health: Health,
    /// Where to begin to look, so that those that are equally busy take turns.
    turn: AtomicUsize,
}

impl BackEnds {
    pub(crate) fn new(config: &Upstream) -> Self {
        Self::with(config, &[])
    }

    /// After a reload: those that stay are what they were, those that are gone get no new request.
    pub(crate) fn changed(&self, config: &Upstream) -> Self {
        Self::with(config, &self.all)
    }

    fn with(config: &Upstream, before: &[Arc<BackEnd>]) -> Self {
        let back_end = |origin: &Origin| {
            let same = before.iter().find(|back_end| back_end.origin == *origin);
            same.map_or_else(|| Arc::new(BackEnd::new(origin.clone())), Arc::clone)
        };
        Self {
            all: config.origins.iter().map(back_end).collect(),
            sticky: config.sticky,
            health: config.health.clone(),
            turn: AtomicUsize::new(0),
        }
    }

    pub(crate) fn all(&self) -> &[Arc<BackEnd>] {
        &self.all
    }

    /// They are not checked any more: what checks said keeps nobody out.
    pub(super) fn forget_checks(&self) {
        self.all
            .iter()
            .for_each(|back_end| back_end.forget_checks());
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// The next to be asked for this guest, but for those that were `tried`: one that is due to be tried again, or else
    /// the guest's own, or the one that is least busy.
    pub(super) fn choose(&self, tried: &[usize], guest: Option<GuestId>) -> Option<Chosen> {
        let guest = guest.filter(|_| self.sticky == Sticky::Guest);
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
        // The least comes first.
        let rank = |back_end: &BackEnd| match guest {
            Some(guest) => (Reverse(back_end.affinity(guest)), 0),
            None => (Reverse(0), back_end.busy()),
        };
        let first_that = |is: fn(&BackEnd) -> bool| {
            let such = in_turn().filter(|(_, back_end)| is(back_end));
            such.min_by_key(|(_, back_end)| rank(back_end))
        };
        let chosen = |(index, back_end): (usize, &Arc<BackEnd>), is_probe| {
            Some(Chosen {
                index,
                back_end: Arc::clone(back_end),
                is_probe,
            })
        };
        if let Some(one) = first_that(BackEnd::is_in) {
            // A guest tries none but what may be its own.
            let is_due = |back_end: &BackEnd| {
                self.health.check.is_none()
                    && (guest.is_none() || rank(back_end) < rank(one.1))
                    && back_end.is_to_be_probed(true)
            };
            return match in_turn().find(|(_, back_end)| is_due(back_end)) {
                Some(due) => chosen(due, true),
                None => chosen(one, false),
            };
        }
        match first_that(BackEnd::refuses) {
            Some(one) => chosen(one, one.1.is_unreachable()),
            None => {
                let silent = in_turn().find(|(_, back_end)| back_end.is_to_be_probed(false));
                chosen(silent?, true)
            }
        }
    }
}

/// A back end that is to be asked.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) index: usize,
    back_end: Arc<BackEnd>,
    /// It could not be reached: a new connection shows whether it can be now.
    pub(super) is_probe: bool,
}

impl Deref for Chosen {
    type Target = BackEnd;

    fn deref(&self) -> &BackEnd {
        &self.back_end
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        if self.is_probe {
            self.back_end.was_probed();
        }
    }
}
