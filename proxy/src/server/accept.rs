//! Taking connections in, as far as there is room. Some file descriptors are left for the site's side.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::listen::Accepting;
use super::proxy_protocol::{Refused, take_header};
use super::tls::Serves;
use super::{Core, connection};
use crate::config::{Role, Server};
use crate::error::{Answer, Error};
use crate::limits::{Occupancy, Reason, Seat, refused};
use crate::log::once_a_second;
use crate::net::Stream;
use crate::net::peer::Peer;
use crate::phase::{Phase, Watching};

/// Descriptors that a core opens beside its connections: its poll, its timers, a file of history.
const PER_CORE: usize = 8;

/// How long a client that is turned away may take to read why.
const FAREWELL: Duration = Duration::from_secs(1);

/// The second in which the log was last told that the system lets nobody in.
static TOLD: AtomicU64 = AtomicU64::new(0);

/// How many connections there may be.
#[derive(Debug)]
pub(crate) struct Room {
    /// What the file descriptors allow.
    possible: usize,
    /// What is allowed. A reload may change it.
    max: AtomicUsize,
    /// How many of them one address may have. A reload may change it.
    max_per_address: AtomicUsize,
    addresses: Arc<Occupancy>,
    /// What clients beyond are told,
    no_room: Vec<u8>,
    /// and how many at a time.
    farewells: Arc<Semaphore>,
}

impl Room {
    /// As configured, and no more than three of four free file descriptors: the rest is for connections to the
    /// site, for the administrator and for history. 0: so many.
    pub(super) fn new(server: &Server, cores: usize) -> Self {
        // Linux tells what is open; elsewhere this is about what a start opens.
        let open = std::fs::read_dir("/proc/self/fd").map_or(64, Iterator::count);
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let free = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .saturating_sub(open + cores * PER_CORE);
        let room = Self {
            possible: (free / 4 * 3).max(1),
            max: AtomicUsize::new(0),
            max_per_address: AtomicUsize::new(0),
            addresses: Arc::default(),
            no_room: no_room(),
            farewells: Arc::new(Semaphore::new((free / 16).clamp(1, 1024))),
        };
        room.set_max(server);
        room
    }

    pub(super) fn set_max(&self, server: &Server) {
        let (possible, configured) = (self.possible, server.max_connections);
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
        let per_address = match server.max_connections_per_address {
            0 => (max / 4).max(1),
            configured => configured,
        };
        self.max_per_address.store(per_address, Ordering::Relaxed);
    }

    pub(super) fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// A visitor's place among the connections, if its address may have one more.
    fn seat(&self, peer: Peer, trusted: &[IpNet]) -> Option<Option<Seat>> {
        if trusted
            .iter()
            .any(|network| network.contains(&peer.address))
        {
            return Some(None);
        }
        let max = self.max_per_address.load(Ordering::Relaxed);
        self.addresses.enter(peer.address, max).map(Some)
    }

    /// Tells a client that there is no room, and waits a little for it to have read that: closing at once would
    /// take the answer away from one that is still sending. One that comes by TLS is closed without an answer.
    fn turn_away(&self, mut stream: Stream, peer: IpAddr, by_tls: bool, reason: Reason) {
        refused(reason, peer.to_canonical());
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
                    let by_tls = serves.tls.is_some();
                    let reason = Reason::Connections;
                    core.room.turn_away(stream, peer, by_tls, reason);
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
            true => {
                Box::pin(async {
                    tokio::select! {
                        peer = behind_proxy(&core, &stream, peer) => peer,
                        () = phase.reached(Phase::Draining) => None,
                    }
                })
                .await
            }
        };
        let Some(peer) = peer else { return };
        let seat = match serves.listener.role {
            Role::Site => {
                let trusted = &core.process.serving().server.trusted_proxies;
                core.room.seat(peer, trusted)
            }
            // The site itself, and the administrator.
            Role::Publish | Role::Admin => Some(None),
        };
        let Some(seat) = seat else {
            let reason = Reason::ConnectionsPerAddress;
            let by_tls = serves.tls.is_some();
            return core.room.turn_away(stream, peer.address, by_tls, reason);
        };
        let limit = core.process.serving().server.header_timeout;
        let said = tokio::select! {
            biased;
            open = stream.speaks() => open,
            () = sleep(limit) => false,
            () = phase.reached(Phase::Draining) => false,
        };
        // Of a connection that has said nothing there is no more than this.
        if said {
            connection::serve(core, stream, peer, unasked, serves, phase).await;
        }
        drop(seat);
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
            let client = format_args!("{} ({why})", proxy.to_canonical());
            refused(Reason::ProxyProtocol, client);
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
