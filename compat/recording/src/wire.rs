//! What two sides say on a connection, without the connection: HTTP/1 and websocket frames, right or wrong. The
//! tap reads both sides with it, the client what its server says.

pub(crate) mod frames;
pub(crate) mod head;
pub(crate) mod http;

/// Why a connection is not read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(pub(crate) &'static str);
