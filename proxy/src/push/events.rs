//! `GET /pullgate/events`: messages to a guest as server-sent events, for pages without Bitrix.
//!
//! Who the guest is, the cookie tells: a page needs no configuration, an `EventSource` is enough. The id
//! of an event is the message's, with which browsers come back by themselves (`Last-Event-ID`). The
//! first thing that a new page is told is where it begins, so that it can come back before any message.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Request, Response};
use pullgate_compat::channel::{ChannelList, Role};
use pullgate_compat::message::{Message, MessageId};
use pullgate_compat::status::Status;
use tokio::time::{Instant, timeout};

use super::refusal;
use crate::body::Body;
use crate::hub::catch_up::Missed;
use crate::hub::outgoing::Outgoing;
use crate::hub::subscriber::Subscription;
use crate::net::cut_off::CutOff;
use crate::site::Site;
use crate::statistics::Transport;

/// When a browser comes back after an end.
const RETRY: &str = "retry: 3000\n\n";

/// Keeps proxies from taking a silent stream for a dead one.
const SILENCE: &[u8] = b":\n\n";

struct Events {
    site: Arc<Site>,
    subscription: Subscription,
    /// What goes out before anything else,
    first: Option<Bytes>,
    /// and behind it.
    missed: Missed,
    every: Duration,
    /// Then the channels are no longer the newest: the browser comes back for others.
    until: Instant,
}

/// Streams what comes to `channels`, a signed list, for as long as the list is good.
pub(crate) async fn serve<B>(
    site: &Arc<Site>,
    core: usize,
    request: &Request<B>,
    channels: &str,
    good_for: Duration,
) -> Response<Body> {
    let channels = ChannelList::parse(channels, &site.signature, Role::Subscriber);
    let mid = request
        .headers()
        .get("last-event-id")
        .and_then(|id| MessageId::parse(id.to_str().ok()?));
    let subscribed = site.hub.subscribe(core, &channels, mid).await;
    let Ok((mut subscription, mut missed)) = subscribed else {
        return refusal(Status::NoLastMessages);
    };
    missed.read_over(request.extensions().get::<CutOff>().cloned());
    let Ok(piece) = missed.next().await else {
        return refusal(Status::NoLastMessages);
    };
    subscription.will_come_again();
    let mut first = RETRY.as_bytes().to_vec();
    if mid.is_none() {
        // An id without data is kept by the browser, and no event to the page (WHATWG HTML 9.2.6).
        first.extend_from_slice(format!("id: {}\n\n", subscription.began_after()).as_bytes());
    }
    for message in &piece {
        event(message, &mut first);
    }
    let events = Events {
        site: Arc::clone(site),
        subscription,
        first: Some(missed.handed(first)),
        missed,
        every: site.config.push.ping_interval,
        until: Instant::now() + good_for,
    };
    let mut response = Response::new(Body::pieces(stream::unfold(events, next)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // An nginx in front would hold the events back.
    let unbuffered = HeaderName::from_static("x-accel-buffering");
    headers.insert(unbuffered, HeaderValue::from_static("no"));
    response
}

/// The next piece of the stream, and what is left of it.
async fn next(mut events: Events) -> Option<(Bytes, Events)> {
    if let Some(first) = events.first.take() {
        return Some((first, events));
    }
    // Where it cannot be read the browser comes back with the last id.
    let missed = events.missed.next().await.ok()?;
    if !missed.is_empty() {
        let mut piece = Vec::new();
        for message in &missed {
            event(message, &mut piece);
        }
        return Some((events.missed.handed(piece), events));
    }
    let left = events.until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return None;
    }
    let _connected = events.site.statistics.connected(Transport::Poll);
    let mut live: Vec<Arc<Outgoing>> = Vec::new();
    let wait = events.subscription.next(&mut live);
    let piece = match timeout(events.every.min(left), wait).await {
        Ok(Ok(())) => {
            let mut piece = Vec::new();
            for outgoing in &live {
                event(outgoing.message(), &mut piece);
            }
            events.missed.handed(piece)
        }
        Err(_) => Bytes::from_static(SILENCE),
        // The browser comes back with the last id.
        Ok(Err(_)) => return None,
    };
    drop(_connected);
    // It took the piece before, so it is there.
    events.subscription.alive();
    Some((piece, events))
}

/// One event; a line of the message is a line of data (WHATWG HTML 9.2.6).
fn event(message: &Message, out: &mut Vec<u8>) {
    out.extend_from_slice(b"id: ");
    out.extend_from_slice(message.id.to_string().as_bytes());
    out.push(b'\n');
    let body = message.body.as_bytes();
    let mut rest = body;
    loop {
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let (line, behind) = rest.split_at(end.unwrap_or(rest.len()));
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
        rest = match behind {
            [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
            [] => break,
        };
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use pullgate_compat::message::{Body, Sender};

    use super::*;

    fn data(body: &'static str) -> String {
        let message = Message {
            id: MessageId::new(17, 5),
            body: Body::from_lossy(body.into()),
            expiry: 0,
            created: 0,
            sender: Sender::Backend,
        };
        let mut out = Vec::new();
        event(&message, &mut out);
        let text = String::from_utf8(out).unwrap();
        text.strip_prefix("id: 00000000170000000000000005\n")
            .unwrap()
            .to_owned()
    }

    #[test]
    fn a_line_of_the_message_is_a_line_of_data() {
        assert_eq!(data("{\"n\":1}"), "data: {\"n\":1}\n\n");
        assert_eq!(
            data("a\nb\r\nc\rd"),
            "data: a\ndata: b\ndata: c\ndata: d\n\n"
        );
        assert_eq!(data("\nid: 9"), "data: \ndata: id: 9\n\n");
        assert_eq!(data(""), "data: \n\n");
    }
}
