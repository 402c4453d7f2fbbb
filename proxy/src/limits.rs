//! How much one address may have, and what is refused beyond it.
//!
//! Addresses are those of visitors, as far as they are known; of IPv6 a /64 is one, for it is one household. Trusted
//! proxies are nobody's address: whoever speaks through them is counted by its own. The tables hold who has something, or
//! asked for something a moment ago, and forget everybody else.

mod occupancy;
mod rate;
mod refusals;

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::Quota;

use crate::config::SiteLimits;
pub(crate) use occupancy::{Occupancy, Seat};
pub(crate) use rate::Rate;
pub(crate) use refusals::{Reason, counted, refused};

/// `[limits]` of one site, with who has what.
#[derive(Debug)]
pub(crate) struct Visitors {
    config: SiteLimits,
    /// `None`: as many as they like. Shared with those before a reload, as are the others.
    requests: Option<Arc<Rate>>,
    websockets: Arc<Occupancy>,
    polls: Arc<Occupancy>,
}

impl Visitors {
    pub(crate) fn new(config: SiteLimits) -> Self {
        Self {
            requests: requests(&config),
            websockets: Arc::default(),
            polls: Arc::default(),
            config,
        }
    }

    /// The same visitors by another configuration.
    pub(crate) fn changed(&self, config: SiteLimits) -> Self {
        let rate = |config: &SiteLimits| (config.requests_per_second, config.request_burst);
        Self {
            requests: match rate(&self.config) == rate(&config) {
                true => self.requests.clone(),
                false => requests(&config),
            },
            websockets: Arc::clone(&self.websockets),
            polls: Arc::clone(&self.polls),
            config,
        }
    }

    /// Counts a request of this address.
    pub(crate) fn request(&self, address: IpAddr) -> Result<(), Reason> {
        let allowed = self.requests.as_ref().is_none_or(|it| it.allows(address));
        allowed.then_some(()).ok_or(Reason::Requests)
    }

    /// A websocket of this address, counted until its place is dropped.
    pub(crate) fn websocket(&self, address: IpAddr) -> Result<Option<Seat>, Reason> {
        let max = self.config.websockets_per_address;
        enter(&self.websockets, address, max).ok_or(Reason::Websockets)
    }

    /// A poll or a stream of events, likewise.
    pub(crate) fn poll(&self, address: IpAddr) -> Result<Option<Seat>, Reason> {
        let max = self.config.polls_per_address;
        enter(&self.polls, address, max).ok_or(Reason::Polls)
    }
}

/// `None`: the address has as many as it may. A limit of 0 is none, and costs nothing.
fn enter(table: &Arc<Occupancy>, address: IpAddr, max: usize) -> Option<Option<Seat>> {
    match max {
        0 => Some(None),
        max => table.enter(address, max).map(Some),
    }
}

fn requests(config: &SiteLimits) -> Option<Arc<Rate>> {
    let per_second = NonZeroU32::new(config.requests_per_second)?;
    let burst = NonZeroU32::new(config.request_burst).unwrap_or(per_second);
    let quota = Quota::per_second(per_second).allow_burst(burst);
    Some(Arc::new(Rate::new(quota)))
}

/// Whom a limit counts as one.
fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}
