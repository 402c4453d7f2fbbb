//! A connection by HTTP/2 (RFC 9113), and what bounds it: hyper has no clock for it.
//!
//! Websockets over it (RFC 8441) are not offered: browsers open a connection of HTTP/1.1 for them.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::FutureExt;
use http::Request;
use http::header::{COOKIE, HeaderMap, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::connection::Requests;
use crate::body::{Body, BoxError};
use crate::net::cut_off::CutOff;
use crate::net::secured::Secured;
use crate::phase::{Phase, Watching};

/// Requests at a time, as with nginx.
const MAX_STREAMS: u32 = 128;

/// What a client may send of one body before we have taken any of it, and of all together, bytes.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// What waits of one response for the client's window, bytes.
const MAX_UNSENT: usize = 64 << 10;

/// A response goes on in pieces of so many bytes, each of which is to be taken within `send_timeout`.
const PIECE: usize = 16 << 10;

/// Streams that the client has reset and we have not looked at (CVE-2023-44487).
const MAX_RESET_PENDING: usize = 20;

/// Streams that we had to reset for what the client did (CVE-2025-8671).
const MAX_RESET_BY_US: usize = 128;

/// Serves it until it ends, has been idle for `header_timeout`, or nothing is under way any more once nobody is accepted.
pub(super) async fn serve(
    stream: Secured,
    requests: Requests,
    mut phase: Watching,
) -> hyper::Result<()> {
    let server = Arc::clone(&requests.server);
    let streams = Streams::new(server.send_timeout);
    let requests = Arc::new(requests);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let requests = Arc::clone(&requests);
        join_cookies(request.headers_mut());
        let cut_off = CutOff::default();
        request.extensions_mut().insert(cut_off.clone());
        requests.answer(request).map(move |response| {
            // The request's own task begins behind the service's call, and is the one that polls this.
            let taking = TAKING.try_with(Arc::clone).unwrap_or_default();
            // One request has one response.
            let _ = taking.cut_off.set(cut_off);
            Ok::<_, Infallible>(response.map(|body| Pieces::new(body, taking)))
        })
    });
    let connection = http2::Builder::new(streams.clone())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(MAX_UNSENT)
        .max_header_list_size(u32::try_from(server.max_head).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(MAX_RESET_PENDING)
        .max_local_error_reset_streams(MAX_RESET_BY_US)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        // Whoever comes again waits to be accepted, as everybody does then.
        () = phase.reached(Phase::Paused) => {
            connection.as_mut().graceful_shutdown();
            return connection.await;
        }
        () = streams.idle_for(server.header_timeout) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        ended = connection => ended,
        () = phase.reached(Phase::Draining) => Ok(()),
        // The client does not listen.
        () = streams.idle_for(server.header_timeout + server.send_timeout) => Ok(()),
    }
}

/// HTTP/2 sends every cookie on a line of its own (RFC 9113 8.2.3); whoever reads them expects one.
fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if lines.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&lines.join(b"; ".as_slice()))
    {
        headers.insert(COOKIE, joined);
    }
}

/// The requests under way on one connection.
#[derive(Debug, Clone)]
struct Streams {
    under_way: Arc<UnderWay>,
    send_timeout: Duration,
}

#[derive(Debug)]
struct UnderWay {
    count: AtomicUsize,
    /// When the last of them ended, or the connection began.
    ended: Mutex<Instant>,
}

impl Streams {
    fn new(send_timeout: Duration) -> Self {
        let under_way = UnderWay {
            count: AtomicUsize::new(0),
            ended: Mutex::new(Instant::now()),
        };
        Self {
            under_way: Arc::new(under_way),
            send_timeout,
        }
    }

    /// Waits until there has been none for so long.
    async fn idle_for(&self, long: Duration) {
        loop {
            let ended = *self.under_way.ended();
            let until = match self.under_way.count.load(Ordering::Relaxed) {
                0 => ended + long,
                // It cannot have been so long before that.
                _ => Instant::now() + long,
            };
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

impl UnderWay {
    fn ended(&self) -> MutexGuard<'_, Instant> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request under way.
struct Counted(Arc<UnderWay>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
        *self.0.ended() = Instant::now();
    }
}

/// Every request is a task of its own on the connection's core, which ends with a client that takes no more of the
/// response: dropping it resets the stream.
impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.under_way.count.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(Arc::clone(&self.under_way));
        let taking = Arc::new(Taking::default());
        let limit = self.send_timeout;
        let served = TAKING.scope(Arc::clone(&taking), async move {
            tokio::select! {
                biased;
                () = stream => {}
                () = taking.stalled(limit) => tracing::debug!("a response over HTTP/2 was not taken"),
            }
        });
        tokio::spawn(async move {
            served.await;
            drop(counted);
        });
    }
}

tokio::task_local! {
    /// Of the request that the task serves.
    static TAKING: Arc<Taking>;
}

/// Whether a client takes a response. Its socket does not tell: it is writable, and the window of the stream is shut.
#[derive(Debug, Default)]
struct Taking {
    /// Goes up by one when a piece is handed on, and when the next is asked for: odd between them.
    turns: AtomicUsize,
    /// Ends it where the client does not take it; there when the response is.
    cut_off: OnceLock<CutOff>,
}

impl Taking {
    fn asked(&self) {
        if self.turns.load(Ordering::Relaxed) % 2 == 1 {
            self.turns.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn handed(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until a piece has not been taken for so long, or is cut off before it is taken. It is in one task with the response, behind it, and so sees
    /// every change.
    async fn stalled(&self, limit: Duration) {
        let mut seen = 0;
        let mut timer: Pin<Box<Sleep>> = Box::pin(sleep(limit));
        std::future::poll_fn(|cx| {
            let turns = self.turns.load(Ordering::Relaxed);
            if turns.is_multiple_of(2) {
                return Poll::Pending;
            }
            if turns != seen {
                seen = turns;
                timer.as_mut().reset(Instant::now() + limit);
            }
            match timer.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => match self.cut_off.get() {
                    Some(cut_off) => cut_off.poll(cx),
                    None => Poll::Pending,
                },
            }
        })
        .await;
    }
}

/// A response's body, cut up, which tells when it is asked for more.
struct Pieces {
    body: Body,
    taking: Arc<Taking>,
    rest: Bytes,
}

impl Pieces {
    fn new(body: Body, taking: Arc<Taking>) -> Self {
        Self {
            body,
            taking,
            rest: Bytes::new(),
        }
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.taking.asked();
        let frame = self.next(cx);
        if matches!(frame, Poll::Ready(Some(_))) {
            self.taking.handed();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}
