//! Carries out in order what this node has accepted to publish.
//!
//! A message is one call of a script, so that ids, history and pub/sub have the same order for all nodes.
//! Calls go out together. One whose answer was lost in a broken connection is made again; the script knows
//! by the message's number whether the first was carried out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use pullgate_compat::message::MessageId;
use redis::{Pipeline, Script, ServerError, Value, cmd, pipe};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::connection::{Link, Session};
use super::feed::Seen;
use super::names::Names;
use super::publish::{Batch, Prepared, Waiting};
use crate::clock::unix_time;
use crate::history::Unavailable;

/// Messages that go to Redis together.
const TOGETHER: usize = 256;
/// The same in bytes.
const TOGETHER_BYTES: usize = 4 << 20;

/// Before the next attempt, while Redis takes nothing (because it is full, say).
const PAUSE: Duration = Duration::from_millis(200);

/// What the script says of a message that it published before.
const DONE_BEFORE: Value = Value::Int(0);
/// What it says of one that it did not publish because the one before is missing.
const BEHIND: Value = Value::Int(-1);

/// Carries out what was accepted.
pub(super) struct Carrier {
    accepted: mpsc::UnboundedReceiver<Batch>,
    waiting: Arc<Waiting>,
    script: String,
    /// Its name in Redis.
    hash: String,
    /// Its first keys: both halves of the last id, and how many messages of this node Redis has published.
    keys: [String; 3],
    /// What the keys of messages begin with.
    messages: String,
    channel: String,
    channel_ttl: u64,
    /// How many that are, as far as this node was told.
    carried: u64,
    under_way: VecDeque<UnderWay>,
}

struct UnderWay {
    message: Prepared,
    /// Whether the next one is of another request.
    is_last: bool,
    /// Who waits for the whole request. Goes from each of its messages to the next, until it is answered.
    request: Option<oneshot::Sender<Result<(), Unavailable>>>,
}

/// What Redis makes of a message.
enum Fate {
    Published(Option<MessageId>),
    /// It is to be sent again: later, at once.
    Later(String),
    Again,
    /// It will never be published.
    Never(String),
}

impl Carrier {
    pub(super) fn new(
        names: &Names,
        node: &str,
        channel_ttl: Duration,
        accepted: mpsc::UnboundedReceiver<Batch>,
        waiting: Arc<Waiting>,
    ) -> Self {
        let script = without_comments(include_str!("publish.lua"));
        Self {
            accepted,
            waiting,
            hash: Script::new(&script).get_hash().to_owned(),
            script,
            keys: [
                names.start_date(),
                names.message_counter(),
                names.carried(node),
            ],
            messages: names.messages(),
            channel: names.published(node),
            channel_ttl: channel_ttl.as_secs(),
            carried: 0,
            under_way: VecDeque::new(),
        }
    }

    pub(super) async fn carry_out(mut self, link: Link, seen: Arc<Seen>) {
        while self.gather().await {
            let mut session = link.up().await;
            let mut calls = self.calls(seen.last());
            // The connection may be given up while an answer is awaited.
            let ended = session.clone();
            let answers = tokio::select! {
                answers = session.commands.each(&mut calls) => answers,
                () = link.ended(&ended) => continue,
            };
            match answers {
                Ok(answers) => self.conclude(&link, &seen, answers).await,
                Err(why) => {
                    tracing::debug!(%why, "publishing is tried again");
                    pause(&link, &session).await;
                }
            }
        }
    }

    /// Waits until there is something to do, and takes as much as goes together; false at the end.
    async fn gather(&mut self) -> bool {
        if self.under_way.is_empty() {
            match self.accepted.recv().await {
                Some(batch) => self.take(batch),
                None => return false,
            }
        }
        while self.under_way.len() < TOGETHER
            && let Ok(batch) = self.accepted.try_recv()
        {
            self.take(batch);
        }
        true
    }

    fn take(&mut self, batch: Batch) {
        let count = batch.messages.len();
        let mut request = Some(batch.done);
        for (at, message) in batch.messages.into_iter().enumerate() {
            self.under_way.push_back(UnderWay {
                message,
                is_last: at + 1 == count,
                request: request.take(),
            });
        }
    }

    fn calls(&self, seen: MessageId) -> Pipeline {
        let now = unix_time().as_secs();
        let mut calls = pipe();
        let mut bytes = 0;
        for (number, UnderWay { message, .. }) in (self.carried + 1..).zip(&self.under_way) {
            bytes += message.size();
            let first = number == self.carried + 1;
            if !first && bytes > TOGETHER_BYTES {
                break;
            }
            // The first brings the script along, so Redis knows it when the others come.
            let mut call = match first {
                true => cmd("EVAL"),
                false => cmd("EVALSHA"),
            };
            call.arg(if first { &self.script } else { &self.hash });
            call.arg(self.keys.len() + message.lists.len())
                .arg(&self.keys)
                .arg(&message.lists)
                .arg(number)
                .arg(u8::from(first))
                .arg(now)
                .arg(seen.to_string())
                .arg(message.expiry)
                .arg(self.channel_ttl)
                .arg(&self.channel)
                .arg(&message.before)
                .arg(&message.behind)
                .arg(message.message_at + 1)
                .arg(&self.messages);
            calls.add_command(call);
        }
        calls
    }

