//! What all nodes publish, this one too, as one stream: from pub/sub to the hub.
//!
//! pullgate nodes publish in the order of ids. Push server processes ask for an id first and publish a
//! little later, so theirs may come slightly out of order.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use pullgate_compat::channel::Receiver;
use pullgate_compat::message::{Message, MessageId};
use pullgate_compat::wire::{Content, Notification, decode_notifications};
use redis::aio::{PubSub, PubSubStream};
use redis::{Msg, RedisError};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::Audience;
use super::commands::{Commands, MANY};
use super::connection::Lost;
use super::names::Names;

/// Between two signs of life that the node sends to itself,
const BEAT: Duration = Duration::from_secs(2);
/// and the longest time without any message.
const SILENCE: Duration = Duration::from_secs(7);

/// What a session says to itself on the channel for signs of life, and its number: what was published before
/// has come when this comes.
const MARK: &str = "begun ";

/// Ids kept to tell what a gap has swallowed from what had come before it. As many as may be published
/// while a push server process stores one message.
const REMEMBERED: usize = 4096;

/// For how long what filled a gap may come over pub/sub as well.
const OVERLAP: Duration = Duration::from_secs(30);

/// Messages of a gap that are in memory at a time: each may be as long as any.
const FILLING: usize = 16;

/// The greatest id that this node knows, or has delivered.
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
    /// The pattern of the channels on which all nodes publish.
    published: String,
    /// The channel for signs of life.
    beats: String,
    /// Sessions so far.
    sessions: u64,
    audience: Arc<dyn Audience>,
    seen: Arc<Seen>,
    delivered: Arc<Seen>,
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

/// What is to be delivered of a gap.
struct Due {
    receivers: Vec<Receiver>,
    /// None: it is to be read.
    message: Option<Arc<Message>>,
}

/// What the last gap was filled with.
#[derive(Debug, Default)]
struct Filled {
    ids: HashSet<MessageId>,
    until: Option<Instant>,
}

impl Feed {
    pub(super) fn new(
        names: &Names,
        node: &str,
        audience: Arc<dyn Audience>,
        seen: Arc<Seen>,
        delivered: Arc<Seen>,
    ) -> Self {
        Self {
            published: names.published_anywhere(),
            beats: names.beats(node),
            sessions: 0,
            audience,
            seen,
            delivered,
            recent: Recent::default(),
            filled: Filled::default(),
        }
    }

    /// Delivers until the connections are of no use. `up` is called when nothing can be missed any more.
    pub(super) async fn run(
        &mut self,
        mut redis: Commands,
        messages: PubSub,
        up: impl FnOnce(),
    ) -> Lost {
        let (mut sink, mut stream) = messages.split();
        let (published, beats) = (self.published.clone(), self.beats.clone());
        self.sessions += 1;
        let mark = format!("{MARK}{}", self.sessions);
        let begin = async {
            sink.psubscribe(&published).await?;
            sink.subscribe(&beats).await?;
            let begun = redis.last_given().await?;
            redis.publish(&beats, &mark).await?;
            Ok(begun)
        };
        // What has an id up to this one and is stored may not come over pub/sub. All others do.
        let begun = match begin.await {
            Ok(begun) => begun.unwrap_or(MessageId::MIN),
            Err(why) => return Lost::Redis(why),
        };
        self.seen.raise(begun);
        // Who has registered before is among those for whom the gap is filled.
        self.delivered.raise(begun);
        up();
        let beating = beat(redis.clone(), &beats);
        let delivering = async {
            // These are delivered with what is read, by their ids: one that is not stored would come behind
            // later ones otherwise.
            let early = match self.until(&mut stream, &mark).await {
                Ok(early) => early,
                Err(why) => return why,
            };
            self.fill(&mut redis, begun, early).await;
            loop {
                match next(&mut stream).await {
                    Ok(message) => self.take(&mut redis, &message).await,
                    Err(why) => return why,
                }
            }
        };
        tokio::select! {
            why = delivering => why,
            why = beating => why,
        }
    }

    /// What comes before this sign of life.
    async fn until(
        &self,
        stream: &mut PubSubStream,
        mark: &str,
    ) -> Result<Vec<Notification>, Lost> {
        let mut early = Vec::new();
        loop {
            let message = next(stream).await?;
            if message.get_channel_name() != self.beats {
                early.extend(notifications(&message));
            } else if message.get_payload_bytes() == mark.as_bytes() {
                return Ok(early);
            }
        }
    }

