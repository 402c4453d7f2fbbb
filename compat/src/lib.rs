//! The Bitrix Push & Pull wire protocol, as spoken by push server 0.4.0. No I/O, no async.
//!
//! | module | what |
//! |---|---|
//! | [`channel`] | channel ids, the `CHANNEL_ID` parameter |
//! | [`signature`] | HMAC signatures of channels |
//! | [`message`] | messages, their ids, bodies, expiries and senders |
//! | [`text`] | `#!NGINXNMS!#` frames |
//! | [`query`] | query strings, read as the reference server reads them |
//! | [`status`] | the 40xx table |
//! | [`guest`] | guest numbers, the cookie that keeps one, the token that proves one to PHP |

pub mod channel;
pub mod guest;
pub mod message;
pub mod query;
pub mod signature;
pub mod status;
pub mod text;
