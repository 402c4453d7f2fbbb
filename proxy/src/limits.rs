//! How much one address may have of a site, and all together; and what is refused beyond it.
//!
//! Addresses are those of visitors, as far as they are known; of IPv6 a /64 is one, for it is one household. Trusted
//! proxies are nobody's address: whoever speaks through them is counted by its own. The tables hold who has something, or
//! asked for something a moment ago, and forget everybody else.

mod occupancy;
mod place;
mod rate;
mod refusals;

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::Quota;

use crate::config::SiteLimits;
use crate::connections::Connections;
pub(crate) use occupancy::{Occupancy, Seat};
pub(crate) use place::{Place, Wish};
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
    /// Requests of all of them under way, polls and websockets among them.
    under_way: Connections,
}

impl Visitors {
    pub(crate) fn new(config: SiteLimits) -> Self {
        Self {
            requests: requests(&config),
            websockets: Arc::default(),
            polls: Arc::default(),
            under_way: Connections::default(),
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
            under_way: self.under_way.clone(),
            config,
        }
    }

    /// Counts a request, of an address that has limits or, without one, of a trusted proxy itself.
    pub(crate) fn enter(&self, address: Option<IpAddr>, wish: Wish) -> Result<Place, Reason> {
        let seat = match address {
            Some(address) => self.seat(address, wish)?,
            None => None,
        };
        let max = self.config.concurrent_requests;
        // Counted first: of two that come at once, one is beyond the limit.
        let request = self.under_way.count();
        if max > 0 && self.under_way.open() > max {
            return Err(Reason::ConcurrentRequests);
        }
        Ok(Place::new(request, seat))
    }

    /// How many requests are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.open()
    }

    /// What this address takes of its own.
    fn seat(&self, address: IpAddr, wish: Wish) -> Result<Option<Seat>, Reason> {
        let allowed = self.requests.as_ref().is_none_or(|it| it.allows(address));
        allowed.then_some(()).ok_or(Reason::Requests)?;
        let config = &self.config;
        let (table, max, beyond) = match wish {
            Wish::Answer => return Ok(None),
            Wish::Websocket => (
                &self.websockets,
                config.websockets_per_address,
                Reason::Websockets,
            ),
            Wish::Poll => (&self.polls, config.polls_per_address, Reason::Polls),
        };
        match max {
            // No limit costs nothing.
            0 => Ok(None),
            max => table.enter(address, max).map(Some).ok_or(beyond),
        }
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
