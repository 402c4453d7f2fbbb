//! The site's own websockets: the upgrade goes through, then bytes flow both ways.

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version, request};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::time::{Instant, timeout_at};

use super::headers::has_token;
use super::pool::{Attempts, Pool};
use crate::body::Body;
use crate::body::request::RequestBody;
use crate::config::Terms;
use crate::error::Error;

/// Whether a request asks for a websocket in the way of RFC 6455: no body, both headers.
pub(crate) fn wants_websocket(parts: &request::Parts) -> bool {
    let lists = |name, token| {
        let mut lines = parts.headers.get_all(name).iter();
        lines.any(|line| has_token(line, token))
    };
    parts.method == Method::GET
        && parts.version == Version::HTTP_11
        && !parts.headers.contains_key(header::TRANSFER_ENCODING)
        && parts
            .headers
            .get(header::CONTENT_LENGTH)
            .is_none_or(|length| length == "0")
        && lists(header::CONNECTION, "upgrade")
        && lists(header::UPGRADE, "websocket")
}

/// Forwards an upgrade on a connection of its own. An answer other than 101 is an ordinary one. `counted` lives as
/// long as the tunnel.
pub(crate) async fn forward(
    pool: &Pool,
    terms: &Terms,
    mut request: Request<()>,
    counted: impl Send + 'static,
) -> Result<Response<Body>, Error> {
    let downstream = hyper::upgrade::on(&mut request);
    let (mut parts, _) = request.into_parts();
    let mut attempts = Attempts::of(&parts);
    super::in_origin_form(&mut parts);
    add_upgrade(&mut parts.headers);

    let mut lease = pool.connect(&mut attempts).await?;
    let sent = lease
        .sender
        .try_send_request(Request::from_parts(parts, RequestBody::Empty));
    let mut response = pool
        .answer(sent, None, terms.response_timeout)
        .await?
        .map_err(|failed| Error::Upstream(failed.into_error()))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return super::streamed(response, lease, terms);
    }
    let upstream = hyper::upgrade::on(&mut response);
    let longest_silence = pool.tunnel_timeout();
    let busy = lease.counted;
    tokio::spawn(async move {
        if let (Ok(downstream), Ok(upstream)) = tokio::join!(downstream, upstream) {
            carry(downstream, upstream, longest_silence).await;
        }
        drop((counted, busy));
    });
    super::headers::remove_hop_by_hop(response.headers_mut());
    add_upgrade(response.headers_mut());
    Ok(response.map(|_| Body::empty()))
}

/// Carries bytes both ways until either side goes away, or both are silent for too long.
async fn carry(downstream: Upgraded, upstream: Upgraded, longest_silence: Duration) {
    let heard = Arc::new(Mutex::new(Instant::now()));
    let mut downstream = Heard {
        stream: TokioIo::new(downstream),
        last: Arc::clone(&heard),
    };
    let mut upstream = TokioIo::new(upstream);
    let mut copying = pin!(copy_bidirectional(&mut downstream, &mut upstream));
    let mut until = Instant::now() + longest_silence;
    while timeout_at(until, copying.as_mut()).await.is_err() {
        until = *heard.lock().unwrap_or_else(PoisonError::into_inner) + longest_silence;
        if until <= Instant::now() {
            tracing::debug!(?longest_silence, "a websocket of the site was silent");
            return;
        }
    }
}

/// The client's end of a tunnel, which all bytes pass: it knows when the last of them did.
struct Heard {
    stream: TokioIo<Upgraded>,
    last: Arc<Mutex<Instant>>,
}

impl Heard {
    fn note<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        polled
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.note(polled)
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn add_upgrade(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}
