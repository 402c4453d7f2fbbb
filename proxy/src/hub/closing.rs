//! Who is sent away: everybody for a restart, some for another key.

use std::sync::Arc;
use std::time::Duration;

use super::Hub;
use super::group::Group;
use super::subscriber::Closed;

/// Between two channels closed for a restart, where there are few.
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

impl Hub {
    /// The site has another signature key, the `key`th: those whom only an older one proves are closed, and no more of
    /// them get in.
    pub(crate) fn close_proven_before(&self, key: u32) {
        let mut sequence = self.sequence();
        sequence.key = key;
        for (_, group) in sequence.channels.values().flatten() {
            group.close_proven_before(key);
        }
    }

    /// Closes every subscriber, for a restart: paced over `within`, so that not all come back at once.
    pub(crate) async fn close_all(&self, within: Duration) {
        let groups: Vec<Arc<Group>> = self
            .sequence()
            .channels
            .values()
            .flat_map(|groups| groups.iter().map(|(_, group)| Arc::clone(group)))
            .collect();
        let pause = within / u32::try_from(groups.len().max(1)).unwrap_or(u32::MAX);
        let pause = pause.min(LONGEST_PAUSE);
        let mut due = Duration::ZERO;
        for group in groups {
            group.close(Closed::Drained);
            due += pause;
            if due > Duration::from_millis(10) {
                tokio::time::sleep(std::mem::take(&mut due)).await;
            }
        }
    }
}
