//! What was refused, counted by reason.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::log::once_a_second;

/// Why something was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Connections,
    ConnectionsPerAddress,
    ProxyProtocol,
    Head,
    Target,
    Body,
    BodyRate,
    Requests,
    ConcurrentRequests,
    Websockets,
    Polls,
    NewGuests,
    NewGuestsPerAddress,
    QueuesMemory,
}

/// A reason's name in metrics, and what it means.
const REASONS: [(Reason, &str, &str); 14] = [
    (
        Reason::Connections,
        "connections",
        "there are as many connections as may be, by server.max_connections or the open files",
    ),
    (
        Reason::ConnectionsPerAddress,
        "connections_per_address",
        "an address has as many connections as server.max_connections_per_address allows",
    ),
    (
        Reason::ProxyProtocol,
        "proxy_protocol",
        "a connection to a listener with proxy_protocol is no trusted proxy's",
    ),
    (
        Reason::Head,
        "head",
        "a request head is larger than server.max_head, or has more lines than server.max_headers",
    ),
    (
        Reason::Target,
        "target",
        "a request target is longer than server.max_target",
    ),
    (
        Reason::Body,
        "body",
        "a request body is larger than upstream.max_body, or than its path or push.limits allow",
    ),
    (
        Reason::BodyRate,
        "body_rate",
        "a request body comes slower than server.min_body_rate",
    ),
    (
        Reason::Requests,
        "requests",
        "an address asks more often than limits.requests_per_second allows",
    ),
    (
        Reason::ConcurrentRequests,
        "concurrent_requests",
        "a site has as many requests under way as limits.concurrent_requests allows",
    ),
    (
        Reason::Websockets,
        "websockets",
        "an address has as many websockets as limits.websockets_per_address allows",
    ),
    (
        Reason::Polls,
        "polls",
        "an address has as many polls as limits.polls_per_address allows",
    ),
    (
        Reason::NewGuests,
        "new_guests",
        "there are as many new guests as guest.all_new_per_minute allows",
    ),
    (
        Reason::NewGuestsPerAddress,
        "new_guests_per_address",
        "an address has as many new guests as guest.new_per_minute allows",
    ),
    (
        Reason::QueuesMemory,
        "queues_memory",
        "more waits for all subscribers than server.queues_memory allows: the slowest are let go",
    ),
];

/// What was refused for one reason.
struct Refused {
    count: AtomicU64,
    /// The second in which the log was last told.
    told: AtomicU64,
}

/// Of the whole process, in the order of [`REASONS`].
static REFUSED: [Refused; REASONS.len()] = [const {
    Refused {
        count: AtomicU64::new(0),
        told: AtomicU64::new(0),
    }
}; REASONS.len()];

/// Counts it, and tells the log once a second for each reason.
pub(crate) fn refused(reason: Reason, client: impl fmt::Display) {
    for ((of, name, _), refused) in REASONS.iter().zip(&REFUSED) {
        if *of == reason {
            let count = refused.count.fetch_add(1, Ordering::Relaxed) + 1;
            once_a_second(&refused.told, || {
                tracing::warn!(reason = name, %client, count, "refused: {reason}");
            });
        }
    }
}

/// How often something was refused since the start, by the reason's name.
pub(crate) fn counted() -> impl Iterator<Item = (&'static str, u64)> {
    let count = |refused: &Refused| refused.count.load(Ordering::Relaxed);
    let reasons = REASONS.iter().zip(&REFUSED);
    reasons.map(move |((_, name, _), refused)| (*name, count(refused)))
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meant = REASONS.iter().find(|(reason, ..)| reason == self);
        f.write_str(meant.map_or("", |(_, _, meaning)| meaning))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_row() {
        for (index, (reason, ..)) in REASONS.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
        assert_eq!(Reason::QueuesMemory as usize + 1, REASONS.len());
    }
}
