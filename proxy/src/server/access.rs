//! The access log has a line for each request, but for those that a visitor is refused for its limits: on one connection a line a
//! second tells of them, and of how many. A flood of refusals would cost more to write down than to refuse.

use std::sync::{Mutex, PoisonError};

use crate::clock::unix_time;
use crate::upstream::visitor::Client;

/// Refusals on one connection, which may carry several visitors, that no line has told of.
#[derive(Debug, Default)]
pub(super) struct Untold(Mutex<Option<Refused>>);

/// Of the visitor that was refused last.
#[derive(Debug)]
struct Refused {
    client: Client,
    /// When a line told of it, unix seconds.
    told: u64,
    since: u64,
}

impl Untold {
    /// One more; how many a line is to tell of now, if there is to be one. What is left out with the end of a connection is counted in
    /// metrics all the same.
    pub(super) fn refused(&self, client: Client) -> Option<u64> {
        self.refused_at(client, unix_time().as_secs())
    }

    fn refused_at(&self, client: Client, now: u64) -> Option<u64> {
        let mut untold = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match untold.as_mut().filter(|refused| refused.client == client) {
            Some(refused) if refused.told == now => {
                refused.since += 1;
                None
            }
            Some(refused) => {
                refused.told = now;
                Some(std::mem::take(&mut refused.since) + 1)
            }
            None => {
                *untold = Some(Refused {
                    client,
                    told: now,
                    since: 0,
                });
                Some(1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_line_a_second_tells_of_all() {
        let untold = Untold::default();
        let [first, second] = [1, 2].map(|nth| Client::Known(Ipv4Addr::new(192, 0, 2, nth).into()));
        let told: Vec<_> = [
            (first, 10),
            (first, 10),
            (first, 10),
            (first, 12),
            (first, 12),
            (second, 12),
            (second, 13),
        ]
        .map(|(client, now)| untold.refused_at(client, now))
        .into();
        assert_eq!(told, [Some(1), None, None, Some(3), None, Some(1), Some(1)]);
    }
}
