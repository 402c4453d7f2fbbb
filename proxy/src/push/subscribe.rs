//! The browser's side: long polling and websockets, both on every `sub` path.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, EXPIRES, HeaderValue,
};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use pullgate_compat::channel::{ChannelList, Role};
use pullgate_compat::message::{Message, MessageId};
use pullgate_compat::status::Status;
use tokio::time::timeout;

use super::{
    LAST_MESSAGE_ID, answer, binary_answer, channels, expose_last_id, poll_refusal, query,
    websocket::{self, handshake},
};
use crate::body::Body;
use crate::hub::catch_up::Missed;
use crate::hub::outgoing::Format;
use crate::hub::subscriber::{Closed, Subscription};
use crate::limits::Place;
use crate::net::cut_off::CutOff;
use crate::site::Site;
use crate::statistics::Transport;

/// The date for which the browser's client tests a 304.
const LONG_AGO: &str = "Thu, 01 Jan 1973 11:11:01 GMT";

/// Serves the `sub` paths. It is no `async fn`, which would keep every argument twice while a poll waits.
#[expect(clippy::manual_async_fn, reason = "see above")]
pub(crate) fn serve(
    site: &Arc<Site>,
    core: usize,
    request: Request<Incoming>,
    place: Option<Place>,
) -> impl Future<Output = Response<Body>> + Send {
    async move {
        let query = query(&request);
        let mut channels = channels(query, &site.signature, Role::Subscriber);
        if let Some(guests) = site.guest_push() {
            guests.join(request.headers(), &mut channels);
        }
        let mid = query.first("mid").and_then(|mid| MessageId::parse(&mid));
        let format = match query.first("binaryMode").as_deref() {
            Some("true") => Format::Binary,
            Some(_) | None => Format::Text,
        };
        if handshake::is_handshake(request.headers()) {
            let accepted = websocket::accept(site, core, request, channels, mid, format, place);
            return Box::pin(accepted).await;
        }
        match *request.method() {
            Method::GET if channels.is_empty() => poll_refusal(Status::WrongChannelId),
            Method::GET => {
                let cut_off = request.extensions().get::<CutOff>().cloned();
                // With it goes what hyper had read it into.
                drop(request);
                poll(site, core, &channels, mid, format, cut_off).await
            }
            Method::OPTIONS => preflight(),
            _ => answer(StatusCode::NOT_FOUND, ""),
        }
    }
}

/// The first message, or all that were missed, end a poll; else the time does.
async fn poll(
    site: &Site,
    core: usize,
    channels: &ChannelList,
    mid: Option<MessageId>,
    format: Format,
    cut_off: Option<CutOff>,
) -> Response<Body> {
    let _connected = site.statistics.connected(Transport::Poll);
    // While it waits it costs what this future takes: the rest is boxed.
    let (mut subscription, mut missed) = match Box::pin(site.subscribe(core, channels, mid)).await {
        Ok(subscribed) => subscribed,
        Err(_) => return poll_refusal(Status::NoLastMessages),
    };
    subscription.will_come_again();
    missed.read_over(cut_off);
    match missed.next().await {
        Ok(first) if first.is_empty() => {}
        Ok(first) => return messages(&first, missed, format),
        Err(_) => return poll_refusal(Status::NoLastMessages),
    }
    let mut queued = Vec::new();
    match timeout(
        site.config.push.poll_timeout,
        subscription.next(&mut queued),
    )
    .await
    {
        Ok(Ok(())) => {
            subscription.take_queued(&mut queued);
            missed.extend(&queued);
            let first = missed.next().await.unwrap_or_default();
            messages(&first, missed, format)
        }
        Ok(Err(Closed::Evicted)) => poll_refusal(Status::TooManyConnections),
        Ok(Err(Closed::Unproven)) => poll_refusal(Status::WrongChannelId),
        Ok(Err(Closed::TooSlow | Closed::NoRoom | Closed::Drained)) | Err(_) => {
            Box::pin(nothing_new(site, &subscription, mid)).await
        }
    }
}

/// Whole where that is one piece. Else the rest is read as the client takes it; where it cannot be read the
/// answer ends, and the client asks for what comes after its last message.
fn messages(first: &[Arc<Message>], mut rest: Missed, format: Format) -> Response<Body> {
    let first = rest.encoded(first, format);
    let mut response = match format {
        Format::Text => answer(StatusCode::OK, first.clone()),
        Format::Binary => binary_answer(first.clone()),
    };
    if !rest.is_empty() {
        let next = move |mut rest: Missed| async move {
            let piece = rest.next().await.ok().filter(|piece| !piece.is_empty())?;
            Some((rest.encoded(&piece, format), rest))
        };
        let pieces = stream::iter([first]).chain(stream::unfold(rest, next));
        *response.body_mut() = Body::pieces(pieces);
    }
    response
}

/// Nothing came. Without a `mid` the answer names the newest stored id, but none that was given while
/// the poll waited: such a message did not make it into this answer, and must be in the next.
async fn nothing_new(
    site: &Site,
    subscription: &Subscription,
    mid: Option<MessageId>,
) -> Response<Body> {
    let last = match mid {
        Some(mid) => Some(mid),
        None => site
            .hub
            .last_id(subscription.receivers())
            .await
            .unwrap_or_default()
            .map(|newest| newest.min(subscription.began_after())),
    };
    let mut response = answer(StatusCode::NOT_MODIFIED, "");
    expose_last_id(&mut response);
    let last = last.map(|id| id.to_string()).unwrap_or_default();
    if let Ok(last) = HeaderValue::try_from(last) {
        response.headers_mut().insert(LAST_MESSAGE_ID, last);
    }
    response
        .headers_mut()
        .insert(EXPIRES, HeaderValue::from_static(LONG_AGO));
    response
}

fn preflight() -> Response<Body> {
    let mut response = answer(StatusCode::OK, "");
    let headers = response.headers_mut();
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("POST, GET, DELETE, OPTIONS"),
    );
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("If-Modified-Since, If-None-Match"),
    );
    response
}
