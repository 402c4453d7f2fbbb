//! What is counted of a site: who is connected, and what was asked for and published today.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pullgate_compat::message::MessageType;
use serde::Serialize;

use crate::clock::unix_time;

/// Kinds of messages that are counted apart. Publishers choose them, so there must be an end.
const MAX_KINDS: usize = 1000;

const SECONDS_PER_DAY: u64 = 86_400;

/// What is counted of one site.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    /// Open websockets of subscribers, counted by [`Connected`].
    websockets: AtomicUsize,
    /// Waiting long polls and streams of events, counted likewise.
    polls: AtomicUsize,
    daily: Mutex<Daily>,
}

/// Counted since midnight (UTC).
#[derive(Debug, Default, Clone, Serialize)]
pub(crate) struct Daily {
    #[serde(skip)]
    day: u64,
    requests: BTreeMap<Command, u64>,
    messages: BTreeMap<String, u64>,
}

/// What a trusted or a client's request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Command {
    IncomingMessages,
    ChannelStats,
    ServerStats,
}

/// How a subscriber is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Websocket,
    Poll,
}

/// A connected subscriber; dropping it counts it out.
#[derive(Debug)]
pub(crate) struct Connected<'a>(&'a AtomicUsize);

impl Statistics {
    /// Counts a protobuf request, or what stands for one.
    pub(crate) fn request(&self, command: Command) {
        *self.today().requests.entry(command).or_default() += 1;
    }

    /// Counts a published message.
    pub(crate) fn message(&self, kind: &MessageType) {
        let mut today = self.today();
        if let Some(count) = today.messages.get_mut(kind.as_str()) {
            *count += 1;
            return;
        }
        let kind = match today.messages.len() {
            MAX_KINDS.. => MessageType::UNKNOWN.to_string(),
            _ => kind.to_string(),
        };
        *today.messages.entry(kind).or_default() += 1;
    }

    /// Counts a subscriber in.
    pub(crate) fn connected(&self, transport: Transport) -> Connected<'_> {
        let count = match transport {
            Transport::Websocket => &self.websockets,
            Transport::Poll => &self.polls,
        };
        count.fetch_add(1, Ordering::Relaxed);
        Connected(count)
    }

    pub(crate) fn websockets(&self) -> usize {
        self.websockets.load(Ordering::Relaxed)
    }

    pub(crate) fn polls(&self) -> usize {
        self.polls.load(Ordering::Relaxed)
    }

    pub(crate) fn daily(&self) -> Daily {
        self.today().clone()
    }

    fn today(&self) -> MutexGuard<'_, Daily> {
        let mut daily = self.daily.lock().unwrap_or_else(PoisonError::into_inner);
        let day = unix_time().as_secs() / SECONDS_PER_DAY;
        if daily.day != day {
            *daily = Daily {
                day,
                ..Daily::default()
            };
        }
        daily
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_apart_up_to_a_bound() {
        let statistics = Statistics::default();
        for kind in 0..2 * MAX_KINDS {
            statistics.message(&MessageType::parse(format!("kind-{kind}").as_bytes()));
        }
        statistics.message(&MessageType::parse(b"kind-0"));
        let today = statistics.today();
        assert_eq!(today.messages.get("kind-0"), Some(&2));
        assert_eq!(today.messages.get("unknown"), Some(&1000));
        assert_eq!(today.messages.len(), MAX_KINDS + 1);
    }

    #[test]
    fn a_new_day_begins_at_nothing() {
        let statistics = Statistics::default();
        statistics.request(Command::ChannelStats);
        assert_eq!(statistics.today().requests.len(), 1);
        statistics.today().day -= 1;
        assert_eq!(statistics.today().requests.len(), 0);
    }
}
