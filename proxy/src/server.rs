//! Listeners, one current-thread runtime per core, and the end of it all.

mod accept;
mod access;
mod admission;
mod connection;
mod for_guests;
mod head;
mod http1;
mod http2;
pub(crate) mod inherited;
pub(crate) mod listen;
mod proxy_protocol;
mod redirect;
pub(crate) mod request;
mod request_id;
pub(crate) mod tls;

use std::hint::black_box;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::config::{self, Address, Listener};
use crate::hub::Hub;
use crate::notify;
use crate::phase::{Phase, Phases, Watching};
use crate::process::Process;
use crate::push;
use crate::site::Site;
use accept::{Room, accept};
use inherited::Inherited;
use listen::{Accepting, Bound, ListenError};
use tls::Serves;

/// Sooner than any timeout that is used at every request.
const TICK: Duration = Duration::from_secs(1);

/// Bytes that the allocator gets from the system and gives back as a whole. Nothing is written to them.
const LARGE: usize = 1 << 20;

/// The cores of a process, which serve its sites.
#[derive(Debug)]
pub(crate) struct Server {
    process: Arc<Process>,
    cores: Vec<(Arc<Core>, Handle)>,
    /// The first core's.
    first: Handle,
    room: Arc<Room>,
    phase: Watching,
    inherited: Inherited,
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
    address: Address,
    /// For whom it accepts now.
    serves: watch::Sender<Arc<Serves>>,
    /// The sockets, for as long as somebody accepts on them.
    sockets: Vec<Weak<Accepting>>,
}

/// The tasks that deliver what is published at a site, and those beside them; dropping it ends them.
#[derive(Debug)]
pub(crate) struct Delivering {
    hub: Arc<Hub>,
    tasks: Vec<AbortHandle>,
    /// One reports its statistics, one checks its back ends.
    beside: [AbortHandle; 2],
}

impl Server {
    pub(crate) fn new(
        process: &Arc<Process>,
        cores: usize,
        phases: &Phases,
        inherited: Inherited,
    ) -> io::Result<(Self, Runtimes)> {
        let serving = process.serving();
        let room = Arc::new(Room::new(&serving.server, cores));
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
        let first = runtimes.first().ok_or(io::ErrorKind::InvalidInput)?;
        let server = Self {
            first: first.handle().clone(),
            process: Arc::clone(process),
            cores: runtimes.iter().enumerate().map(core).collect(),
            room,
            phase: phases.watch(),
            inherited,
        };
        Ok((server, Runtimes(runtimes)))
    }

    /// How many there are.
    pub(crate) fn cores(&self) -> usize {
        self.cores.len()
    }

