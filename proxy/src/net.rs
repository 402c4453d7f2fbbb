//! Connections: a TCP or unix socket, and how a client takes what is written to it.

pub(crate) mod client;
pub(crate) mod cut_off;
mod lingering;
pub(crate) mod peer;
pub(crate) mod secured;
pub(crate) mod switched;
pub(crate) mod target;
pub(crate) mod watched;

use std::future::poll_fn;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::{RecvFlags, recv};
use rustix::process::{Resource, getrlimit};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::{TcpStream, UnixStream};

/// What the kernel may keep of one client beyond what is on its way, bytes.
const MAX_UNSENT: u32 = 64 << 10;

/// The last file descriptors, which the administrator alone gets. A new one always has the lowest free number, so the
/// number tells how many are left.
const RESERVED: u64 = 16;

#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Lets the kernel take little more than the client does: else a slow one holds megabytes there, and it
    /// is seen to take something only when a third of that has gone.
    pub(crate) fn limit_unsent(&self) {
        if let Self::Tcp(stream) = self {
            // Without it all works as well, if not as soon.
            let _ = SockRef::from(stream).set_tcp_notsent_lowat(MAX_UNSENT);
        }
    }

    /// Waits until it can be read or written, as asked. One task at a time may wait: it is forgotten for the next.
    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        poll_fn(|cx| self.poll_ready(cx, interest)).await
    }

    /// See [`Self::ready`]. Tokio's own futures for it take 100 bytes, and leave the memory of a task that has polled the
    /// socket to it.
    fn poll_ready(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<Ready>> {
        let mut ready = Ready::EMPTY;
        if interest.is_readable() && self.poll_read_ready(cx)?.is_ready() {
            ready |= Ready::READABLE;
        }
        if interest.is_writable() && self.poll_write_ready(cx)?.is_ready() {
            ready |= Ready::WRITABLE;
        }
        match ready.is_empty() {
            true => Poll::Pending,
            false => Poll::Ready(Ok(ready)),
        }
    }

    /// Waits until bytes are there to be read; false when there will be none.
    pub(crate) async fn speaks(&self) -> bool {
        loop {
            if self.ready(Interest::READABLE).await.is_err() {
                return false;
            }
            match self.try_peek(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                peeked => return peeked.is_ok_and(|bytes| bytes > 0),
            }
        }
    }

    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Unix(stream) => stream.poll_write_ready(cx),
        }
    }

    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(buffer),
            Self::Unix(stream) => stream.try_read(buffer),
        }
    }

    /// Reads and leaves in the socket what it reads.
    pub(crate) fn try_peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (readable, peek) = (Interest::READABLE, RecvFlags::PEEK);
        match self {
            Self::Tcp(stream) => stream.try_io(readable, || Ok(recv(stream, buffer, peek)?.0)),
            Self::Unix(stream) => stream.try_io(readable, || Ok(recv(stream, buffer, peek)?.0)),
        }
    }

    pub(crate) fn try_write_vectored(&self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write_vectored(slices),
            Self::Unix(stream) => stream.try_write_vectored(slices),
        }
    }

    /// Whether its descriptor is one of those that only the administrator gets.
    pub(crate) fn is_reserved(&self) -> bool {
        let number = match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
        };
        let limit = getrlimit(Resource::Nofile).current;
        limit
            .is_some_and(|limit| u64::from(number.unsigned_abs()) >= limit.saturating_sub(RESERVED))
    }

    /// Writes past the runtime, which waits until the kernel calls the socket writable: that is when a third of its
    /// buffer is free, and may be minutes after a slow reader has taken its first byte.
    pub(crate) fn write_now(&self, buf: &[u8]) -> io::Result<usize> {
        let written = match self {
            Self::Tcp(stream) => rustix::io::write(stream, buf),
            Self::Unix(stream) => rustix::io::write(stream, buf),
        };
        Ok(written?)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Sockets keep nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
