//! Who is sent away: everybody for a restart, some for another key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Hub;
use super::group::Group;
use super::subscriber::{Closed, Subscriber};
use crate::history::Archive;

/// Between two subscribers closed for a restart, where there are few.
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

    /// Closes every subscriber, for a restart: paced over `within`, so that not all come back at once. Whoever
    /// subscribes from now on is closed at once.
    pub(crate) async fn close_all(&self, within: Duration) {
        let subscribers = self.take_leave();
        let pause = within / u32::try_from(subscribers.len().max(1)).unwrap_or(u32::MAX);
        let pause = pause.min(LONGEST_PAUSE);
        let mut due = Duration::ZERO;
        for subscriber in subscribers.into_values() {
            subscriber.close(Closed::Drained);
            due += pause;
            if due > Duration::from_millis(10) {
                tokio::time::sleep(std::mem::take(&mut due)).await;
            }
        }
    }

    /// Lets another process have what is stored: nothing is published or read here any more. Nodes share a Redis, and
    /// go on.
    pub(crate) fn release(&self) {
        match self.archive() {
            Archive::Redis(_) => {}
            Archive::None => self.sequence().is_released = true,
            Archive::Disk(disk) => {
                self.sequence().is_released = true;
                disk.release();
            }
        }
    }

    /// Those that are there when nobody is let in any more, each once, by number.
    fn take_leave(&self) -> BTreeMap<u64, Arc<Subscriber>> {
        self.sequence().is_closing = true;
        self.subscribers()
    }

    /// All that there are, each once, by number.
    pub(super) fn subscribers(&self) -> BTreeMap<u64, Arc<Subscriber>> {
        let groups: Vec<Arc<Group>> = {
            let sequence = self.sequence();
            let groups = sequence.channels.values().flatten();
            groups.map(|(_, group)| Arc::clone(group)).collect()
        };
        groups
            .iter()
            .flat_map(|group| group.subscribers())
            .collect()
    }
}
