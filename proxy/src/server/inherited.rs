//! Listening sockets that were open before this process: the service manager's, or those of the process whose place this
//! one takes. A listener of the configuration finds its own by their address.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::{Mutex, PoisonError};

use listenfd::ListenFd;
use socket2::Socket;

use super::listen::BoundSocket;
use crate::config::Address;

/// See the module. What no listener has asked for stays open: a reload may bring one that does.
#[derive(Debug, Default)]
pub(crate) struct Inherited(Mutex<Vec<Socket>>);

impl From<Vec<OwnedFd>> for Inherited {
    fn from(sockets: Vec<OwnedFd>) -> Self {
        Self(Mutex::new(sockets.into_iter().map(Socket::from).collect()))
    }
}

impl Inherited {
    /// Those of sd_listen_fds(3), which are sockets that are listening.
    pub(crate) fn from_service_manager() -> Self {
        let mut handed = ListenFd::from_env();
        let mut sockets: Vec<OwnedFd> = Vec::new();
        for index in 0..handed.len() {
            if let Ok(Some(socket)) = handed.take_tcp_listener(index) {
                sockets.push(socket.into());
            } else if let Ok(Some(socket)) = handed.take_unix_listener(index) {
                sockets.push(socket.into());
            }
        }
        sockets.into()
    }

    /// All that have this address, and no fewer than `cores`: where they are fewer, cores share one. None: there is none.
    pub(super) fn take(&self, address: &Address, cores: usize) -> io::Result<Vec<BoundSocket>> {
        let mut sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found: Vec<Socket> = sockets
            .extract_if(.., |socket| has(socket, address))
            .collect();
        let mut shared = Vec::new();
        for (socket, _) in found.iter().cycle().zip(found.len()..cores) {
            shared.push(socket.try_clone()?);
        }
        let bound = |socket: Socket| {
            socket.set_nonblocking(true)?;
            let socket = OwnedFd::from(socket);
            Ok(match address {
                Address::Tcp(_) => BoundSocket::Tcp(TcpListener::from(socket)),
                Address::Unix(_) => BoundSocket::Unix(UnixListener::from(socket)),
            })
        };
        found.into_iter().chain(shared).map(bound).collect()
    }

    /// The addresses of those that no listener has asked for.
    pub(crate) fn left(&self) -> Vec<String> {
        let sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = sockets.iter().filter_map(|socket| {
            let address = socket.local_addr().ok()?;
            let path = address.as_pathname().map(|path| path.display().to_string());
            path.or_else(|| Some(address.as_socket()?.to_string()))
        });
        left.collect()
    }
}

fn has(socket: &Socket, address: &Address) -> bool {
    let Ok(local) = socket.local_addr() else {
        return false;
    };
    match address {
        Address::Tcp(address) => local.as_socket() == Some(*address),
        Address::Unix(path) => local.as_pathname() == Some(path.as_ref()),
    }
}
