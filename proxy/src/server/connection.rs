//! One client's connection: TLS and hyper on it, to its end or to the end of us.

use std::convert::Infallible;
use std::error::Error as _;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use futures_util::future::{Either, FutureExt, TryFutureExt};
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::request::Arrival;
use super::tls::{self, Serves};
use super::{Core, http2};
use crate::body::Body;
use crate::config::{Listener, Server};
use crate::connections::Counted;
use crate::limits::{Reason, refused};
use crate::net::Stream;
use crate::net::client::Client;
use crate::net::peer::Peer;
use crate::net::secured::Secured;
use crate::net::watched::{Watch, Watched};
use crate::phase::{Phase, Watching};
use crate::push;
use crate::route::Route;

/// What answers the requests of one connection.
#[derive(Debug)]
pub(super) struct Requests {
    core: Arc<Core>,
    listener: Arc<Listener>,
    peer: Peer,
    /// Counts it until a request comes.
    unasked: Mutex<Option<Counted>>,
    /// As it was when the connection began.
    pub(super) server: Arc<Server>,
}

impl Requests {
    pub(super) fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Body>> + Send + use<> {
        drop(self.unasked.lock().map(|mut unasked| unasked.take()));
        let arrival = Arrival::of(&self.core, &self.listener, self.peer, &request);
        let route = arrival.route;
        let answer = arrival.answer(request);
        if matches!(route, Route::Publish | Route::ClientPublish | Route::Login) {
            // PHP often closes without waiting for the answer. hyper then drops the future it was
            // given, perhaps before it has polled it: a publish is a task, which nobody can drop.
            let publishing = self.core.process.publishing.count();
            let answer = answer.inspect(move |_| drop(publishing));
            Either::Left(tokio::spawn(answer).unwrap_or_else(|_| push::broken()))
        } else {
            Either::Right(answer)
        }
    }
}

/// Serves a connection until it ends, or until nothing is under way on it any more once the process drains.
/// `unasked` counts it until a request comes.
pub(super) async fn serve(
    core: Arc<Core>,
    stream: Stream,
    mut peer: Peer,
    unasked: Counted,
    serves: Arc<Serves>,
    mut phase: Watching,
) {
    let server = Arc::clone(&core.process.serving().server);
    let watch = Watch::default();
    let stream = Watched::new(stream, &watch, server.send_timeout);
    let stream = match &serves.tls {
        None => Secured::Plain(stream),
        Some(config) => {
            let accepted = tls::accept(Arc::clone(config), stream);
            let accepted = tokio::select! {
                accepted = timeout(server.header_timeout, accepted) => accepted,
                () = phase.reached(Phase::Draining) => return,
            };
            match accepted {
                Ok(Ok(stream)) if tls::is_challenge(&stream) => return,
                Ok(Ok(stream)) => {
                    peer.tls = true;
                    Secured::Tls(stream)
                }
                Ok(Err(error)) => {
                    let client = peer.address;
                    return tracing::info!(%client, %error, "a TLS handshake failed");
                }
                Err(_) => return,
            }
        }
    };
    let requests = Requests {
        core,
        listener: Arc::clone(&serves.listener),
        peer,
        unasked: Mutex::new(Some(unasked)),
        server,
    };
    let ended = match &stream {
        Secured::Tls(tls) if tls::is_http2(tls) => http2::serve(stream, requests, phase).await,
        Secured::Plain(_) | Secured::Tls(_) => serve_http1(stream, requests, &watch, phase).await,
    };
    match ended {
        // hyper has answered by itself, or closed: no other line tells of it.
        Err(error) if error.is_parse() => {
            if error.is_parse_too_large() {
                refused(Reason::Head, peer.address);
            }
            tracing::info!(client = %peer.address, %error, "a request was refused");
        }
        // The head of the response had gone when its body broke off.
        Err(error) if error.is_user() => {
            let cause = error.source().map(ToString::to_string);
            tracing::warn!(client = %peer.address, %error, cause, "a response was cut off");
        }
        // How else a connection ends is its client's business.
        Ok(()) | Err(_) => {}
    }
}

async fn serve_http1(
    stream: Secured,
    requests: Requests,
    watch: &Watch,
    mut phase: Watching,
) -> hyper::Result<()> {
    let server = Arc::clone(&requests.server);
    let (told, leaving) = (watch.clone(), phase.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        told.request(&request);
        request.extensions_mut().insert(told.cut_off());
        let leaving = leaving.clone();
        let answer = requests.answer(request);
        answer.map(move |response| Ok::<_, Infallible>(last_of_all(&leaving, response)))
    });
    // hyper-util's `auto` builder never lets a silent connection go, and its `GracefulShutdown`, as hyper's own,
    // waits for the rest of half a head: hence hyper itself, and the watch.
    let connection = http1::Builder::new()
        .timer(watch.timer())
        .header_read_timeout(server.header_timeout)
        .max_headers(server.max_headers)
        .max_header_size(server.max_head)
        .max_buf_size(2 * server.max_head)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(Client::new(stream, watch)), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = phase.reached(Phase::Draining) => {
            connection.as_mut().graceful_shutdown();
            poll_fn(|cx| {
                let ended = connection.as_mut().poll(cx);
                // Nothing, or half a head, has come of the next request.
                match ended.is_pending() && watch.is_idle() {
                    true => Poll::Ready(Ok(())),
                    false => ended,
                }
            })
            .await
        }
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
