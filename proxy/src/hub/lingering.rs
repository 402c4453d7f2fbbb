//! Channels of long polls that ended lately. Their clients are about to ask again, and count as online meanwhile.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use pullgate_compat::channel::Receiver;

/// How long a channel stays online after its last poll.
pub(crate) const LINGER: Duration = Duration::from_secs(10);

/// Channels of which this is remembered; the oldest go for new ones.
const MAX_CHANNELS: usize = 100_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lingering {
    /// When each was last left.
    left: HashMap<Receiver, Instant>,
    /// The same in order. Those that were left again since are in it more than once.
    order: VecDeque<(Instant, Receiver)>,
}

impl Lingering {
    pub(super) fn add(&mut self, receivers: &[Receiver], now: Instant) {
        for receiver in receivers {
            self.left.insert(*receiver, now);
            self.order.push_back((now, *receiver));
        }
        while let Some((left, receiver)) = self.order.front().copied()
            && (left + LINGER <= now || self.order.len() > MAX_CHANNELS)
        {
            self.order.pop_front();
            if self.left.get(&receiver) == Some(&left) {
                self.left.remove(&receiver);
            }
        }
    }

    pub(super) fn contains(&self, receiver: &Receiver, now: Instant) -> bool {
        let left = self.left.get(receiver);
        left.is_some_and(|left| now < *left + LINGER)
    }
}

#[cfg(test)]
mod tests {
    use pullgate_compat::channel::ChannelId;

    use super::*;

    fn id(number: u32) -> Receiver {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        Receiver::Private(ChannelId::from_bytes(bytes))
    }

    #[test]
    fn a_channel_lingers_after_its_last_poll() {
        let mut lingering = Lingering::default();
        let began = Instant::now();
        lingering.add(&[id(1), id(2)], began);
        lingering.add(&[id(1)], began + LINGER / 2);
        assert!(lingering.contains(&id(2), began + LINGER / 2));
        assert!(!lingering.contains(&id(2), began + LINGER));
        assert!(lingering.contains(&id(1), began + LINGER));
        assert!(!lingering.contains(&id(1), began + LINGER * 3 / 2));
        lingering.add(&[id(3)], began + LINGER);
        assert!(lingering.contains(&id(1), began + LINGER));
        assert_eq!(lingering.left.len(), 2);
    }

    #[test]
    fn what_lingers_has_a_bound() {
        let mut lingering = Lingering::default();
        let now = Instant::now();
        for number in 0..150_000 {
            lingering.add(&[id(number % 120_000)], now);
        }
        assert_eq!(lingering.order.len(), MAX_CHANNELS);
        assert!(lingering.left.len() <= MAX_CHANNELS);
        assert!(lingering.contains(&id(29_999), now));
    }
}
