//! `[limits]`.

use super::MANY;
use super::section::Section;
use crate::config::SiteLimits;

pub(super) fn limits(s: &mut Section<'_>) -> SiteLimits {
    SiteLimits {
        requests_per_second: s.number("requests_per_second", 200, 0..=MANY),
        request_burst: s.number("request_burst", 2000, 1..=MANY),
        websockets_per_address: s.number("websockets_per_address", 10_000, 0..=MANY),
        polls_per_address: s.number("polls_per_address", 10_000, 0..=MANY),
        concurrent_requests: s.number("concurrent_requests", 0, 0..=10 * MANY),
    }
}
