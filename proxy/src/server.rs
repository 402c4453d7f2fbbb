//! Listeners, one current-thread runtime per core, and the end of it all.

pub(crate) mod listen;
pub(crate) mod request;
mod rest;
pub(crate) mod stream;

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{Either, FutureExt, TryFutureExt};
use http::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pullgate_compat::signature::SignatureKey;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::config::{Config, Role};
use crate::guest::Guests;
use crate::hub::Hub;
use crate::push::{self, statistics::Statistics};
use crate::route::Route;
use crate::state::State;
use crate::upstream::pool::Pool;
use listen::{Bound, ListenError};
use stream::Stream;

/// Largest request head: Bitrix cookies are big.
const MAX_HEAD: usize = 64 << 10;

/// Everything the process has one of.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) hub: Arc<Hub>,
    pub(crate) signature: SignatureKey,
    pub(crate) guests: Option<Guests>,
    pub(crate) statistics: Statistics,
    pub(crate) state: Arc<State>,
    pub(crate) connections: AtomicUsize,
}

impl App {
    /// The guests, if they have channels of pullgate's own.
    pub(crate) fn guest_push(&self) -> Option<&Guests> {
        self.guests
            .as_ref()
            .filter(|_| self.config.guest.push.enabled)
    }
}

/// Everything a core has one of.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) index: usize,
    pub(crate) app: Arc<App>,
    pub(crate) pool: Pool,
}

/// Serves until `stop` becomes true, then lets what is under way end.
pub(crate) fn run(
    app: &Arc<App>,
    cores: usize,
    stop: &watch::Receiver<bool>,
) -> Result<(), ListenError> {
    let mut bound: Vec<Vec<Bound>> = (0..cores).map(|_| Vec::new()).collect();
    for listener in &app.config.listeners {
        for (core, socket) in bound.iter_mut().zip(listen::bind(listener, cores)?) {
            core.push(socket);
        }
    }
    tracing::info!(cores, "ready");
    std::thread::scope(|threads| {
        for (index, sockets) in bound.into_iter().enumerate() {
            let stop = stop.clone();
            threads.spawn(move || {
                match tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                {
                    Ok(runtime) => runtime.block_on(serve(app, index, sockets, stop)),
                    Err(error) => tracing::error!(%error, "a core could not start"),
                }
            });
        }
    });
    Ok(())
}

async fn serve(app: &Arc<App>, index: usize, sockets: Vec<Bound>, mut stop: watch::Receiver<bool>) {
    let pool = Pool::new(app.config.upstream.clone());
    let core = Arc::new(Core {
        index,
        app: Arc::clone(app),
        pool,
    });
    if index == 0 {
        let app = Arc::clone(app);
        tokio::spawn(async move { push::statistics::keep_reporting(&app).await });
    }
    let hub = Arc::clone(&app.hub);
    tokio::spawn(async move { hub.deliver(index).await });
    for socket in sockets {
        tokio::spawn(accept(Arc::clone(&core), socket, stop.clone()));
    }
    stopped(&mut stop).await;
    drain(&core).await;
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender has gone, which ends the process too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Waits for the connections, no longer than `drain_timeout`.
async fn drain(core: &Core) {
    let within = core.app.config.server.drain_timeout;
    if core.index == 0 {
        core.app.hub.close_all(within / 2).await;
    }
    let ended = timeout(within, async {
        while core.app.connections.load(Ordering::Relaxed) > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    });
    if ended.await.is_err() && core.index == 0 {
        let left = core.app.connections.load(Ordering::Relaxed);
        tracing::warn!(
            left,
            "connections were cut off at the end of the drain time"
        );
    }
}

async fn accept(core: Arc<Core>, socket: Bound, mut stop: watch::Receiver<bool>) {
    let role = socket.role;
    let listener = match socket.accepting() {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a listener could not start"),
    };
    let max = core.app.config.server.max_connections;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => return,
        };
        match accepted {
            Ok(_) if max > 0 && core.app.connections.load(Ordering::Relaxed) >= max => {
                tracing::warn!(
                    max,
                    "a connection was refused: server.max_connections is reached"
                );
            }
            Ok((stream, peer)) => {
                let counted = Counted::new(&core.app);
                let core = Arc::clone(&core);
                let stop = stop.clone();
                tokio::spawn(async move {
                    connection(core, stream, peer, role, stop).await;
                    drop(counted);
                });
            }
            Err(error) => {
                // Mostly "too many open files": others must close before it gets better.
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(
    core: Arc<Core>,
    stream: Stream,
    peer: IpAddr,
    role: Role,
    mut stop: watch::Receiver<bool>,
) {
    let header_timeout = core.app.config.server.header_timeout;
    let service = service_fn(move |incoming| {
        let route = Route::of(
            role,
            &core.app.config.push.paths,
            Request::uri(&incoming).path(),
        );
        let answer = request::answer(Arc::clone(&core), role, route, peer, incoming);
        if matches!(route, Route::Publish | Route::Rest | Route::Login) {
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
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_header_size(MAX_HEAD)
        .max_buf_size(2 * MAX_HEAD)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    // How a connection ends is its client's business.
    let stopped = tokio::select! {
        _ = connection.as_mut() => false,
        () = stopped(&mut stop) => true,
    };
    if stopped {
        connection.as_mut().graceful_shutdown();
        let _ = connection.await;
    }
}

/// One connection in `App::connections`, which a stop waits for.
#[derive(Debug)]
pub(crate) struct Counted(Arc<App>);

impl Counted {
    pub(crate) fn new(app: &Arc<App>) -> Self {
        app.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(app))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
