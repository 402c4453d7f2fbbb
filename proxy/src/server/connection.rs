//! One client's connection, to its end or to the end of us: what it speaks, and what answers.

use std::error::Error as _;
use std::sync::{Arc, Mutex};

use futures_util::future::{Either, FutureExt, TryFutureExt};
use http::{Request, Response};
use hyper::body::Incoming;
use rustls::ServerConfig;
use tokio::time::timeout;

use super::access::Untold;
use super::request::Arrival;
use super::tls::{self, Serves};
use super::{Core, http1, http2};
use crate::body::Body;
use crate::config::{Listener, Server};
use crate::connections::Counted;
use crate::limits::{Reason, refused};
use crate::net::Stream;
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
    untold: Arc<Untold>,
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
        let answer = arrival.answer(request, Arc::clone(&self.untold));
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
///
/// An idle connection costs what this future takes. It is no `async fn`, which would keep every argument twice.
#[expect(clippy::manual_async_fn, reason = "see above")]
pub(super) fn serve(
    core: Arc<Core>,
    stream: Stream,
    peer: Peer,
    unasked: Counted,
    serves: Arc<Serves>,
    mut phase: Watching,
) -> impl Future<Output = ()> + Send {
    async move {
        let server = Arc::clone(&core.process.serving().server);
        let watch = Watch::default();
        let stream = Watched::new(stream, &watch, server.send_timeout);
        let secured = match &serves.tls {
            None => Secured::Plain(stream),
            Some(config) => {
                match Box::pin(secure(stream, config, &server, &peer, &mut phase)).await {
                    Some(stream) => stream,
                    None => return,
                }
            }
        };
        let requests = Requests {
            core,
            listener: Arc::clone(&serves.listener),
            peer: Peer {
                tls: serves.tls.is_some() || peer.tls,
                ..peer
            },
            unasked: Mutex::new(Some(unasked)),
            untold: Arc::default(),
            server,
        };
        let ended = match &secured {
            Secured::Tls(tls) if tls::is_http2(tls) => {
                Box::pin(http2::serve(secured, requests, phase)).await
            }
            Secured::Plain(_) | Secured::Tls(_) => {
                http1::serve(secured, requests, watch, phase).await
            }
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
}

/// The same by TLS. `None`: the client does not get that far, or wanted nothing else.
async fn secure(
    stream: Watched,
    config: &Arc<ServerConfig>,
    server: &Server,
    peer: &Peer,
    phase: &mut Watching,
) -> Option<Secured> {
    let accepted = tls::accept(Arc::clone(config), stream);
    let accepted = tokio::select! {
        accepted = timeout(server.header_timeout, accepted) => accepted.ok()?,
        () = phase.reached(Phase::Draining) => return None,
    };
    match accepted {
        Ok(stream) if tls::is_challenge(&stream) => None,
        Ok(stream) => Some(Secured::Tls(stream)),
        Err(error) => {
            let client = peer.address;
            tracing::info!(%client, %error, "a TLS handshake failed");
            None
        }
    }
}
