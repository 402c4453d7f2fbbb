//! How slowly a body may come.

use std::time::Duration;

use tokio::time::Instant;

use super::BodyError;
use crate::config::Server;

/// The longest silence within a body, and the least speed of it as a whole. Only time counts in which somebody waits for
/// the next piece: who is not listened to does not fall behind.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    longest_silence: Duration,
    /// Bytes a second, beyond a first `longest_silence`; 0: none.
    min_rate: usize,
    received: usize,
    /// For how long pieces were waited for that have come.
    waited: Duration,
    waiting_since: Option<Instant>,
}

impl Pace {
    /// However slow, if it is not silent for longer than this.
    pub(crate) fn unhurried(longest_silence: Duration) -> Self {
        Self::new(longest_silence, 0)
    }

    /// A client's.
    pub(crate) fn of_clients(server: &Server) -> Self {
        Self::new(server.body_timeout, server.min_body_rate)
    }

    pub(super) fn new(longest_silence: Duration, min_rate: usize) -> Self {
        Self {
            longest_silence,
            min_rate,
            received: 0,
            waited: Duration::ZERO,
            waiting_since: None,
        }
    }

    /// A piece has come.
    pub(super) fn came(&mut self, bytes: usize, now: Instant) {
        self.received = self.received.saturating_add(bytes);
        if let Some(since) = self.waiting_since.take() {
            self.waited += now.saturating_duration_since(since);
        }
    }

    /// Bytes.
    pub(super) fn received(&self) -> usize {
        self.received
    }

    /// From now on the next piece is waited for, for no longer than this.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        self.waiting_since = Some(now);
        self.longest_silence.min(self.left())
    }

    /// It was waited for as long as [`Self::wait`] has said.
    pub(super) fn too_slow(&self) -> BodyError {
        match self.left() < self.longest_silence {
            true => BodyError::Slow(self.min_rate),
            false => BodyError::Silent(self.longest_silence),
        }
    }

    /// What is left of the time that all that has come may have taken.
    fn left(&self) -> Duration {
        let received = u64::try_from(self.received).unwrap_or(u64::MAX);
        let Some(seconds) = received.checked_div(self.min_rate as u64) else {
            return Duration::MAX;
        };
        let may_take = self
            .longest_silence
            .saturating_add(Duration::from_secs(seconds));
        may_take.saturating_sub(self.waited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Pieces of so many bytes, a second each: how many come before it is too slow.
    fn pieces(bytes: usize, min_rate: usize) -> Option<usize> {
        let mut pace = Pace::new(10 * SECOND, min_rate);
        let mut now = Instant::now();
        (0..1000).find(|_| {
            let patience = pace.wait(now);
            now += SECOND;
            let slow = patience < SECOND;
            pace.came(bytes, now);
            slow
        })
    }

    #[test]
    fn a_trickle_ends_when_its_time_is_over() {
        assert_eq!(pieces(1, 500), Some(10));
        assert_eq!(pieces(250, 500), Some(19));
        assert_eq!(pieces(500, 500), None);
        assert_eq!(pieces(1, 0), None);
    }

    #[test]
    fn silence_and_slowness_are_told_apart() {
        let mut pace = Pace::new(10 * SECOND, 500);
        let now = Instant::now();
        assert_eq!(pace.wait(now), 10 * SECOND);
        assert!(matches!(pace.too_slow(), BodyError::Silent(_)));
        pace.came(1, now + 9 * SECOND);
        assert_eq!(pace.wait(now + 9 * SECOND), SECOND);
        assert!(matches!(pace.too_slow(), BodyError::Slow(500)));
    }

    /// The site may take its time: that between two pieces in which nobody waits is nobody's.
    #[test]
    fn time_in_which_nobody_waits_does_not_count() {
        let mut pace = Pace::new(10 * SECOND, 500);
        let mut now = Instant::now();
        for _ in 0..100 {
            assert_eq!(pace.wait(now), 10 * SECOND);
            pace.came(1, now);
            now += 60 * SECOND;
        }
    }
}
