//! The Bitrix Push & Pull protocol, as sites and their browsers speak it to a push server.
//!
//! Everything here is computation: no sockets, no clock, no files. What depends on the time takes
//! it as an argument. The server around it is the crate `pullgate`.
//!
//! | module | what it knows |
//! |---|---|
//! | [`query`] | the query of a request target |
//! | [`channel`] | channel ids, and the `CHANNEL_ID` parameter that lists them |
//! | [`signature`] | the site's key, and what it signs |
//! | [`message`] | a message, its id, its expiry |
//! | [`text`] | messages as text frames |
//! | [`wire`] | messages and requests as protobuf |
//! | [`status`] | the 40xx codes |
//! | [`guest`] | visitors without login: their ids, cookies and tokens |
//! | [`proxy_protocol`] | the header in which a proxy says who came |
//! | [`websocket`] | messages and frames of RFC 6455 |
//!
//! Where a text and the recordings under `fixtures/push-server-0.4.0` disagree, the recordings are
//! right: they are what the reference server, push server 0.4.0, does on the wire.

pub mod channel;
pub mod guest;
pub mod message;
pub mod proxy_protocol;
pub mod query;
pub mod signature;
pub mod status;
pub mod text;
pub mod websocket;
pub mod wire;
