//! The commands, and the names of the keys: those of push server 0.4.0, which is what it shares with us.

use std::ops::Range;
use std::sync::Arc;

use pullgate_compat::channel::Receiver;
use pullgate_compat::message::{Message, MessageId};
use pullgate_compat::wire::decode_message;
use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value, cmd, pipe};

use super::Counter;
use crate::history::{CATCH_UP_PER_CHANNEL, Fetched};

/// The first ten digits of every message id.
pub(super) const START_DATE: &str = "server:startdate";
/// The counter behind the others.
pub(super) const COUNTER: &str = "server:messagecounter";
/// Field by process: its statistics, as JSON.
const STATISTICS: &str = "stats";

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

/// Marks channels as listened to, for so many seconds.
pub(super) async fn mark_online(
    redis: &mut MultiplexedConnection,
    receivers: &[Receiver],
    seconds: u64,
) -> Result<(), RedisError> {
    let mut pipe = pipe();
    for receiver in receivers {
        pipe.cmd("SETEX")
            .arg(online_key(receiver))
            .arg(seconds)
            .arg("1")
            .ignore();
    }
    pipe.query_async(redis).await
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
    cmd("HSET")
        .arg(STATISTICS)
        .arg(process)
        .arg(statistics)
        .query_async(redis)
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

/// Raises a counter in one step, whoever else does, and returns what [`Redis::reserve`] does.
///
/// [`Redis::reserve`]: super::Redis::reserve
pub(super) async fn reserve(
    redis: &mut MultiplexedConnection,
    counter: &Counter<'_>,
    count: u64,
) -> Result<(u64, Vec<Range<u64>>), RedisError> {
    const RESERVE: &str = "local last = tonumber(redis.call('GET', KEYS[1]) or '0') \
         local count, known, margin, first = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]) \
         if last < known then last = known + margin end \
         for i = 5, #ARGV, 2 do redis.call('HSETNX', KEYS[2], ARGV[i], ARGV[i + 1]) end \
         if last + 1 < first then \
           redis.call('HSET', KEYS[2], last + 1, first) \
           last = first - 1 \
         end \
         redis.call('SET', KEYS[1], last + count) \
         local reply = redis.call('HGETALL', KEYS[2]) \
         table.insert(reply, 1, last + count) \
         return reply";
    let mut command = cmd("EVAL");
    command
        .arg(RESERVE)
        .arg(2)
        .arg(counter.key)
        .arg(format!("{}:skipped", counter.key))
        .arg(count)
        .arg(counter.at_least)
        .arg(counter.margin)
        .arg(counter.first);
    for range in counter.skipped {
        command.arg(range.start).arg(range.end);
    }
    let reply: Vec<u64> = command.query_async(redis).await?;
    let (last, skipped) = reply.split_first().ok_or_else(|| {
        RedisError::from((redis::ErrorKind::UnexpectedReturnType, "an empty answer"))
    })?;
    let skipped = skipped.chunks_exact(2).filter_map(|range| match range {
        [start, end] => Some(*start..*end),
        _ => None,
    });
    Ok((*last, skipped.collect()))
}

/// Sends a pipeline and returns each command's own answer, errors too.
pub(super) async fn each(
    redis: &mut MultiplexedConnection,
    pipe: &mut redis::Pipeline,
) -> Result<Vec<Value>, RedisError> {
    pipe.ignore_errors().query_async(redis).await
}
