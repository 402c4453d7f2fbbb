//! What is said to Redis.

use std::sync::Arc;

use pullgate_compat::channel::Receiver;
use pullgate_compat::guest::GuestId;
use pullgate_compat::message::{Message, MessageId};
use pullgate_compat::wire::decode_message;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value, cmd, pipe};

use super::names::Names;
use super::{Counter, Raised};
use crate::clock::unix_time;
use crate::history::{CATCH_UP_PER_CHANNEL, Fetched};

/// For how long a process counts as one of pullgate's after its last report.
const PROCESS_SECONDS: u64 = 180;

/// Channels in one pipeline: enough to be quick, few enough for Redis to serve others between two.
pub(super) const MANY: usize = 500;

/// A connection, and the names for it.
#[derive(Clone)]
pub(super) struct Commands {
    connection: MultiplexedConnection,
    names: Arc<Names>,
}

impl Commands {
    pub(super) fn new(connection: MultiplexedConnection, names: Arc<Names>) -> Self {
        Self { connection, names }
    }

    /// The newest ids of each of `receivers` after `after`, newest first, all of one moment.
    pub(super) async fn listed(
        &mut self,
        receivers: &[Receiver],
        after: MessageId,
    ) -> Result<Vec<Vec<MessageId>>, RedisError> {
        let mut pipe = pipe();
        pipe.atomic();
        for receiver in receivers {
            pipe.cmd("ZREVRANGEBYLEX")
                .arg(self.names.list(receiver))
                .arg("+")
                .arg(exclusive(after))
                .arg("LIMIT")
                .arg(0)
                .arg(CATCH_UP_PER_CHANNEL);
        }
        let listed: Vec<Vec<Vec<u8>>> = pipe.query_async(&mut self.connection).await?;
        Ok(listed.iter().map(|members| ids(members)).collect())
    }

    /// All ids of each of `receivers` after `after`, up to and with `until`.
    pub(super) async fn listed_between(
        &mut self,
        receivers: &[Receiver],
        after: MessageId,
        until: MessageId,
    ) -> Result<Vec<Vec<MessageId>>, RedisError> {
        let mut pipe = pipe();
        for receiver in receivers {
            pipe.cmd("ZRANGEBYLEX")
                .arg(self.names.list(receiver))
                .arg(exclusive(after))
                .arg([b"[".as_slice(), until.as_bytes()].concat());
        }
        let listed: Vec<Vec<Vec<u8>>> = pipe.query_async(&mut self.connection).await?;
        Ok(listed.iter().map(|members| ids(members)).collect())
    }

    /// Those of the messages that are still there.
    pub(super) async fn fetch(
        &mut self,
        ids: &[MessageId],
    ) -> Result<Vec<Arc<Message>>, RedisError> {
        Ok(self.fetch_some(ids, usize::MAX).await?.messages)
    }

    /// The same for as many as begin within `room` bytes: how long each is only Redis knows.
    pub(super) async fn fetch_some(
        &mut self,
        ids: &[MessageId],
        room: usize,
    ) -> Result<Fetched, RedisError> {
        const FETCH: &str = "local found, bytes = {}, 0 \
             for at, key in ipairs(KEYS) do \
               found[at] = redis.call('GET', key) \
               bytes = bytes + (found[at] and #found[at] or 0) \
               if bytes >= tonumber(ARGV[1]) then break end \
             end \
             return found";
        if ids.is_empty() {
            return Ok(Fetched::default());
        }
        let keys: Vec<Vec<u8>> = ids.iter().map(|id| self.names.message(id)).collect();
        let found: Vec<Option<Vec<u8>>> = cmd("EVAL")
            .arg(FETCH)
            .arg(keys.len())
            .arg(keys)
            .arg(room)
            .query_async(&mut self.connection)
            .await?;
        let decoded = |data: Vec<u8>| match decode_message(&data) {
            Ok(message) => Some(Arc::new(message)),
            Err(why) => {
                tracing::warn!(%why, "what is stored in Redis is no message");
                None
            }
        };
        Ok(Fetched {
            read: found.len(),
            messages: found.into_iter().flatten().filter_map(decoded).collect(),
        })
    }

    /// The last id that was given, if any was.
    pub(super) async fn last_given(&mut self) -> Result<Option<MessageId>, RedisError> {
        let (start, counter): (Option<u32>, Option<u64>) = cmd("MGET")
            .arg(self.names.start_date())
            .arg(self.names.message_counter())
            .query_async(&mut self.connection)
            .await?;
        Ok(start.map(|start| MessageId::new(start, counter.unwrap_or_default())))
    }

    pub(super) async fn publish(&mut self, channel: &str, payload: &str) -> Result<(), RedisError> {
        cmd("PUBLISH")
            .arg(channel)
            .arg(payload)
            .query_async(&mut self.connection)
            .await
    }

    /// Marks channels as listened to at this node, for so many seconds.
    pub(super) async fn mark_online(
        &mut self,
        node: &str,
        receivers: &[Receiver],
        seconds: u64,
    ) -> Result<(), RedisError> {
        if receivers.is_empty() {
            return Ok(());
        }
        let until = unix_time().as_secs() + seconds;
        let mut pipe = pipe();
        for receiver in receivers {
            let nodes = self.names.nodes(receiver);
            pipe.cmd("SETEX")
                .arg(self.names.online(receiver))
                .arg(seconds)
                .arg("1")
                .ignore();
            pipe.zadd(&nodes, node, until).ignore();
            pipe.cmd("EXPIRE").arg(nodes).arg(seconds).ignore();
        }
        pipe.query_async(&mut self.connection).await
    }

