//! Listeners, one current-thread runtime per core, and the end of it all.

mod accept;
mod connection;
mod for_guests;
mod head;
pub(crate) mod listen;
pub(crate) mod request;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::config::Listener;
use crate::process::Process;
use crate::push;
use crate::site::Site;
use accept::{Room, accept};
use listen::ListenError;

/// The cores of a process, which serve its sites.
#[derive(Debug)]
pub(crate) struct Server {
    process: Arc<Process>,
    cores: Vec<(Arc<Core>, Handle)>,
    room: Arc<Room>,
    stop: watch::Receiver<bool>,
}

/// Everything a core has one of.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) index: usize,
    pub(crate) process: Arc<Process>,
    room: Arc<Room>,
}

/// The runtimes of the cores, which nothing runs on yet.
#[derive(Debug)]
pub(crate) struct Runtimes(Vec<Runtime>);

/// A listener that is open; dropping it closes it, and none of its connections.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) listener: Arc<Listener>,
    _open: watch::Sender<()>,
}

impl Server {
    /// `stop` becomes true when the process is to end.
    pub(crate) fn new(
        process: &Arc<Process>,
        cores: usize,
        stop: watch::Receiver<bool>,
    ) -> io::Result<(Self, Runtimes)> {
        let serving = process.serving();
        let room = Arc::new(Room::new(serving.server.max_connections, cores));
        let runtime = |_| Builder::new_current_thread().enable_all().build();
        let runtimes: Vec<Runtime> = (0..cores).map(runtime).collect::<Result<_, _>>()?;
        let core = |(index, runtime): (usize, &Runtime)| {
            let core = Core {
                index,
                process: Arc::clone(process),
                room: Arc::clone(&room),
            };
            (Arc::new(core), runtime.handle().clone())
        };
        let server = Self {
            process: Arc::clone(process),
            cores: runtimes.iter().enumerate().map(core).collect(),
            room,
            stop,
        };
        Ok((server, Runtimes(runtimes)))
    }

    /// Delivers what is published at a site.
    pub(crate) fn start(&self, site: &Arc<Site>) {
        for (core, handle) in &self.cores {
            let (hub, index) = (Arc::clone(&site.hub), core.index);
            handle.spawn(async move { hub.deliver(index).await });
        }
        if let Some((_, handle)) = self.cores.first() {
            let site = Arc::clone(site);
            handle.spawn(async move { push::statistics::keep_reporting(&site).await });
        }
    }

    /// Opens a listener on all cores.
    ///
    /// # Errors
    ///
    /// When its address cannot be bound.
    pub(crate) fn listen(&self, listener: &Arc<Listener>) -> Result<Open, ListenError> {
        let (open, closed) = watch::channel(());
        let sockets = listen::bind(listener, self.cores.len())?;
        for ((core, handle), socket) in self.cores.iter().zip(sockets) {
            let core = Arc::clone(core);
            handle.spawn(accept(core, socket, closed.clone(), self.stop.clone()));
        }
        Ok(Open {
            listener: Arc::clone(listener),
            _open: open,
        })
    }

    /// Serves until `stop` becomes true, then lets what is under way end.
    pub(crate) fn run(&self, runtimes: Runtimes) {
        let cores = self.cores.len();
        tracing::info!(cores, max_connections = self.room.max(), "ready");
        std::thread::scope(|threads| {
            for (index, runtime) in runtimes.0.into_iter().enumerate() {
                let mut stop = self.stop.clone();
                threads.spawn(move || {
                    runtime.block_on(async {
                        stopped(&mut stop).await;
                        drain(&self.process, index == 0).await;
                    });
                });
            }
        });
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender has gone, which ends the process too.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Waits for the connections, no longer than `drain_timeout`. One core closes the subscribers.
async fn drain(process: &Process, closes: bool) {
    let serving = process.serving();
    let within = serving.server.drain_timeout;
    if closes {
        let sites = serving.sites.all().iter();
        let closing = sites.map(|site| site.hub.close_all(within / 2));
        futures_util::future::join_all(closing).await;
    }
    let ended = timeout(within, async {
        while process.connections.open() > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    });
    if ended.await.is_err() && closes {
        let left = process.connections.open();
        tracing::warn!(
            left,
            "connections were cut off at the end of the drain time"
        );
    }
}
