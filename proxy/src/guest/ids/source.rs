//! Where blocks come from: the state of this process, or a counter in Redis that nodes share.

use std::ops::Range;
use std::sync::Arc;

use tokio::runtime::Runtime;

use super::{BLOCK, MARGIN};
use crate::history::Unavailable;
use crate::history::redis::{Counter, Redis};
use crate::state::{GUEST_IDS, State, StateError};

/// Where blocks come from.
pub(super) struct Source {
    pub(super) state: Arc<State>,
    pub(super) first_id: u64,
    /// All nodes take theirs from Redis. Each keeps the greatest number that it heard of, and which were
    /// left to the site, in case that Redis loses it.
    pub(super) shared: Option<(Arc<Redis>, Runtime)>,
}

/// What cookies have proved.
pub(super) struct Known {
    pub(super) number: u64,
    /// How many above it to leave out if the counter is below it.
    pub(super) margin: u64,
}

/// How far the counter is.
pub(super) struct Heard {
    pub(super) taken: u64,
    /// What is not above this may have been given twice, had it gone on: the counter was lost. 0: never.
    pub(super) lost: u64,
    /// Whether that was found out just now.
    pub(super) is_news: bool,
}

/// Why no block could be reserved.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreserved {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Redis(#[from] Unavailable),
    #[error("no number is left")]
    Exhausted,
}

impl Source {
    pub(super) fn block(&self, known: &Known) -> Result<Range<u64>, Unreserved> {
        if self.shared.is_none() {
            return Ok(self.state.take(GUEST_IDS, BLOCK, self.first_id)?);
        }
        let last = self.raise(known, BLOCK)?.taken;
        Ok(last + 1 - BLOCK..last + 1)
    }

    /// Hears how far the counter is, and raises it above what is known.
    pub(super) fn learn(&self, known: &Known) -> Result<Heard, Unreserved> {
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

    pub(super) fn connections(&self) -> u64 {
        self.shared
            .as_ref()
            .map_or(0, |(redis, _)| redis.connections())
    }

    /// Raises the counter that nodes share by `by`.
    fn raise(&self, known: &Known, by: u64) -> Result<Heard, Unreserved> {
        let heard = self.state.raise(GUEST_IDS, 0, 0)?;
        let counter = Counter {
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
    pub(super) fn of_the_site(&self) -> Result<Vec<Range<u64>>, StateError> {
        self.state.skipped(GUEST_IDS)
    }

    pub(super) fn warn_of_given(&self, of_the_site: &[Range<u64>]) {
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
