//! What was published and may still be asked for: the messages a subscriber catches up with.
//!
//! The hub calls this with its sequence locked, so appending a message, giving it its id and
//! registering a subscriber happen in one order that everybody sees.

pub(crate) mod memory;

/// Newest messages of one channel that a catch-up may bring.
pub(crate) const CATCH_UP_PER_CHANNEL: usize = 100;

/// Newest messages of all the channels of one connection that a catch-up may bring.
pub(crate) const CATCH_UP_PER_CONNECTION: usize = 200;
