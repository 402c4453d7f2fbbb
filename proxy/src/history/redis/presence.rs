//! Who is online, for the other nodes: marks that go when the last node has left a channel, and by themselves when
//! nobody renews them.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use pullgate_compat::channel::Receiver;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Audience;
use super::commands::MANY;
use super::connection::{Link, Session};

/// What happened to channels at this node.
pub(super) enum Presence {
    /// Somebody listens, and was there just now.
    Here(Box<[Receiver]>),
    /// Nobody listens any more, which counts after this time.
    Left(Vec<Receiver>, Duration),
}

/// The marks of this node.
pub(super) struct Marks {
    node: String,
    audience: Arc<dyn Audience>,
    link: Link,
    /// How long a mark lives without a sign of life.
    seconds: u64,
    /// What was left, and when that counts. The times are one and the same for all that wait, so they are in order.
    leaving: VecDeque<(Instant, Vec<Receiver>)>,
}

impl Marks {
    pub(super) fn new(node: String, audience: Arc<dyn Audience>, link: Link, seconds: u64) -> Self {
        Self {
            node,
            audience,
            link,
            seconds,
            leaving: VecDeque::new(),
        }
    }

    /// Sets marks and takes them away. While Redis is unreachable there are none to renew; when it is back all are set.
    pub(super) async fn keep(mut self, mut presence: mpsc::Receiver<Presence>) {
        let mut seen = 0;
        let mut news: Vec<Presence> = Vec::new();
        loop {
            let due = self.leaving.front().map(|(due, _)| *due);
            tokio::select! {
                (number, mut session) = self.link.next(seen) => {
                    seen = number;
                    let listening = self.audience.listening();
                    self.mark(&mut session, &listening).await;
                }
                count = presence.recv_many(&mut news, MANY) => {
                    if count == 0 {
                        return;
                    }
                    self.hear(news.drain(..)).await;
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if let Some((_, receivers)) = self.leaving.pop_front() {
                        self.leave(receivers).await;
                    }
                }
            }
        }
    }

    async fn hear(&mut self, news: impl Iterator<Item = Presence>) {
        let mut here: HashSet<Receiver> = HashSet::new();
        let mut left: Vec<Receiver> = Vec::new();
        for presence in news {
            match presence {
                Presence::Here(receivers) => here.extend(receivers),
                Presence::Left(receivers, after) if after.is_zero() => left.extend(receivers),
                Presence::Left(receivers, after) => {
                    self.leaving.push_back((Instant::now() + after, receivers));
                }
            }
        }
        let here: Vec<Receiver> = here.into_iter().collect();
        if let Some(mut session) = self.link.now() {
            self.mark(&mut session, &here).await;
        }
        // Whoever came back meanwhile is among the listening.
        self.leave(left).await;
    }

    async fn mark(&self, session: &mut Session, receivers: &[Receiver]) {
        for some in receivers.chunks(MANY) {
            let marked = session.commands.mark_online(&self.node, some, self.seconds);
            if let Err(why) = marked.await {
                tracing::warn!(%why, "channels cannot be marked as online");
                break;
            }
        }
    }

    async fn leave(&self, receivers: Vec<Receiver>) {
        let receivers = self.audience.left(receivers);
        let Some(mut session) = self.link.now() else {
            return;
        };
        for some in receivers.chunks(MANY) {
            if let Err(why) = session.commands.leave(&self.node, some).await {
                tracing::warn!(%why, "channels cannot be marked as left");
                break;
            }
        }
    }
}
