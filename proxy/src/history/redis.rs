//! History, delivery and presence shared by several nodes through Redis: pullgate's and those of push
//! server 0.4.0, whose keys and messages these are.
//!
//! | module | what |
//! |---|---|
//! | [`address`] | which Redis |
//! | [`names`] | of keys, and of channels in pub/sub |
//! | [`connection`] | makes and watches the connections |
//! | [`commands`] | what is said to Redis |
//! | [`publish`] | what this node accepts, and what waits |
//! | [`carrier`] | from this node to Redis, in order |
//! | [`feed`] | from Redis to the hub, all nodes' messages |
//! | [`presence`] | who is online here, for the others |
//!
//! All of it runs on a thread of its own. [`Redis`] is what the cores hold of it. Everything that the
//! hub delivers comes back from Redis, this node's own messages too: so all nodes deliver in one order.

pub(crate) mod address;
mod carrier;
mod commands;
mod connection;
mod feed;
pub(crate) mod names;
mod presence;
pub(crate) mod publish;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pullgate_compat::channel::Receiver;
use pullgate_compat::guest::GuestId;
use pullgate_compat::message::{Message, MessageId};
use redis::RedisError;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::{Fetched, Unavailable};
use address::Place;
use carrier::Carrier;
use commands::Commands;
use connection::{Keeper, Link};
use feed::{Feed, Seen};
use names::Names;
use presence::{Marks, Presence};
use publish::{Publication, Queue, Refused};

/// How long somebody waits who wants to know something from Redis.
const PATIENCE: Duration = Duration::from_secs(3);

/// The same for what can be answered without.
const LITTLE_PATIENCE: Duration = Duration::from_millis(500);

/// At the end of the process, for what was accepted.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// News of who came and who left that may wait.
const MAX_PRESENCE: usize = 20_000;

/// How long push server keeps a channel online without a sign of life.
const ONLINE_SECONDS: u64 = 130;

/// What this node knows of the counter from which all nodes take numbers for guests, in case that Redis has
/// lost it.
pub(crate) struct Counter<'a> {
    /// The greatest number that this node has heard of.
    pub(crate) at_least: u64,
    /// Numbers to leave out if Redis knows less: there may be some that this node never heard of.
    pub(crate) margin: u64,
    /// No number below this one is taken; what is jumped over for it is remembered.
    pub(crate) first: u64,
    /// What was jumped over before.
    pub(crate) skipped: &'a [Range<u64>],
}

/// A counter that was raised.
pub(crate) struct Raised {
    pub(crate) last: u64,
    /// The greatest number that was left out because Redis had lost some, now or before; 0: none.
    pub(crate) lost: u64,
    /// Whether that was now.
    pub(crate) is_news: bool,
    /// What the counter ever jumped over.
    pub(crate) skipped: Vec<Range<u64>>,
}

/// Those who listen at this node: the hub.
pub(crate) trait Audience: Send + Sync {
    /// Delivers a message to those of `receivers` that are here.
    fn deliver(&self, message: Arc<Message>, receivers: &[Receiver]);

    /// What somebody here listens to.
    fn listening(&self) -> Vec<Receiver>;

    /// Those of the channels that nobody here listens to, nor is about to again.
    fn left(&self, receivers: Vec<Receiver>) -> Vec<Receiver>;
}

/// How to use Redis.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) place: Place,
    /// How long a channel's list of messages lives.
    pub(crate) channel_ttl: Duration,
    /// Time between two signs of life of a subscriber.
    pub(crate) ping_interval: Duration,
}

/// Redis, as the cores see it.
pub(crate) struct Redis {
    link: Link,
    queue: Queue,
    seen: Arc<Seen>,
    /// The greatest id that was delivered.
    delivered: Arc<Seen>,
    /// Who came and who left. A few lost signs of life do no harm: others come before the mark is gone.
    presence: mpsc::Sender<Presence>,
    /// What the thread will run, until it is started.
    work: Mutex<Option<Work>>,
    /// Ends it.
    closed: Arc<Notify>,
}

struct Work {
    node: String,
    names: Arc<Names>,
    keeper: Keeper,
    carrier: Carrier,
    presence: mpsc::Receiver<Presence>,
    online_seconds: u64,
}

