//! Whether a request is within what its visitor may have.

use http::{Method, Request};

use crate::error::Error;
use crate::limits::{Place, Visitors, Wish, refused};
use crate::push::websocket::handshake;
use crate::route::Route;
use crate::upstream::visitor::Visitor;

/// Counts a request, and gives the place that it takes until it is answered, or its websocket has ended.
pub(super) fn admit<B>(
    visitors: &Visitors,
    visitor: &Visitor,
    route: Route,
    request: &Request<B>,
) -> Result<Place, Error> {
    let is_websocket = handshake::is_handshake(request.headers())
        && matches!(route, Route::Subscribe | Route::Site);
    let waits =
        matches!(route, Route::Subscribe | Route::Events) && request.method() == Method::GET;
    let wish = match (is_websocket, waits) {
        (true, _) => Wish::Websocket,
        (false, true) => Wish::Poll,
        (false, false) => Wish::Answer,
    };
    let address = (!visitor.is_trusted).then(|| visitor.address.ip());
    visitors.enter(address, wish).map_err(|reason| {
        refused(reason, visitor.address);
        Error::Limited(reason)
    })
}
