//! A connection by HTTP/1.1 (RFC 9112). hyper is on it only while bytes move: while the client waits for an answer or we
//! for a request, the connection is parked, and costs little more than its socket.

use std::convert::Infallible;
use std::future::{poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::FutureExt;
use http::header::{CONNECTION, HeaderValue, TE, UPGRADE};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep};

use super::connection::Requests;
use crate::body::Body;
use crate::net::client::Client;
use crate::net::secured::Secured;
use crate::net::watched::Watch;
use crate::phase::{Phase, Watching};
use crate::upstream::headers::has_token;

/// How often hyper's connections are looked at for one that can be parked.
const PARKED_AFTER: Duration = Duration::from_secs(1);

type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// A connection that hyper was taken off.
struct Parked {
    client: Client,
    /// The request that its client waits for.
    asked: Option<Asked>,
    /// Nothing was read beyond that: it may wait here.
    is_quiet: bool,
}

/// A request, and what answers it.
struct Asked {
    answer: Answer,
    /// Stands for its head, for a hyper that is to know how to send the response. `None`: it needs the one that read it.
    head: Option<&'static [u8]>,
}

/// The request under way, which hyper waits for, and which goes on when hyper is taken off.
#[derive(Clone, Default)]
struct UnderWay(Arc<Mutex<Option<Asked>>>);

impl UnderWay {
    fn asked(&self) -> MutexGuard<'_, Option<Asked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer, unless it is taken away.
    async fn answer(self) -> Response<Body> {
        poll_fn(|cx| {
            let mut asked = self.asked();
            let Some(answer) = asked.as_mut().map(|asked| &mut asked.answer) else {
                return Poll::Pending;
            };
            let answered = answer.as_mut().poll(cx);
            if answered.is_ready() {
                *asked = None;
            }
            answered
        })
        .await
    }
}

/// How hyper's turn ended.
enum Ended {
    Closed(hyper::Result<()>),
    Parked(Parked),
}

/// Serves it until it ends, has been idle for `header_timeout`, or nothing is under way any more once the process drains.
///
/// An idle connection costs what this future takes. It is no `async fn`, which would keep every argument twice.
pub(super) fn serve(
    stream: Secured,
    requests: Requests,
    watch: Watch,
    mut phase: Watching,
) -> impl Future<Output = hyper::Result<()>> + Send {
    let requests = Arc::new(requests);
    let mut parked = Parked {
        client: Client::new(stream, &watch),
        asked: None,
        is_quiet: true,
    };
    async move {
        loop {
            let moving = move_bytes(parked, Arc::clone(&requests), &watch, phase.clone());
            parked = match Box::pin(moving).await {
                Ended::Closed(how) => return how,
                Ended::Parked(parked) => parked,
            };
            if !parked.is_quiet {
                continue;
            }
            match &mut parked.asked {
                Some(Asked { answer, .. }) => {
                    let answered = tokio::select! {
                        biased;
                        answered = answer.as_mut() => answered,
                        // Also if it has gone: hyper knows what follows from that.
                        _ = parked.client.speaks() => continue,
                        () = phase.reached(Phase::Draining) => continue,
                    };
                    *answer = Box::pin(ready(answered));
                }
                None => tokio::select! {
                    biased;
                    speaks = parked.client.speaks() => match speaks {
                        true => {}
                        false => return Ok(()),
                    },
                    () = sleep(requests.server.header_timeout) => return Ok(()),
                    () = phase.reached(Phase::Draining) => return Ok(()),
                },
            }
        }
    }
}

/// Has hyper serve a connection until it ends or can be parked.
async fn move_bytes(
    parked: Parked,
    requests: Arc<Requests>,
    watch: &Watch,
    mut phase: Watching,
) -> Ended {
    let Parked {
        mut client,
        asked,
        is_quiet: may_park,
    } = parked;
    let server = Arc::clone(&requests.server);
    let under_way = UnderWay::default();
    if let Some(asked) = asked {
        client.put_back(asked.head.unwrap_or_default());
        *under_way.asked() = Some(asked);
    }
    let (told, leaving, asking) = (watch.clone(), phase.clone(), under_way.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        // One that was parked is there already.
        if asking.asked().is_none() {
            told.request(&request);
            request.extensions_mut().insert(told.cut_off());
            let head = stand_in(&request);
            let answer = Box::pin(requests.answer(request));
            *asking.asked() = Some(Asked { answer, head });
        }
        let leaving = leaving.clone();
        let answer = asking.clone().answer();
        answer.map(move |response| Ok::<_, Infallible>(last_of_all(&leaving, response)))
    });
    // hyper-util's `auto` builder never lets a silent connection go, and its `GracefulShutdown`, as hyper's own,
    // waits for the rest of half a head: hence hyper itself, and the watch.
    let mut connection = http1::Builder::new()
        .timer(watch.timer())
        .header_read_timeout(server.header_timeout)
        .max_headers(server.max_headers)
        .max_header_size(server.max_head)
        .max_buf_size(2 * server.max_head)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(client), service)
        .with_upgrades();
    let mut tick = pin!(sleep(PARKED_AFTER));
    loop {
        tokio::select! {
            biased;
            ended = &mut connection => return Ended::Closed(ended),
            () = phase.reached(Phase::Draining) => break,
            () = tick.as_mut(), if may_park => {}
        }
        let can_wait = |asked: &mut Asked| asked.head.is_some() && watch.has_sent_all();
        let asked = under_way.asked().take_if(can_wait);
        if asked.is_some() || watch.is_idle() && !watch.is_ending() {
            let Some(parts) = connection.into_parts() else {
                return Ended::Closed(Ok(()));
            };
            let mut client = parts.io.into_inner();
            client.put_back(&parts.read_buf);
            let is_quiet = parts.read_buf.is_empty();
            return Ended::Parked(Parked {
                client,
                asked,
                is_quiet,
            });
        }
        tick.as_mut().reset(Instant::now() + PARKED_AFTER);
    }
    let mut connection = pin!(connection);
    connection.as_mut().graceful_shutdown();
    let ended = poll_fn(|cx| {
        let ended = connection.as_mut().poll(cx);
        // Nothing, or half a head, has come of the next request.
        match ended.is_pending() && watch.is_idle() {
            true => Poll::Ready(Ok(())),
            false => ended,
        }
    });
    Ended::Closed(ended.await)
}

/// What stands for the head of a request that has no body and asks for nothing but its answer.
fn stand_in(request: &Request<Incoming>) -> Option<&'static [u8]> {
    let headers = request.headers();
    let is_plain = request.method() == Method::GET
        && request.body().is_end_stream()
        && !headers.contains_key(UPGRADE)
        && !headers.contains_key(TE);
    let version = request.version();
    let keeps = |keeps, value: &HeaderValue| match keeps {
        true => !has_token(value, "close"),
        false => has_token(value, "keep-alive"),
    };
    let lines = headers.get_all(CONNECTION).iter();
    let keeps = lines.fold(version == Version::HTTP_11, keeps);
    match (version, keeps) {
        _ if !is_plain => None,
        (Version::HTTP_11, true) => Some(b"GET / HTTP/1.1\r\n\r\n"),
        (Version::HTTP_11, false) => Some(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n"),
        (Version::HTTP_10, true) => Some(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"),
        (Version::HTTP_10, false) => Some(b"GET / HTTP/1.0\r\n\r\n"),
        _ => None,
    }
}

/// The client is to come back over another connection, if another process is about to take over.
fn last_of_all(phase: &Watching, mut response: Response<Body>) -> Response<Body> {
    let is_leaving = phase.now() >= Phase::Leaving;
    if is_leaving && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}