impl Redis {
    /// Nothing happens before [`Redis::start`].
    pub(crate) fn new(settings: Settings) -> Result<Self, getrandom::Error> {
        let node = node_name()?;
        let names = Arc::new(settings.place.names);
        let (keeper, link) = connection::link(settings.place.address, Arc::clone(&names));
        let (queue, carrier) = Queue::new(Arc::clone(&names), &node, settings.channel_ttl);
        let (sender, presence) = mpsc::channel(MAX_PRESENCE);
        // A mark must outlive the next sign of life.
        let online_seconds = ONLINE_SECONDS.max(settings.ping_interval.as_secs() + 10);
        Ok(Self {
            link,
            queue,
            seen: Arc::new(Seen::nothing()),
            delivered: Arc::new(Seen::nothing()),
            presence: sender,
            work: Mutex::new(Some(Work {
                node,
                names,
                keeper,
                carrier,
                presence,
                online_seconds,
            })),
            closed: Arc::default(),
        })
    }

    /// Starts the thread, which delivers to `audience`.
    pub(crate) fn start(&self, audience: Arc<dyn Audience>) -> std::io::Result<()> {
        let work = self
            .work
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(work) = work else { return Ok(()) };
        // Whoever installed one before has the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (link, seen) = (self.link.clone(), Arc::clone(&self.seen));
        let (delivered, closed) = (Arc::clone(&self.delivered), Arc::clone(&self.closed));
        std::thread::Builder::new()
            .name("redis".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let (ours, known) = (Arc::clone(&audience), Arc::clone(&seen));
                    let feed = Feed::new(&work.names, &work.node, ours, known, delivered);
                    let carrying = work.carrier.carry_out(link.clone(), seen);
                    let marks = Marks::new(work.node, audience, link, work.online_seconds);
                    let marking = marks.keep(work.presence);
                    tokio::select! {
                        _ = async { tokio::join!(work.keeper.keep(feed), carrying, marking) } => {}
                        () = closed.notified() => {}
                    }
                });
            })?;
        Ok(())
    }

    /// Accepts messages, see [`Queue::publish`].
    pub(crate) async fn publish(&self, publications: Vec<Publication>) -> Result<(), Refused> {
        self.queue.publish(publications).await
    }

    /// The newest ids of each of `receivers` after `after`, newest first.
    pub(crate) async fn listed(
        &self,
        receivers: &[Receiver],
        after: MessageId,
    ) -> Result<Vec<Vec<MessageId>>, Unavailable> {
        self.ask(PATIENCE, async |redis| redis.listed(receivers, after).await)
            .await
    }

    /// See [`super::Archive::fetch`].
    pub(crate) async fn fetch(
        &self,
        ids: &[MessageId],
        room: usize,
    ) -> Result<Fetched, Unavailable> {
        self.ask(PATIENCE, async |redis| redis.fetch_some(ids, room).await)
            .await
    }

    /// The greatest id that this node knows.
    pub(crate) fn last_id(&self) -> MessageId {
        self.seen.last()
    }

    /// See [`super::Archive::delivered`]. None before anything is known of ids.
    pub(crate) fn delivered(&self) -> Option<MessageId> {
        Some(self.delivered.last()).filter(|last| *last > MessageId::MIN)
    }

    /// Tells the other nodes that somebody listens here.
    pub(crate) fn mark_online(&self, receivers: &[Receiver]) {
        // Full while Redis is slow, or a client sends signs without end. Half is for those who leave.
        if self.presence.capacity() > MAX_PRESENCE / 2 {
            let _ = self.presence.try_send(Presence::Here(receivers.into()));
        }
    }

    /// Tells them that nobody listens here any more, if that is still so after some time.
    pub(crate) fn left(&self, receivers: Vec<Receiver>, after: Duration) {
        if !receivers.is_empty() {
            // One that is lost leaves a mark that goes by itself.
            let _ = self.presence.try_send(Presence::Left(receivers, after));
        }
    }

    /// Which of the channels somebody listens to, at any node; none while Redis is unreachable.
    pub(crate) async fn online(&self, receivers: &[&Receiver]) -> Vec<bool> {
        let nobody = vec![false; receivers.len()];
        if receivers.is_empty() {
            return nobody;
        }
        self.ask(LITTLE_PATIENCE, async |redis| redis.online(receivers).await)
            .await
            .unwrap_or(nobody)
    }

    /// Leaves this process's statistics for the others, as soon as Redis is there.
    pub(crate) async fn report(&self, process: &str, statistics: &str) {
        let mut session = self.link.up().await;
        if let Err(why) = session.commands.report(process, statistics).await {
            tracing::debug!(%why, "statistics cannot be left in Redis");
        }
    }

    /// What processes left, by process; nothing while Redis is unreachable.
    pub(crate) async fn reports(&self) -> Vec<(String, String)> {
        self.ask(LITTLE_PATIENCE, async |redis| redis.reports().await)
            .await
            .unwrap_or_default()
    }

    /// Takes away what processes left that are gone.
    pub(crate) async fn forget_reports(&self, processes: &[String]) {
        // Whoever reads next tries again.
        let _ = self
            .ask(LITTLE_PATIENCE, async |redis| {
                redis.forget_reports(processes).await
            })
            .await;
    }

    /// The last of a guest's messages that went to the user it became.
    pub(crate) async fn moved(&self, guest: GuestId) -> Result<Option<MessageId>, Unavailable> {
        self.ask(PATIENCE, async |redis| redis.moved(guest).await)
            .await
    }

    /// Sets for so many seconds what [`Redis::moved`] says, if it still says `from`; otherwise false.
    pub(crate) async fn set_moved(
        &self,
        guest: GuestId,
        from: Option<MessageId>,
        last: MessageId,
        seconds: u32,
    ) -> Result<bool, Unavailable> {
        self.ask(PATIENCE, async |redis| {
            redis.set_moved(guest, from, last, seconds).await
        })
        .await
    }

    /// Reserves `count` numbers for guests that no node has, up to `last`. With a `count` of 0 that is the greatest number
    /// that any node has.
    pub(crate) async fn reserve(
        &self,
        counter: &Counter<'_>,
        count: u64,
    ) -> Result<Raised, Unavailable> {
        self.ask(PATIENCE, async |redis| redis.reserve(counter, count).await)
            .await
    }

    /// For how long Redis has been unreachable.
    pub(crate) fn unreachable(&self) -> Option<Duration> {
        self.link.away_since().map(|since| since.elapsed())
    }

    /// How often there was a connection.
    pub(crate) fn connections(&self) -> u64 {
        self.link.sessions()
    }

    /// Messages that wait for Redis.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// Messages that were not accepted, or that Redis refused.
    pub(crate) fn refused(&self) -> u64 {
        self.queue.refused()
    }

    /// Waits for what was accepted to be carried out, not for long, and ends the thread with its connections.
    pub(crate) fn close(&self) {
        let began = std::time::Instant::now();
        while self.waiting() > 0 && began.elapsed() < LAST_PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        if self.waiting() > 0 {
            tracing::error!(lost = self.waiting(), "messages could not be published");
        }
        self.closed.notify_one();
    }

    /// Asks as soon as there is a connection, all within some time.
    async fn ask<T>(
        &self,
        within: Duration,
        question: impl AsyncFnOnce(&mut Commands) -> Result<T, RedisError>,
    ) -> Result<T, Unavailable> {
        let answer = async {
            let mut session = self.link.within(within).await?;
            let ended = session.clone();
            tokio::select! {
                answer = question(&mut session.commands) => {
                    answer.map_err(|why| Unavailable(why.to_string()))
                }
                () = self.link.ended(&ended) => Err(unreachable()),
            }
        };
        timeout(within, answer)
            .await
            .unwrap_or_else(|_| Err(unreachable()))
    }
}

fn unreachable() -> Unavailable {
    Unavailable("Redis is unreachable".to_owned())
}

/// What push server calls its nodes: eight random digits and letters.
fn node_name() -> Result<String, getrandom::Error> {
    const LETTERS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut random = [0; 8];
    getrandom::fill(&mut random)?;
    let letter = |byte: &u8| LETTERS.get(usize::from(*byte) % LETTERS.len());
    Ok(random
        .iter()
        .filter_map(letter)
        .map(|letter| char::from(*letter))
        .collect())
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("queue", &self.queue).finish()
    }
}
