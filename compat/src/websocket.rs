//! The websocket protocol (RFC 6455), for either side, without the socket.
//!
//! A [`Decoder`] is given bytes as they come and returns [`Event`]s, or the [`Violation`] with which the
//! connection has to end. What it keeps is bounded by the size of a message, and grows with what has come,
//! not with what a header announces. Writing is [`encode_frame`], and [`Header::encode`] where the payload
//! lies in several places. There are no extensions.

mod close;
mod decoder;
mod header;
#[cfg(test)]
mod tests;

use sha1::{Digest, Sha1};

pub use close::{CloseCode, CloseFrame, encode_close};
pub use decoder::{Decoder, Event, Peer, Violation};
pub use header::{Header, Opcode, apply_mask, encode_frame};

/// The longest payload of a close, ping or pong frame (RFC 6455 5.5).
pub const MAX_CONTROL: usize = 125;

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (RFC 6455 4.2.2).
#[must_use]
pub fn accept_key(key: &str) -> String {
    let mut sha1 = Sha1::new();
    sha1.update(key);
    sha1.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    data_encoding::BASE64.encode(&sha1.finalize())
}
