//! How often each address may do something.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::clock::DefaultClock;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use super::household;

/// The table is in so many parts, so that cores seldom wait for one another.
const SHARDS: usize = 16;

/// Questions to a part between two clean-ups of those that have been quiet: with an address each, it is no larger
/// than these, and who asked within the time of the quota.
const CLEAN_UP_EVERY: u32 = 4096;

/// See the module.
#[derive(Debug)]
pub(crate) struct Rate {
    shards: [Shard; SHARDS],
    hasher: RandomState,
}

#[derive(Debug)]
struct Shard {
    limiter: RateLimiter<IpAddr, HashMapStateStore<IpAddr>, DefaultClock>,
    /// Questions since the start.
    asked: AtomicU32,
}

impl Rate {
    pub(crate) fn new(quota: Quota) -> Self {
        let shard = |_| Shard {
            limiter: RateLimiter::hashmap(quota),
            asked: AtomicU32::new(0),
        };
        Self {
            shards: std::array::from_fn(shard),
            hasher: RandomState::new(),
        }
    }

    /// Counts one more time, if this address may.
    pub(crate) fn allows(&self, address: IpAddr) -> bool {
        let household = household(address);
        let hash = self.hasher.hash_one(household);
        let shard = usize::try_from(hash % SHARDS as u64).unwrap_or_default();
        let Some(shard) = self.shards.get(shard) else {
            return true;
        };
        let asked = shard.asked.fetch_add(1, Ordering::Relaxed);
        if asked % CLEAN_UP_EVERY == CLEAN_UP_EVERY - 1 {
            shard.limiter.retain_recent();
            shard.limiter.shrink_to_fit();
        }
        shard.limiter.check_key(&household).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn an_address_has_a_quota_of_its_own() {
        let rate = Rate::new(Quota::per_minute(NonZeroU32::new(3).unwrap()));
        let allowed = |address: &str| {
            (0..10)
                .filter(|_| rate.allows(address.parse().unwrap()))
                .count()
        };
        assert_eq!(allowed("1.2.3.4"), 3);
        assert_eq!(allowed("1.2.3.5"), 3);
        assert_eq!(allowed("2001:db8::1"), 3);
        assert_eq!(allowed("2001:db8::2"), 0);
    }

    #[test]
    fn who_has_been_quiet_is_forgotten() {
        let quick = NonZeroU32::new(1_000_000).unwrap();
        let rate = Rate::new(Quota::per_second(quick));
        for number in 0..200_000_u32 {
            rate.allows(IpAddr::V4(number.into()));
        }
        let known: usize = rate.shards.iter().map(|shard| shard.limiter.len()).sum();
        assert!(known < 70_000, "{known}");
    }
}
