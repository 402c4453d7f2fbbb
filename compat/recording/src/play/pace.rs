//! When the steps of the client have their turn.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::TIMER_MS;
use super::channels::Channels;
use crate::format::{Action, Recording, Side, Step};

/// A server takes notice of a poll, or of a connection that went away, within this time. Recordings leave it less, as
/// their server was near and had nothing else to do.
const SETTLING: Duration = Duration::from_millis(250);

/// Between polls, of which only the order matters. Many in a row must stay within the timeout of the first.
const BETWEEN_POLLS: Duration = Duration::from_millis(100);

/// Keeps at least the recorded time between steps of the client. What takes longer moves all that follows.
pub(super) struct Pace {
    /// Times of the client's steps, in their order.
    clients: Vec<f64>,
    length: Duration,
    /// The client's last step: its recorded time, and when it was played.
    last: (f64, Instant),
    /// When polls or connections came or went, of late.
    changes: Vec<(Instant, Channels)>,
}

impl Pace {
    pub(super) fn new(recording: &Recording) -> Self {
        let steps = &recording.steps;
        let clients = steps
            .iter()
            .filter(|step| step.action.parts().by == Side::Client);
        let mut clients: Vec<_> = clients.map(|step| step.at_ms).collect();
        clients.sort_by(f64::total_cmp);
        let ends = steps
            .iter()
            .map(|step| step.at_ms + step.action.parts().lasts_ms);
        let settlings = u32::try_from(steps.len()).unwrap_or(u32::MAX);
        let now = Instant::now();
        Self {
            clients,
            length: milliseconds(ends.fold(0.0, f64::max)) + SETTLING * settlings,
            last: (0.0, now),
            changes: Vec::new(),
        }
    }

    /// How long playing takes at most, if the server answers as it did.
    pub(super) fn length(&self) -> Duration {
        self.length
    }

    /// Waits for the turn of a step of the client.
    pub(super) async fn turn(&mut self, step: &Step) {
        let (at_ms, played) = self.last;
        let mut turn = played + milliseconds(step.at_ms - at_ms);
        self.changes.retain(|(at, _)| at.elapsed() < SETTLING);
        for (at, channels) in &self.changes {
            if channels.concern(&step.action) {
                turn = turn.max(*at + settling(&step.action));
            }
        }
        // What was sent in one go goes out in one go: a timer would take a millisecond.
        if turn > Instant::now() + Duration::from_millis(1) {
            sleep_until(turn).await;
        }
        self.last = (step.at_ms, Instant::now());
    }

    /// Gives the server time before the client's next step about these channels.
    pub(super) fn settle(&mut self, channels: Channels) {
        self.changes.push((Instant::now(), channels));
    }

    /// When that which came at `at_ms` comes now.
    pub(super) fn expected(&self, at_ms: f64) -> Instant {
        let (last_ms, played) = self.last;
        (played + milliseconds(at_ms - last_ms)).max(Instant::now())
    }

    /// Whether what began at `from_ms` ended at `at_ms` by a timer: the client had done nothing for long.
    pub(super) fn by_timer(&self, from_ms: f64, at_ms: f64) -> bool {
        let before = self.clients.partition_point(|client| *client < at_ms);
        let last = before
            .checked_sub(1)
            .and_then(|last| self.clients.get(last));
        at_ms - last.copied().unwrap_or_default().max(from_ms) >= TIMER_MS
    }
}

/// A time of a recording; what is no time is none.
pub(super) fn milliseconds(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default()
}

/// How long before this step polls and connections of its channels must have come or gone.
fn settling(action: &Action) -> Duration {
    match matches!(action, Action::PollStart { .. }) {
        true => BETWEEN_POLLS,
        false => SETTLING,
    }
}