    async fn take(&mut self, redis: &mut Commands, message: &Msg) {
        if message.get_channel_name() == self.beats {
            return self.filled.forget();
        }
        for notification in notifications(message) {
            let id = notification.content.id();
            if self.filled.ids.contains(&id) {
                continue;
            }
            self.deliver(redis, vec![(id, notification.into())]).await;
        }
    }

    /// Delivers what was stored since the last session, up to `begun`, and what came `early` in this one.
    async fn fill(&mut self, redis: &mut Commands, begun: MessageId, early: Vec<Notification>) {
        let mut due = match self.recent.complete_after {
            None => {
                self.recent.complete_after = Some(begun);
                BTreeMap::new()
            }
            Some(after) => match self.missed(redis, after, begun).await {
                Ok(missed) => missed,
                Err(why) => {
                    tracing::warn!(%why, "what was stored while Redis was unreachable cannot be read");
                    BTreeMap::new()
                }
            },
        };
        if !due.is_empty() {
            tracing::info!(
                messages = due.len(),
                "what was stored while Redis was unreachable is delivered"
            );
        }
        // The process that stored it may tell of it only now.
        self.filled.until = Some(Instant::now() + OVERLAP);
        self.filled.ids.extend(due.keys());
        for notification in early {
            due.insert(notification.content.id(), notification.into());
        }
        let mut due = due.into_iter();
        while due.len() > 0 {
            let some = due.by_ref().take(FILLING).collect();
            self.deliver(redis, some).await;
        }
    }

    /// Delivers messages in this order; those that are not there yet are read.
    async fn deliver(&mut self, redis: &mut Commands, mut due: Vec<(MessageId, Due)>) {
        let unread: Vec<MessageId> = due
            .iter()
            .filter(|(_, due)| due.message.is_none())
            .map(|(id, _)| *id)
            .collect();
        match redis.fetch(&unread).await {
            Ok(messages) => {
                for message in messages {
                    if let Some((_, due)) = due.iter_mut().find(|(id, _)| *id == message.id) {
                        due.message = Some(message);
                    }
                }
            }
            Err(why) => {
                tracing::warn!(messages = unread.len(), %why, "messages cannot be read");
            }
        }
        for (id, due) in due {
            let Some(message) = due.message else { continue };
            self.seen.raise(id);
            self.recent.add(id);
            // First: who registers in between has it twice, and sees that.
            self.delivered.raise(id);
            self.audience.deliver(message, &due.receivers);
        }
    }

    /// What is listed after `after` up to `until` for those who listen here, and has not come.
    async fn missed(
        &self,
        redis: &mut Commands,
        after: MessageId,
        until: MessageId,
    ) -> Result<BTreeMap<MessageId, Due>, RedisError> {
        let had: HashSet<MessageId> = self.recent.ids.iter().copied().collect();
        let mut missed: BTreeMap<MessageId, Due> = BTreeMap::new();
        for receivers in self.audience.listening().chunks(MANY) {
            let listed = redis.listed_between(receivers, after, until).await?;
            for (receiver, ids) in receivers.iter().zip(listed) {
                for id in ids.into_iter().filter(|id| !had.contains(id)) {
                    let unread = || Due {
                        receivers: Vec::new(),
                        message: None,
                    };
                    let due = missed.entry(id).or_insert_with(unread);
                    due.receivers.push(*receiver);
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

impl From<Notification> for Due {
    fn from(notification: Notification) -> Self {
        let recipients = notification.recipients.iter();
        Self {
            receivers: recipients.map(|recipient| recipient.receiver).collect(),
            message: match notification.content {
                Content::Message(message) => Some(Arc::new(message)),
                Content::Stored(_) => None,
            },
        }
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

/// What comes next, if it comes in time.
async fn next(stream: &mut PubSubStream) -> Result<Msg, Lost> {
    match timeout(SILENCE, stream.next()).await {
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err(Lost::Closed),
        Err(_) => Err(Lost::Silent),
    }
}

fn notifications(message: &Msg) -> Vec<Notification> {
    decode_notifications(message.get_payload_bytes()).unwrap_or_else(|why| {
        let channel = message.get_channel_name();
        tracing::warn!(channel, %why, "a node published what is no notification");
        Vec::new()
    })
}

/// Publishes signs of life, until that fails.
async fn beat(mut redis: Commands, channel: &str) -> Lost {
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        if let Err(why) = redis.publish(channel, "").await {
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
