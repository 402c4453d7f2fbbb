//! Whether a request is within what its visitor may have.

use http::{Method, Request};

use crate::error::Error;
use crate::limits::{Seat, Visitors, refused};
use crate::push::websocket::handshake;
use crate::route::Route;
use crate::upstream::visitor::Visitor;

/// Counts a request, and gives the place that it takes as long as it waits or its websocket is open.
pub(super) fn admit<B>(
    visitors: &Visitors,
    visitor: &Visitor,
    route: Route,
    request: &Request<B>,
) -> Result<Option<Seat>, Error> {
    if visitor.is_trusted {
        return Ok(None);
    }
    let address = visitor.address.ip();
    let is_websocket = handshake::is_handshake(request.headers())
        && matches!(route, Route::Subscribe | Route::Site);
    let waits =
        matches!(route, Route::Subscribe | Route::Events) && request.method() == Method::GET;
    let seat = visitors.request(address).and_then(|()| {
        if is_websocket {
            visitors.websocket(address)
        } else if waits {
            visitors.poll(address)
        } else {
            Ok(None)
        }
    });
    seat.map_err(|reason| {
        refused(reason, visitor.address);
        Error::Limited(reason)
    })
}
