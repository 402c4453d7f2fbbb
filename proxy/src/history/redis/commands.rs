//! The commands, and the names of the keys: those of push server 0.4.0, which is what it shares with us.

use std::sync::Arc;

use pullgate_compat::channel::Receiver;
use pullgate_compat::message::{Message, MessageId};
use pullgate_compat::wire::decode_message;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value, cmd, pipe};

use super::{Counter, Raised};
use crate::clock::unix_time;
use crate::history::{CATCH_UP_PER_CHANNEL, Fetched};

/// The first ten digits of every message id.
pub(super) const START_DATE: &str = "server:startdate";
/// The counter behind the others.
pub(super) const COUNTER: &str = "server:messagecounter";
/// Field by process: its statistics, as JSON.
const STATISTICS: &str = "stats";

/// With a process's name behind it: there while that is one of pullgate's, and for this long after its last report.
const PROCESS: &str = "pullgate:process:";
const PROCESS_SECONDS: u64 = 180;

/// Channels in one pipeline: enough to be quick, few enough for Redis to serve others between two.
pub(super) const MANY: usize = 500;

/// The list of a channel's messages.
pub(super) fn list_key(receiver: &Receiver) -> Vec<u8> {
    channel_key("messages", receiver)
}

/// There while somebody listens to the channel.
fn online_key(receiver: &Receiver) -> Vec<u8> {
    channel_key("online", receiver)
}

/// pullgate's nodes at which somebody does, and until when that holds without a sign of life.
fn nodes_key(receiver: &Receiver) -> Vec<u8> {
    [b"pullgate:".as_slice(), &online_key(receiver)].concat()
}

fn channel_key(what: &str, receiver: &Receiver) -> Vec<u8> {
    let (kind, id) = match receiver {
        Receiver::Private(id) => ("channel", id.as_bytes()),
        Receiver::Public(id) => ("pubchannel", id.as_bytes()),
    };
    [format!("{kind}:{what}:").as_bytes(), id].concat()
}

fn message_key(id: &MessageId) -> Vec<u8> {
    [b"message:".as_slice(), id.as_bytes()].concat()
}

/// The newest ids of each of `receivers` after `after`, newest first, all of one moment.
pub(super) async fn listed(
    redis: &mut MultiplexedConnection,
    receivers: &[Receiver],
    after: MessageId,
) -> Result<Vec<Vec<MessageId>>, RedisError> {
    let mut pipe = pipe();
    pipe.atomic();
    for receiver in receivers {
        pipe.cmd("ZREVRANGEBYLEX")
            .arg(list_key(receiver))
            .arg("+")
            .arg(exclusive(after))
            .arg("LIMIT")
            .arg(0)
            .arg(CATCH_UP_PER_CHANNEL);
    }
    let listed: Vec<Vec<Vec<u8>>> = pipe.query_async(redis).await?;
    Ok(listed.iter().map(|members| ids(members)).collect())
}

