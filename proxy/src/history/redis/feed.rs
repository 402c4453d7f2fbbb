//! What all nodes publish, this one too, as one stream: from pub/sub to the hub.
//!
//! pullgate nodes publish in the order of ids. Push server processes ask for an id first and publish a
//! little later, so theirs may come slightly out of order.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use pullgate_compat::channel::Receiver;
use pullgate_compat::message::MessageId;
use pullgate_compat::wire::{Content, Notification, decode_notifications};
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{Msg, RedisError};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::connection::Lost;
use super::{Audience, commands};

/// Everybody who publishes does it on a channel of this form; the end is the node's name.
const PATTERN: &str = "pushserver:*";

/// Between two signs of life that the node sends to itself,
const BEAT: Duration = Duration::from_secs(2);
/// and the longest time without any message.
const SILENCE: Duration = Duration::from_secs(7);

/// Ids kept to tell what a gap has swallowed from what had come before it. As many as may be published
/// while a push server process stores one message.
const REMEMBERED: usize = 4096;

/// For how long what filled a gap may come over pub/sub as well.
const OVERLAP: Duration = Duration::from_secs(30);

/// Messages of a gap that are in memory at a time: each may be as long as any.
const FILLING: usize = 16;

/// The greatest id that this node knows.
#[derive(Debug)]
pub(super) struct Seen(Mutex<MessageId>);

impl Seen {
    pub(super) fn nothing() -> Self {
        Self(Mutex::new(MessageId::MIN))
    }

