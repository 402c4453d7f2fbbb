//! How many new guests there may be: a robot that drops cookies must not burn numbers.

use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::config;
use crate::limits::{Rate, Reason, refused};

/// `guest.new_per_minute`, and `new_per_minute_in_all`.
#[derive(Debug)]
pub(crate) struct NewGuests {
    by_address: Rate,
    all: DefaultDirectRateLimiter,
}

impl NewGuests {
    pub(crate) fn new(config: &config::Guest) -> Self {
        let quota = |limit| Quota::per_minute(NonZeroU32::new(limit).unwrap_or(NonZeroU32::MIN));
        Self {
            by_address: Rate::new(quota(config.new_per_minute)),
            all: RateLimiter::direct(quota(config.new_per_minute_in_all)),
        }
    }

    /// Counts one new guest of this address, if it may have one. Whom its own limit refuses takes nothing from the others.
    pub(crate) fn allows(&self, address: IpAddr) -> bool {
        let reason = if !self.by_address.allows(address) {
            Reason::NewGuestsPerAddress
        } else if self.all.check().is_err() {
            Reason::NewGuests
        } else {
            return true;
        };
        refused(reason, address);
        false
    }
}
