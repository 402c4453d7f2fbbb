//! One client's connection: hyper on it, to its end or to the end of us.

use std::convert::Infallible;
use std::error::Error as _;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::future::{Either, FutureExt, TryFutureExt};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::Core;
use super::request::Arrival;
use crate::config::Listener;
use crate::net::Stream;
use crate::net::peer::Peer;
use crate::net::watched::{Watch, Watched};
use crate::phase::{Phase, Watching};
use crate::push;
use crate::route::Route;

/// Largest request head: Bitrix cookies are big.
const MAX_HEAD: usize = 64 << 10;

/// Lines in a request head: hyper takes 100 by itself, nginx sets no limit.
const MAX_HEADERS: usize = 256;

/// Serves a connection until it ends, or until nothing is under way on it any more once the process drains.
pub(super) async fn serve(
    core: Arc<Core>,
    stream: Stream,
    peer: Peer,
    listener: Arc<Listener>,
    mut phase: Watching,
) {
    let server = Arc::clone(&core.process.serving().server);
    let (header_timeout, send_timeout) = (server.header_timeout, server.send_timeout);
    let watch = Watch::default();
    let told = watch.clone();
    let service = service_fn(move |incoming| {
        told.request(&incoming);
        let arrival = Arrival::of(&core, &listener, peer, &incoming);
        let route = arrival.route;
        let answer = arrival.answer(incoming);
        if matches!(route, Route::Publish | Route::ClientPublish | Route::Login) {
            // PHP often closes without waiting for the answer. hyper then drops the future it was
            // given, perhaps before it has polled it: a publish is a task, which nobody can drop.
            Either::Left(
                tokio::spawn(answer)
                    .unwrap_or_else(|_| push::broken())
                    .map(Ok::<_, Infallible>),
            )
        } else {
            Either::Right(answer.map(Ok))
        }
    });
    // hyper-util's `auto` builder never lets a silent connection go, and its `GracefulShutdown`, as hyper's own,
    // waits for the rest of half a head: hence hyper itself, and the watch.
    let connection = http1::Builder::new()
        .timer(watch.timer())
        .header_read_timeout(header_timeout)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD)
        .max_buf_size(2 * MAX_HEAD)
        .title_case_headers(true)
        .serve_connection(
            TokioIo::new(Watched::new(stream, &watch, send_timeout)),
            service,
        )
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
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
    };
    match ended {
        // hyper has answered by itself, or closed: no other line tells of it.
        Err(error) if error.is_parse() => {
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