    /// In order, up to the first that must be sent again.
    async fn conclude(&mut self, link: &Link, seen: &Seen, answers: Vec<Value>) {
        for answer in answers {
            match fate(answer) {
                Fate::Published(id) => {
                    self.carried += 1;
                    if let Some(id) = id {
                        seen.raise(id);
                    }
                    self.conclude_one(Ok(()));
                }
                Fate::Again => return,
                Fate::Later(why) => {
                    tracing::debug!(why, "Redis does not take messages now");
                    if why.contains("READONLY") || why.contains("MASTERDOWN") {
                        link.suspect();
                    }
                    return sleep(PAUSE).await;
                }
                Fate::Never(why) => {
                    tracing::error!(why, "Redis refuses a message, which is lost");
                    self.waiting.refuse(1);
                    self.conclude_one(Err(Unavailable(why)));
                    // Those behind it were waiting for it.
                    return;
                }
            }
        }
    }

    /// A request is answered with its last message, or with the first that fails.
    fn conclude_one(&mut self, outcome: Result<(), Unavailable>) {
        let Some(first) = self.under_way.pop_front() else {
            return;
        };
        self.waiting.leave(1, first.message.size());
        let Some(request) = first.request else { return };
        match self.under_way.front_mut() {
            Some(next) if outcome.is_ok() && !first.is_last => next.request = Some(request),
            Some(_) | None => {
                // The publisher may have been answered already.
                let _ = request.send(outcome);
            }
        }
    }
}

/// Until there is another connection, or for a while.
async fn pause(link: &Link, session: &Session) {
    let _ = timeout(PAUSE, link.ended(session)).await;
}

fn fate(answer: Value) -> Fate {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the script gives no other answers"
    )]
    match answer {
        DONE_BEFORE => Fate::Published(None),
        BEHIND => Fate::Again,
        Value::ServerError(error) if is_passing(&error) => Fate::Later(text(&error)),
        Value::ServerError(error) => Fate::Never(text(&error)),
        Value::BulkString(id) => Fate::Published(MessageId::from_slice(&id)),
        other => Fate::Never(format!("an unknown answer: {other:?}")),
    }
}

/// Whether the same call may be taken later. Redis before 7 hides the code of an error within a script
/// in the text.
fn is_passing(error: &ServerError) -> bool {
    const CODES: [&str; 9] = [
        "BUSY",
        "CLUSTERDOWN",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",
        "NOREPLICAS",
        "NOSCRIPT",
        "OOM",
        "READONLY",
    ];
    let text = text(error);
    CODES
        .iter()
        .any(|code| text.starts_with(code) || text.contains(&format!("-{code} ")))
}

fn text(error: &ServerError) -> String {
    format!("{} {}", error.code(), error.details().unwrap_or_default())
}

fn without_comments(script: &str) -> String {
    script
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use pullgate_compat::channel::{ChannelId, Receiver};
    use pullgate_compat::message::{Body, Message, Sender};
    use pullgate_compat::wire::Recipient;

    use super::*;
    use crate::history::redis::publish::Publication;

    fn message() -> Prepared {
        let publication = Publication {
            message: Message {
                id: MessageId::MIN,
                body: Body::from("hello"),
                expiry: 60,
                created: 1_700_000_000,
                sender: Sender::Backend,
            },
            recipients: vec![Recipient {
                receiver: Receiver::Private(ChannelId::from_bytes([7; 16])),
                signature: Vec::new(),
            }],
        };
        Prepared::new(publication, &Names::default())
    }

    #[test]
    fn each_publisher_hears_of_its_own_messages() {
        let (_, accepted) = mpsc::unbounded_channel();
        let (names, waiting) = (Names::default(), Arc::new(Waiting::default()));
        let mut carrier = Carrier::new(&names, "n0de", Duration::from_secs(60), accepted, waiting);
        let mut outcomes = Vec::new();
        for count in [3, 2, 1] {
            let (done, outcome) = oneshot::channel();
            let messages: Vec<Prepared> = (0..count).map(|_| message()).collect();
            carrier.waiting.enter(&messages).unwrap();
            carrier.take(Batch { messages, done });
            outcomes.push(outcome);
        }
        for refused in [false, true, true] {
            carrier.conclude_one(match refused {
                true => Err(Unavailable("no".to_owned())),
                false => Ok(()),
            });
        }
        assert!(outcomes[0].try_recv().unwrap().is_err());
        for is_done in [false, true] {
            assert!(outcomes[1].try_recv().is_err(), "answered too early");
            carrier.conclude_one(Ok(()));
            assert!(outcomes[2].try_recv().is_err());
            if is_done {
                assert!(outcomes[1].try_recv().unwrap().is_ok());
            }
        }
        carrier.conclude_one(Ok(()));
        assert!(outcomes[2].try_recv().unwrap().is_ok());
        assert!(carrier.under_way.is_empty());
    }

    #[test]
    fn the_script_has_no_comments_left() {
        let script = without_comments(include_str!("publish.lua"));
        assert!(!script.contains("--") && script.contains("SETEX"));
    }
}
