//! Messages and requests as protobuf, the schema of `proto/pull.proto`.
//!
//! Reading and writing are done by hand, for three reasons. A request comes from strangers, and two of
//! its bytes can stand for a message of a hundred; so it is read in place, and counted while it is read.
//! The reference server reads with protobufjs 6, which is more lenient than the standard in some places
//! and stricter in others. And it writes zero values out where the standard leaves them out, and clients
//! have only ever seen that. The code that prost generates from the schema is the second opinion of the
//! tests.
//!
//! | way | functions |
//! |---|---|
//! | a request comes in | [`accept`]: [`decode_request`], then [`check()`] with the sender's [`Rights`] |
//! | messages go out | [`encode_response_message`] when live, [`encode_messages`] when caught up |
//! | answers go out | [`encode_channel_stats`], [`encode_server_stats_json`] |
//! | nodes share a Redis | [`encode_message`] for what is stored, [`encode_notification`] for what is sent |
//! | a message is rewritten where it stands | [`Field::first`] |

mod check;
mod encode;
mod reader;
mod redis;
mod request;
mod response;

pub use check::{Checked, Limits, Publication, Rights, accept, check};
pub use encode::{
    encode_channel_stats, encode_messages, encode_response, encode_response_message,
    encode_server_stats_json,
};
pub use reader::{Field, Value};
pub use redis::{
    Content, Notification, Recipient, decode_message, decode_notifications, encode_message,
    encode_notification,
};
pub use request::{Address, Incoming, Request, decode_request};
pub use response::{ChannelStats, DecodeError, Response, decode_response};

#[cfg(test)]
mod tests;
