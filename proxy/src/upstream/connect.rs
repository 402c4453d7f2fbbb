//! New connections to a back end.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{sleep, timeout};

use crate::body::request::RequestBody;
use crate::config::Origin;
use crate::error::Error;
use crate::net::Stream;

/// Lines in the head of a response: hyper takes 100 by itself, and a site may set more cookies.
const MAX_HEADERS: usize = 256;

/// So many addresses of one name are tried: each may take a file descriptor.
const MAX_ADDRESSES: u32 = 16;

/// After so long the next address is tried beside one that is silent (RFC 8305 5).
const STAGGER: Duration = Duration::from_millis(250);

/// A connection on which nothing was sent yet. Looking up a name, and trying its addresses, is part of `wait`.
pub(super) async fn connect(
    origin: &Origin,
    wait: Duration,
) -> Result<SendRequest<RequestBody>, Error> {
    let opened = timeout(wait, open(origin, wait)).await;
    let stream = match opened.map_err(|_| Error::ConnectTimeout(wait))? {
        Ok(stream) if stream.is_reserved() => return Err(Error::Descriptors),
        Ok(stream) => stream,
        Err(error) => {
            return match error.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::MFILE | Errno::NFILE) => Err(Error::Descriptors),
                Some(_) | None => Err(Error::Connect(error)),
            };
        }
    };
    let (sender, connection) = http1::Builder::new()
        .title_case_headers(true)
        .max_headers(MAX_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(Error::Upstream)?;
    tokio::spawn(async move {
        // What goes wrong here, the request under way is told.
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}

async fn open(origin: &Origin, wait: Duration) -> io::Result<Stream> {
    match origin {
        Origin::Tcp { host, port } => {
            let addresses = lookup_host((host.as_str(), *port)).await?;
            let addresses = addresses.take(MAX_ADDRESSES as usize);
            let stream = first_of(addresses.collect(), STAGGER.min(wait / MAX_ADDRESSES)).await?;
            stream.set_nodelay(true)?;
            Ok(Stream::Tcp(stream))
        }
        Origin::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
    }
}

/// The connection that is there first. Each address is tried: as soon as the one before it has failed, or beside it after
/// `stagger`, so that a silent one does not take the time of the others.
async fn first_of(addresses: Vec<SocketAddr>, stagger: Duration) -> io::Result<TcpStream> {
    let mut left = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        attempts.extend(left.next().map(TcpStream::connect));
        tokio::select! {
            Some(attempt) = attempts.next() => match attempt {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            },
            () = sleep(stagger), if left.len() > 0 => {}
            else => return Err(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use socket2::{Domain, Socket, Type};

    use super::*;

    /// A socket whose queue is full: who connects gets no answer.
    fn silent() -> (Socket, Vec<TcpStream>, SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        socket.bind(&any.into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let moment = Duration::from_millis(500);
        let queued = std::iter::from_fn(|| TcpStream::connect_timeout(&address, moment).ok());
        let queued = queued.collect();
        (socket, queued, address)
    }

    fn refusing() -> SocketAddr {
        ([127, 0, 0, 1], 1).into()
    }

    #[tokio::test]
    async fn no_address_keeps_another_from_being_tried() {
        let (_socket, _queued, silent) = silent();
        let live = TcpListener::bind("127.0.0.1:0").unwrap();
        let live_at = live.local_addr().unwrap();
        let addresses = vec![refusing(), silent, refusing(), silent, live_at];
        let soon = first_of(addresses, Duration::from_millis(10));
        // Less than the kernel takes to give a silent address up.
        let stream = timeout(Duration::from_secs(60), soon).await.unwrap();
        assert_eq!(stream.unwrap().peer_addr().unwrap(), live_at);
    }

    #[tokio::test]
    async fn where_all_refuse_the_last_one_says_why() {
        let addresses = vec![refusing(), refusing()];
        let refused = first_of(addresses, Duration::from_secs(60)).await;
        assert_eq!(
            refused.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
        let nowhere = first_of(Vec::new(), Duration::from_secs(60)).await;
        assert_eq!(nowhere.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
