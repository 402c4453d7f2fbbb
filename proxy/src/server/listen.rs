//! Sockets that accept. Every core has one of its own for each TCP address, and the kernel spreads
//! the connections over them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use super::inherited::Inherited;
use crate::config::{Address, Listener, Role};
use crate::net::Stream;

/// Connections that may wait to be accepted: a whole site's browsers after a restart.
const BACKLOG: i32 = 4096;

/// A bound listener that no runtime knows yet.
#[derive(Debug)]
pub(crate) struct Bound(BoundSocket);

#[derive(Debug)]
pub(super) enum BoundSocket {
    Tcp(std::net::TcpListener),
    Unix(StdUnixListener),
}

/// A listener of one core's runtime.
#[derive(Debug)]
pub(crate) enum Accepting {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A listener that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub(crate) struct ListenError {
    address: String,
    source: io::Error,
}

/// Binds one listener for `cores` cores, unless its sockets are inherited, and logs where it is.
pub(crate) fn bind(
    listener: &Listener,
    cores: usize,
    inherited: &Inherited,
) -> Result<Vec<Bound>, ListenError> {
    let sockets = match inherited.take(&listener.address, cores) {
        Ok(sockets) if sockets.is_empty() => match &listener.address {
            Address::Tcp(address) => bind_tcp(*address, cores),
            Address::Unix(path) => bind_unix(path, cores),
        },
        inherited => inherited,
    };
    let sockets = sockets.map_err(|source| ListenError {
        address: match &listener.address {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(path) => path.display().to_string(),
        },
        source,
    })?;
    let role = match listener.role {
        Role::Site => "site",
        Role::Publish => "publish",
        Role::Admin => "admin",
    };
    let address = match sockets.first() {
        Some(BoundSocket::Tcp(socket)) => socket
            .local_addr()
            .map(|address| address.to_string())
            .unwrap_or_default(),
        Some(BoundSocket::Unix(_)) | None => String::from("unix"),
    };
    match &listener.site {
        Some(site) => tracing::info!("listening role={role} site={site} address={address}"),
        None => tracing::info!("listening role={role} address={address}"),
    }
    Ok(sockets.into_iter().map(Bound).collect())
}

fn bind_tcp(address: SocketAddr, cores: usize) -> io::Result<Vec<BoundSocket>> {
    // Sharing a port is for our own cores: a second pullgate on it must fail, not take half of the
    // connections. So the port is tried alone first.
    let mut address = address;
    address = tcp_socket(address, false)?.local_addr()?;
    (0..cores)
        .map(|_| tcp_socket(address, true).map(BoundSocket::Tcp))
        .collect()
}

fn tcp_socket(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if shared {
        socket.listen(BACKLOG)?;
    }
    Ok(socket.into())
}

fn bind_unix(path: &Path, cores: usize) -> io::Result<Vec<BoundSocket>> {
    // A socket file that nobody listens on is what a crash left.
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let first = StdUnixListener::bind(path)?;
    first.set_nonblocking(true)?;
    (0..cores)
        .map(|_| first.try_clone().map(BoundSocket::Unix))
        .collect()
}

impl Bound {
    /// Hands the socket to the runtime whose context this is in.
    pub(crate) fn accepting(self) -> io::Result<Accepting> {
        match self.0 {
            BoundSocket::Tcp(socket) => TcpListener::from_std(socket).map(Accepting::Tcp),
            BoundSocket::Unix(socket) => UnixListener::from_std(socket).map(Accepting::Unix),
        }
    }
}

impl Accepting {
    /// The same socket for another process, or another core.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(listener) => listener.as_fd().try_clone_to_owned(),
            Self::Unix(listener) => listener.as_fd().try_clone_to_owned(),
        }
    }

    /// The next connection and its peer; a unix socket's peer counts as this machine.
    pub(crate) async fn accept(&self) -> io::Result<(Stream, IpAddr)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Fails where the client has gone already, which its connection will tell.
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), peer.ip()))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), Ipv4Addr::LOCALHOST.into()))
            }
        }
    }
}
