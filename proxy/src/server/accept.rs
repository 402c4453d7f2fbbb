//! Taking connections in, as far as there is room. Some file descriptors are left for the site's side.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::listen::Accepting;
use super::proxy_protocol::{Refused, take_header};
use super::tls::Serves;
use super::{Core, connection};
use crate::config::Role;
use crate::error::{Answer, Error};
use crate::log::once_a_second;
use crate::net::Stream;
use crate::net::peer::Peer;
use crate::phase::{Phase, Watching};

/// Descriptors that a core opens beside its connections: its poll, its timers, a file of history.
const PER_CORE: usize = 8;

/// How long a client that is turned away may take to read why.
const FAREWELL: Duration = Duration::from_secs(1);

/// The second in which the log was last told that not all get in.
static TOLD: AtomicU64 = AtomicU64::new(0);

/// The second in which the log was last told of a connection without a good PROXY header.
static REFUSED: AtomicU64 = AtomicU64::new(0);

/// How many connections there may be.
#[derive(Debug)]
pub(crate) struct Room {
    /// What the file descriptors allow.
    possible: usize,
    /// What is allowed. A reload may change it.
    max: AtomicUsize,
    /// What clients beyond are told,
    no_room: Vec<u8>,
    /// and how many at a time.
    farewells: Arc<Semaphore>,
}

impl Room {
    /// As configured, and no more than three of four free file descriptors: the rest is for connections to the
    /// site, for the administrator and for history. 0: so many.
    pub(super) fn new(configured: usize, cores: usize) -> Self {
        // Linux tells what is open; elsewhere this is about what a start opens.
        let open = std::fs::read_dir("/proc/self/fd").map_or(64, Iterator::count);
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let free = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .saturating_sub(open + cores * PER_CORE);
        let room = Self {
            possible: (free / 4 * 3).max(1),
            max: AtomicUsize::new(0),
            no_room: no_room(),
            farewells: Arc::new(Semaphore::new((free / 16).clamp(1, 1024))),
        };
        room.set_max(configured);
        room
    }

    pub(super) fn set_max(&self, configured: usize) {
        let possible = self.possible;
        if configured > possible {
            tracing::warn!(
                possible,
                "server.max_connections is more than the limit on open files allows"
            );
        }
        let max = match configured {
            0 => possible,
            configured => configured.min(possible),
        };
        self.max.store(max, Ordering::Relaxed);
    }

    pub(super) fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// Tells a client that there is no room, and waits a little for it to have read that: closing at once would
    /// take the answer away from one that is still sending. One that comes by TLS is closed without an answer.
    fn turn_away(&self, mut stream: Stream, by_tls: bool) {
        let max = self.max();
        once_a_second(&TOLD, || {
            tracing::warn!(max, "{}: they get 503", Error::NoRoom);
        });
        if by_tls {
            // A handshake, to tell it why, would cost more than a request.
            return;
        }
        // Nothing was written before, so the kernel has room for it.
        let _ = stream.write_now(&self.no_room);
        if stream.is_reserved() {
            return;
        }
        let Ok(permit) = Arc::clone(&self.farewells).try_acquire_owned() else {
            return;
        };
        tokio::spawn(async move {
            let told = async {
                stream.shutdown().await?;
                while stream.read(&mut [0; 1024]).await? > 0 {}
                io::Result::Ok(())
            };
            // Whether it listened or not: it goes.
            let _ = timeout(FAREWELL, told).await;
            drop(permit);
        });
    }
}

/// Accepts until the listener is closed, whose sender is dropped then, or the process drains.
pub(super) async fn accept(
    core: Arc<Core>,
    listener: Arc<Accepting>,
    mut serves: watch::Receiver<Arc<Serves>>,
    mut phase: Watching,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            changed = serves.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            () = phase.reached(Phase::Paused) => match phase.resumed().await {
                true => continue,
                false => return,
            },
        };
        match accepted {
            Ok((stream, peer)) => {
                let serves = Arc::clone(&serves.borrow());
                // The administrator gets in when nobody else does.
                let is_full = core.process.connections.open() >= core.room.max();
                if serves.listener.role != Role::Admin && (is_full || stream.is_reserved()) {
                    core.room.turn_away(stream, serves.tls.is_some());
                } else {
                    take_in(&core, stream, peer, &serves, &phase);
                }
            }
            Err(error) => {
                // Mostly "too many open files": others must close before it gets better.
                once_a_second(
                    &TOLD,
                    || tracing::warn!(%error, "a connection could not be accepted"),
                );
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn take_in(core: &Arc<Core>, stream: Stream, peer: IpAddr, serves: &Arc<Serves>, phase: &Watching) {
    let counted = core.process.connections.count();
    let unasked = core.process.unasked.count();
    let (core, serves, mut phase) = (Arc::clone(core), Arc::clone(serves), phase.clone());
    tokio::spawn(async move {
        let peer = match serves.listener.proxy_protocol {
            false => Some(Peer::at(peer)),
            true => tokio::select! {
                peer = behind_proxy(&core, &stream, peer) => peer,
                () = phase.reached(Phase::Draining) => None,
            },
        };
        if let Some(peer) = peer {
            connection::serve(core, stream, peer, unasked, serves, phase).await;
        }
        drop(counted);
    });
}

/// Who came, as the proxy says that the connection is from.
async fn behind_proxy(core: &Core, stream: &Stream, proxy: IpAddr) -> Option<Peer> {
    let server = Arc::clone(&core.process.serving().server);
    let header = take_header(stream, proxy, &server.trusted_proxies);
    let taken = timeout(server.header_timeout, header).await;
    match taken.unwrap_or(Err(Refused::TimedOut)) {
        Ok(peer) => Some(peer),
        Err(Refused::Closed) => None,
        Err(why) => {
            once_a_second(&REFUSED, || {
                let peer = proxy.to_canonical();
                tracing::warn!(%peer, %why, "a connection to a listener with proxy_protocol was refused");
            });
            None
        }
    }
}

/// What a client reads for which there is no room.
fn no_room() -> Vec<u8> {
    let Answer {
        status,
        sentence,
        retry_after,
        ..
    } = Error::NoRoom.answer();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nRetry-After: {}\r\n\
         Connection: close\r\n\r\n{sentence}",
        sentence.len(),
        retry_after.unwrap_or(1)
    )
    .into()
}