/// All ids of each of `receivers` after `after`, up to and with `until`.
pub(super) async fn listed_between(
    redis: &mut MultiplexedConnection,
    receivers: &[Receiver],
    after: MessageId,
    until: MessageId,
) -> Result<Vec<Vec<MessageId>>, RedisError> {
    let mut pipe = pipe();
    for receiver in receivers {
        pipe.cmd("ZRANGEBYLEX")
            .arg(list_key(receiver))
            .arg(exclusive(after))
            .arg([b"[".as_slice(), until.as_bytes()].concat());
    }
    let listed: Vec<Vec<Vec<u8>>> = pipe.query_async(redis).await?;
    Ok(listed.iter().map(|members| ids(members)).collect())
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

/// Those of the messages that are still there.
pub(super) async fn fetch(
    redis: &mut MultiplexedConnection,
    ids: &[MessageId],
) -> Result<Vec<Arc<Message>>, RedisError> {
    Ok(fetch_some(redis, ids, usize::MAX).await?.messages)
}

/// The same for as many as begin within `room` bytes: how long each is only Redis knows.
pub(super) async fn fetch_some(
    redis: &mut MultiplexedConnection,
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
    let keys: Vec<Vec<u8>> = ids.iter().map(message_key).collect();
    let found: Vec<Option<Vec<u8>>> = cmd("EVAL")
        .arg(FETCH)
        .arg(keys.len())
        .arg(keys)
        .arg(room)
        .query_async(redis)
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
pub(super) async fn last_given(
    redis: &mut MultiplexedConnection,
) -> Result<Option<MessageId>, RedisError> {
    let (start, counter): (Option<u32>, Option<u64>) = cmd("MGET")
        .arg(START_DATE)
        .arg(COUNTER)
        .query_async(redis)
        .await?;
    Ok(start.map(|start| MessageId::new(start, counter.unwrap_or_default())))
}

pub(super) async fn publish(
    redis: &mut MultiplexedConnection,
    channel: &str,
    payload: &str,
) -> Result<(), RedisError> {
    cmd("PUBLISH")
        .arg(channel)
        .arg(payload)
        .query_async(redis)
        .await
}

/// Marks channels as listened to at this node, for so many seconds.
pub(super) async fn mark_online(
    redis: &mut MultiplexedConnection,
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
        let nodes = nodes_key(receiver);
        pipe.cmd("SETEX")
            .arg(online_key(receiver))
            .arg(seconds)
            .arg("1")
            .ignore();
        pipe.zadd(&nodes, node, until).ignore();
        pipe.cmd("EXPIRE").arg(nodes).arg(seconds).ignore();
    }
    pipe.query_async(redis).await
}

/// Takes away the marks of channels that nobody listens to at this node any more, unless others do.
pub(super) async fn leave(
    redis: &mut MultiplexedConnection,
    node: &str,
    receivers: &[Receiver],
) -> Result<(), RedisError> {
    let mut command = cmd("EVAL");
    command
        .arg(include_str!("leave.lua"))
        .arg(2 * receivers.len());
    for receiver in receivers {
        command.arg(online_key(receiver)).arg(nodes_key(receiver));
    }
    command
        .arg(node)
        .arg(STATISTICS)
        .arg(PROCESS)
        .query_async(redis)
        .await
}

/// Which of the channels are marked.
pub(super) async fn online(
    redis: &mut MultiplexedConnection,
    receivers: &[&Receiver],
) -> Result<Vec<bool>, RedisError> {
    let mut pipe = pipe();
    for receiver in receivers {
        pipe.cmd("EXISTS").arg(online_key(receiver));
    }
    pipe.query_async(redis).await
}

/// Leaves the statistics of a process for all to read.
pub(super) async fn report(
    redis: &mut MultiplexedConnection,
    process: &str,
    statistics: &str,
) -> Result<(), RedisError> {
    pipe()
        .atomic()
        .set_ex(format!("{PROCESS}{process}"), 1, PROCESS_SECONDS)
        .hset(STATISTICS, process, statistics)
        .exec_async(redis)
        .await
}

/// What processes left, by process.
pub(super) async fn reports(
    redis: &mut MultiplexedConnection,
) -> Result<Vec<(String, String)>, RedisError> {
    cmd("HGETALL").arg(STATISTICS).query_async(redis).await
}

/// Takes away what processes left that are gone.
pub(super) async fn forget_reports(
    redis: &mut MultiplexedConnection,
    processes: &[String],
) -> Result<(), RedisError> {
    cmd("HDEL")
        .arg(STATISTICS)
        .arg(processes)
        .query_async(redis)
        .await
}

/// See [`Redis::value`].
///
/// [`Redis::value`]: super::Redis::value
pub(super) async fn value(
    redis: &mut MultiplexedConnection,
    key: &str,
) -> Result<Option<String>, RedisError> {
    cmd("GET").arg(key).query_async(redis).await
}

/// See [`Redis::exchange`].
///
/// [`Redis::exchange`]: super::Redis::exchange
pub(super) async fn exchange(
    redis: &mut MultiplexedConnection,
    key: &str,
    from: Option<&str>,
    to: &str,
    seconds: u32,
) -> Result<bool, RedisError> {
    const EXCHANGE: &str = "if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end \
         redis.call('SETEX', KEYS[1], ARGV[3], ARGV[2]) \
         return 1";
    cmd("EVAL")
        .arg(EXCHANGE)
        .arg(1)
        .arg(key)
        .arg(from.unwrap_or_default())
        .arg(to)
        .arg(seconds)
        .query_async(redis)
        .await
}

/// Raises a counter in one step, whoever else does: see [`Redis::reserve`].
///
/// [`Redis::reserve`]: super::Redis::reserve
pub(super) async fn reserve(
    redis: &mut MultiplexedConnection,
    counter: &Counter<'_>,
    count: u64,
) -> Result<Raised, RedisError> {
    let mut command = cmd("EVAL");
    command
        .arg(include_str!("reserve.lua"))
        .arg(3)
        .arg(counter.key)
        .arg(format!("{}:skipped", counter.key))
        .arg(format!("{}:lost", counter.key))
        .arg(count)
        .arg(counter.at_least)
        .arg(counter.margin)
        .arg(counter.first);
    for range in counter.skipped {
        command.arg(range.start).arg(range.end);
    }
    let reply: Vec<u64> = command.query_async(redis).await?;
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
    redis: &mut MultiplexedConnection,
    pipe: &mut redis::Pipeline,
) -> Result<Vec<Value>, RedisError> {
    pipe.ignore_errors().query_async(redis).await
}