    /// A task beside all others, on the first core.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.first.spawn(task).abort_handle()
    }

    /// From now on so many connections there may be.
    pub(crate) fn set_max_connections(&self, server: &config::Server) {
        self.room.set_max(server);
    }

    /// Delivers what is published at a site.
    pub(crate) fn deliver(&self, site: &Arc<Site>) -> Delivering {
        let deliver = |(core, handle): &(Arc<Core>, Handle)| {
            let (hub, index) = (Arc::clone(&site.hub), core.index);
            handle
                .spawn(async move { hub.deliver(index).await })
                .abort_handle()
        };
        Delivering {
            hub: Arc::clone(&site.hub),
            tasks: self.cores.iter().map(deliver).collect(),
            beside: self.beside(site),
        }
    }

    fn beside(&self, site: &Arc<Site>) -> [AbortHandle; 2] {
        let (reporting, checking) = (Arc::clone(site), Arc::clone(site));
        [
            self.spawn(async move { push::statistics::keep_reporting(&reporting).await }),
            self.spawn(async move { checking.keep_checking().await }),
        ]
    }

    /// Binds an address for all cores.
    ///
    /// # Errors
    ///
    /// When it cannot be bound.
    pub(crate) fn bind(&self, listener: &Listener) -> Result<Vec<Bound>, ListenError> {
        listen::bind(listener, self.cores.len(), &self.inherited)
    }

    /// Accepts on what was bound. There may be more sockets than cores, if they are inherited: a core has several then.
    pub(crate) fn accept(&self, serves: Arc<Serves>, bound: Vec<Bound>) -> Open {
        let address = serves.listener.address.clone();
        let (serves, now) = watch::channel(serves);
        let mut sockets = Vec::new();
        for ((core, handle), socket) in self.cores.iter().cycle().zip(bound) {
            let _inside = handle.enter();
            match socket.accepting().map(Arc::new) {
                Ok(socket) => {
                    sockets.push(Arc::downgrade(&socket));
                    let core = Arc::clone(core);
                    handle.spawn(accept(core, socket, now.clone(), self.phase.clone()));
                }
                Err(error) => tracing::error!(%error, "a listener could not start"),
            }
        }
        Open {
            address,
            serves,
            sockets,
        }
    }

    /// The runtimes of all cores.
    pub(crate) fn runtimes(&self) -> impl Iterator<Item = &Handle> {
        self.cores.iter().map(|(_, handle)| handle)
    }

    /// Inherited sockets that no listener has asked for.
    pub(crate) fn inherited(&self) -> &Inherited {
        &self.inherited
    }

    /// Waits for something on the first core, which must run.
    pub(crate) fn wait_for<T>(&self, future: impl Future<Output = T>) -> T {
        self.first.block_on(future)
    }

    /// Serves until the process is to drain, then lets what is under way end.
    pub(crate) fn run(&self, runtimes: Runtimes) {
        let cores = self.cores.len();
        tracing::info!(cores, max_connections = self.room.max(), "ready");
        std::thread::scope(|threads| {
            for (index, runtime) in runtimes.0.into_iter().enumerate() {
                let mut phase = self.phase.clone();
                threads.spawn(move || {
                    runtime.block_on(async {
                        tokio::spawn(keep_ticking());
                        phase.reached(Phase::Draining).await;
                        tokio::select! {
                            () = drain(&self.process, index == 0) => {}
                            () = phase.reached(Phase::Ending) => {}
                        }
                    });
                });
            }
        });
    }
}

impl Open {
    /// Its sockets, for another process.
    pub(crate) fn sockets(&self) -> io::Result<Vec<OwnedFd>> {
        let sockets = self.sockets.iter().filter_map(Weak::upgrade);
        sockets.map(|socket| socket.duplicate()).collect()
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Accepts for somebody else at the same address.
    pub(crate) fn serve(&self, serves: Arc<Serves>) {
        // There is a receiver as long as a core accepts.
        let _ = self.serves.send(serves);
    }
}

impl Delivering {
    pub(crate) fn is_for(&self, site: &Site) -> bool {
        Arc::ptr_eq(&self.hub, &site.hub)
    }

    /// The site may have changed: what goes on beside is for what it is now.
    pub(crate) fn begin_anew(&mut self, server: &Server, site: &Arc<Site>) {
        self.beside.iter().for_each(AbortHandle::abort);
        self.beside = server.beside(site);
    }
}

impl Drop for Delivering {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        self.beside.iter().for_each(AbortHandle::abort);
    }
}

/// Has a timer that is due soon. The runtime wakes itself, by a system call, for a new timer that is due before all others;
/// without this one that is each next head's, whenever only answers are waited for.
async fn keep_ticking() {
    loop {
        sleep(TICK).await;
        give_back();
    }
}

/// Has the allocator look for pages that have been free for a second, and give them back to the system. By itself it does
/// so only when memory of the kind is freed: of a crowd that has gone, all would stay until another comes.
fn give_back() {
    drop(black_box(Vec::<u8>::with_capacity(LARGE)));
}

/// Waits for the connections, no longer than `drain_timeout`. One core closes the subscribers.
async fn drain(process: &Process, closes: bool) {
    let serving = process.serving();
    let within = serving.server.drain_timeout;
    let mut _more_time = None;
    if closes {
        notify::stopping();
        _more_time = Some(notify::MoreTime::ask());
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