    /// Takes away the marks of channels that nobody listens to at this node any more, unless others do.
    pub(super) async fn leave(
        &mut self,
        node: &str,
        receivers: &[Receiver],
    ) -> Result<(), RedisError> {
        let mut command = cmd("EVAL");
        command
            .arg(include_str!("leave.lua"))
            .arg(2 * receivers.len());
        for receiver in receivers {
            command
                .arg(self.names.online(receiver))
                .arg(self.names.nodes(receiver));
        }
        command
            .arg(node)
            .arg(self.names.statistics())
            .arg(self.names.processes())
            .query_async(&mut self.connection)
            .await
    }

    /// Which of the channels are marked.
    pub(super) async fn online(
        &mut self,
        receivers: &[&Receiver],
    ) -> Result<Vec<bool>, RedisError> {
        let mut pipe = pipe();
        for receiver in receivers {
            pipe.cmd("EXISTS").arg(self.names.online(receiver));
        }
        pipe.query_async(&mut self.connection).await
    }

    /// Leaves the statistics of a process for all to read.
    pub(super) async fn report(
        &mut self,
        process: &str,
        statistics: &str,
    ) -> Result<(), RedisError> {
        pipe()
            .atomic()
            .set_ex(self.names.process(process), 1, PROCESS_SECONDS)
            .hset(self.names.statistics(), process, statistics)
            .exec_async(&mut self.connection)
            .await
    }

    /// What processes left, by process.
    pub(super) async fn reports(&mut self) -> Result<Vec<(String, String)>, RedisError> {
        cmd("HGETALL")
            .arg(self.names.statistics())
            .query_async(&mut self.connection)
            .await
    }

    /// Takes away what processes left that are gone.
    pub(super) async fn forget_reports(&mut self, processes: &[String]) -> Result<(), RedisError> {
        cmd("HDEL")
            .arg(self.names.statistics())
            .arg(processes)
            .query_async(&mut self.connection)
            .await
    }

    /// See [`Redis::moved`].
    ///
    /// [`Redis::moved`]: super::Redis::moved
    pub(super) async fn moved(&mut self, guest: GuestId) -> Result<Option<MessageId>, RedisError> {
        let last: Option<String> = cmd("GET")
            .arg(self.names.moved(guest))
            .query_async(&mut self.connection)
            .await?;
        Ok(last.and_then(|last| MessageId::parse(&last)))
    }

    /// See [`Redis::set_moved`].
    ///
    /// [`Redis::set_moved`]: super::Redis::set_moved
    pub(super) async fn set_moved(
        &mut self,
        guest: GuestId,
        from: Option<MessageId>,
        last: MessageId,
        seconds: u32,
    ) -> Result<bool, RedisError> {
        const EXCHANGE: &str = "if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end \
             redis.call('SETEX', KEYS[1], ARGV[3], ARGV[2]) \
             return 1";
        cmd("EVAL")
            .arg(EXCHANGE)
            .arg(1)
            .arg(self.names.moved(guest))
            .arg(from.map(|from| from.to_string()).unwrap_or_default())
            .arg(last.to_string())
            .arg(seconds)
            .query_async(&mut self.connection)
            .await
    }

    /// Raises the counter in one step, whoever else does: see [`Redis::reserve`].
    ///
    /// [`Redis::reserve`]: super::Redis::reserve
    pub(super) async fn reserve(
        &mut self,
        counter: &Counter<'_>,
        count: u64,
    ) -> Result<Raised, RedisError> {
        let mut command = cmd("EVAL");
        command
            .arg(include_str!("reserve.lua"))
            .arg(3)
            .arg(&self.names.guest_ids())
            .arg(count)
            .arg(counter.at_least)
            .arg(counter.margin)
            .arg(counter.first);
        for range in counter.skipped {
            command.arg(range.start).arg(range.end);
        }
        let reply: Vec<u64> = command.query_async(&mut self.connection).await?;
        let [last, lost, is_news, skipped @ ..] = reply.as_slice() else {
            let kind = redis::ErrorKind::UnexpectedReturnType;
            return Err(RedisError::from((kind, "too short an answer")));
        };
        let skipped = skipped.chunks_exact(2).filter_map(|range| match range {
            [start, end] => Some(*start..*end),
            _ => None,
        });
        Ok(Raised {
            last: *last,
            lost: *lost,
            is_news: *is_news == 1,
            skipped: skipped.collect(),
        })
    }

    /// Sends a pipeline and returns each command's own answer, errors too.
    pub(super) async fn each(
        &mut self,
        pipe: &mut redis::Pipeline,
    ) -> Result<Vec<Value>, RedisError> {
        pipe.ignore_errors().query_async(&mut self.connection).await
    }
}

fn exclusive(id: MessageId) -> Vec<u8> {
    [b"(".as_slice(), id.as_bytes()].concat()
}

fn ids(members: &[Vec<u8>]) -> Vec<MessageId> {
    members
        .iter()
        .filter_map(|member| MessageId::from_slice(member))
        .collect()
}
