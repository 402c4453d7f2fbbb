//! What a request takes of what there is.

use std::sync::Arc;

use super::Seat;
use crate::connections::Counted;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Answer,
    /// A websocket, the site's own or a subscriber's.
    Websocket,
    /// A long poll or a stream of events.
    Poll,
}

/// Counts a request until the last clone is dropped: that of its response's body, and that of the websocket which it opened.
#[derive(Debug, Clone)]
pub(crate) struct Place(#[expect(dead_code, reason = "held to be dropped")] Arc<Taken>);

/// What is given back with it.
#[derive(Debug)]
#[expect(dead_code, reason = "held to be dropped")]
struct Taken {
    request: Counted,
    /// Of those that its address may have.
    seat: Option<Seat>,
}

impl Place {
    pub(super) fn new(request: Counted, seat: Option<Seat>) -> Self {
        Self(Arc::new(Taken { request, seat }))
    }
}