    pub(super) fn raise(&self, id: MessageId) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = id.max(*seen);
    }

    pub(super) fn last(&self) -> MessageId {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the stream of one session after the other, and what was stored between them.
pub(super) struct Feed {
    /// The channel for signs of life.
    beats: String,
    audience: Arc<dyn Audience>,
    seen: Arc<Seen>,
    recent: Recent,
    filled: Filled,
}

/// What came lately.
#[derive(Debug, Default)]
struct Recent {
    ids: VecDeque<MessageId>,
    /// Whatever came and is greater than this is among the ids. `None` before the first session.
    complete_after: Option<MessageId>,
}

/// What the last gap was filled with.
#[derive(Debug, Default)]
struct Filled {
    ids: HashSet<MessageId>,
    until: Option<Instant>,
}

impl Feed {
    pub(super) fn new(node: &str, audience: Arc<dyn Audience>, seen: Arc<Seen>) -> Self {
        Self {
            beats: format!("pullgate:{node}"),
            audience,
            seen,
            recent: Recent::default(),
            filled: Filled::default(),
        }
    }

    /// Delivers until the connections are of no use. `up` is called when nothing can be missed any more.
    pub(super) async fn run(
        &mut self,
        mut redis: MultiplexedConnection,
        messages: PubSub,
        up: impl FnOnce(),
    ) -> Lost {
        let (mut sink, mut stream) = messages.split();
        let beats = self.beats.clone();
        let begin = async {
            sink.psubscribe(PATTERN).await?;
            sink.subscribe(&beats).await?;
            commands::last_given(&mut redis).await
        };
        // What has an id up to this one and is stored may not come over pub/sub. All others do.
        let begun = match begin.await {
            Ok(begun) => begun.unwrap_or(MessageId::MIN),
            Err(why) => return why.into(),
        };
        self.seen.raise(begun);
        up();
        let beating = beat(redis.clone(), &beats);
        let delivering = async {
            self.fill(&mut redis, begun).await;
            let mut heard = Instant::now();
            loop {
                match timeout_at(heard + SILENCE, stream.next()).await {
                    Ok(Some(message)) => self.take(&mut redis, &message).await,
                    Ok(None) => return Lost::Closed,
                    Err(_) => return Lost::Silent,
                }
                heard = Instant::now();
            }
        };
        tokio::select! {
            why = delivering => why,
            why = beating => why,
        }
    }

    async fn take(&mut self, redis: &mut MultiplexedConnection, message: &Msg) {
        if message.get_channel_name() == self.beats {
            return self.filled.forget();
        }
        match decode_notifications(message.get_payload_bytes()) {
            Ok(notifications) => {
                for notification in notifications {
                    self.notified(redis, notification).await;
                }
            }
            Err(why) => {
                let channel = message.get_channel_name();
                tracing::warn!(channel, %why, "a node published what is no notification");
            }
        }
    }

    async fn notified(&mut self, redis: &mut MultiplexedConnection, notification: Notification) {
        let message = match notification.content {
            Content::Message(message) => Some(Arc::new(message)),
            Content::Stored(id) => match commands::fetch(redis, &[id]).await {
                Ok(found) => found.into_iter().next(),
                Err(why) => return tracing::warn!(%id, %why, "a message cannot be read"),
            },
        };
        let Some(message) = message else { return };
        self.seen.raise(message.id);
        self.recent.add(message.id);
        if !self.filled.ids.contains(&message.id) {
            let receivers: Vec<Receiver> = notification
                .recipients
                .iter()
                .map(|recipient| recipient.receiver)
                .collect();
            self.audience.deliver(message, &receivers);
        }
    }

    /// Delivers what was stored since the last session, up to `begun`.
    async fn fill(&mut self, redis: &mut MultiplexedConnection, begun: MessageId) {
        let Some(after) = self.recent.complete_after else {
            self.recent.complete_after = Some(begun);
            return;
        };
        let missed = match self.missed(redis, after, begun).await {
            Ok(missed) => missed,
            Err(why) => {
                return tracing::warn!(%why, "what was stored while Redis was unreachable cannot be read");
            }
        };
        self.filled.until = Some(Instant::now() + OVERLAP);
        self.filled.ids.extend(missed.keys());
        let mut delivered = 0;
        let ids: Vec<MessageId> = missed.keys().copied().collect();
        for ids in ids.chunks(FILLING) {
            let messages = match commands::fetch(redis, ids).await {
                Ok(messages) => messages,
                Err(why) => {
                    return tracing::warn!(%why, "what was stored while Redis was unreachable cannot be read");
                }
            };
            for message in messages {
                self.recent.add(message.id);
                if let Some(receivers) = missed.get(&message.id) {
                    delivered += 1;
                    self.audience.deliver(message, receivers);
                }
            }
        }
        if delivered > 0 {
            tracing::info!(
                delivered,
                "what was stored while Redis was unreachable is delivered"
            );
        }
    }

    /// What is listed after `after` up to `until` for those who listen here, and has not come.
    async fn missed(
        &self,
        redis: &mut MultiplexedConnection,
        after: MessageId,
        until: MessageId,
    ) -> Result<BTreeMap<MessageId, Vec<Receiver>>, RedisError> {
        let had: HashSet<MessageId> = self.recent.ids.iter().copied().collect();
        let mut missed: BTreeMap<MessageId, Vec<Receiver>> = BTreeMap::new();
        for receivers in self.audience.listening().chunks(commands::MANY) {
            let listed = commands::listed_between(redis, receivers, after, until).await?;
            for (receiver, ids) in receivers.iter().zip(listed) {
                for id in ids.into_iter().filter(|id| !had.contains(id)) {
                    missed.entry(id).or_default().push(*receiver);
                }
            }
        }
        Ok(missed)
    }
}

impl Recent {
    fn add(&mut self, id: MessageId) {
        if self.ids.len() >= REMEMBERED {
            let oldest = self.ids.pop_front();
            self.complete_after = self.complete_after.max(oldest);
        }
        self.ids.push_back(id);
    }
}

impl Filled {
    /// Once what filled the gap can no longer come over pub/sub.
    fn forget(&mut self) {
        if self.until.is_some_and(|until| until < Instant::now()) {
            *self = Self::default();
        }
    }
}

/// Publishes signs of life, until that fails.
async fn beat(mut redis: MultiplexedConnection, channel: &str) -> Lost {
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        if let Err(why) = commands::publish(&mut redis, channel, "").await {
            return why.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(counter: u64) -> MessageId {
        MessageId::new(1_700_000_000, counter)
    }

    #[test]
    fn a_node_knows_the_greatest_id() {
        let seen = Seen::nothing();
        for counter in [3, 5, 4] {
            seen.raise(id(counter));
        }
        assert_eq!(seen.last(), id(5));
    }

    #[test]
    fn what_is_forgotten_is_told_by_its_id() {
        let mut recent = Recent::default();
        for counter in 1..=REMEMBERED as u64 + 2 {
            recent.add(id(counter));
        }
        assert_eq!(recent.complete_after, Some(id(2)));
        assert_eq!(recent.ids.len(), REMEMBERED);
        assert_eq!(recent.ids.front(), Some(&id(3)));
    }
}
