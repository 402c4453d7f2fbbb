//! Listeners, one current-thread runtime per core, and the end of it all.

mod accept;
mod connection;
mod head;
pub(crate) mod listen;
pub(crate) mod request;
mod rest;
pub(crate) mod stream;
mod target;
pub(crate) mod watched;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pullgate_compat::signature::SignatureKey;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::config::Config;
use crate::guest::Guests;
use crate::hub::Hub;
use crate::push::{self, statistics::Statistics};
use crate::state::State;
use crate::upstream::pool::Pool;
pub(crate) use accept::Counted;
use accept::{Room, accept};
use listen::{Bound, ListenError};

/// Everything the process has one of.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) hub: Arc<Hub>,
    pub(crate) signature: SignatureKey,
    pub(crate) guests: Option<Guests>,
    pub(crate) statistics: Statistics,
    pub(crate) state: Arc<State>,
    /// Open connections of clients, counted by [`Counted`].
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
    room: Arc<Room>,
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
    let room = Arc::new(Room::new(app.config.server.max_connections, cores));
    tracing::info!(cores, max_connections = room.max(), "ready");
    std::thread::scope(|threads| {
        for (index, sockets) in bound.into_iter().enumerate() {
            let stop = stop.clone();
            let room = Arc::clone(&room);
            threads.spawn(move || {
                match tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                {
                    Ok(runtime) => runtime.block_on(serve(app, index, sockets, room, stop)),
                    Err(error) => tracing::error!(%error, "a core could not start"),
                }
            });
        }
    });
    Ok(())
}

async fn serve(
    app: &Arc<App>,
    index: usize,
    sockets: Vec<Bound>,
    room: Arc<Room>,
    mut stop: watch::Receiver<bool>,
) {
    let pool = Pool::new(app.config.upstream.clone());
    let core = Arc::new(Core {
        index,
        app: Arc::clone(app),
        pool,
        room,
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
