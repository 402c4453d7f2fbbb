//! How many new guests one address may become: a robot that drops cookies must not burn numbers.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::clock::DefaultClock;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

/// New addresses between two clean-ups of those that have been quiet.
const CLEAN_UP_EVERY: u32 = 10_000;

/// `guest.new_per_minute`, per client address; IPv6 by /64, which is one household.
#[derive(Debug)]
pub(crate) struct NewGuests {
    limiter: Option<RateLimiter<IpAddr, HashMapStateStore<IpAddr>, DefaultClock>>,
    asked: AtomicU32,
}

impl NewGuests {
    /// 0: nobody.
    pub(crate) fn new(per_minute: u32) -> Self {
        let limiter =
            NonZeroU32::new(per_minute).map(|limit| RateLimiter::hashmap(Quota::per_minute(limit)));
        Self {
            limiter,
            asked: AtomicU32::new(0),
        }
    }

    /// Counts one new guest of this address, if it may have one.
    pub(crate) fn allows(&self, address: IpAddr) -> bool {
        let Some(limiter) = &self.limiter else {
            return false;
        };
        if self.asked.fetch_add(1, Ordering::Relaxed) % CLEAN_UP_EVERY == CLEAN_UP_EVERY - 1 {
            limiter.retain_recent();
        }
        limiter.check_key(&household(address)).is_ok()
    }
}

fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_quota_of_its_own() {
        let new = NewGuests::new(3);
        let allowed = |address: &str| {
            (0..10)
                .filter(|_| new.allows(address.parse().unwrap()))
                .count()
        };
        assert_eq!(allowed("1.2.3.4"), 3);
        assert_eq!(allowed("1.2.3.5"), 3);
        assert_eq!(allowed("2001:db8::1"), 3);
        assert_eq!(allowed("2001:db8::2"), 0);
        assert!(!NewGuests::new(0).allows("1.2.3.4".parse().unwrap()));
    }
}
