//! What hyper's HTTP/1 reads and writes: a client's connection, its request targets as hyper takes them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::lingering::Lingering;
use super::secured::Secured;
use super::switched::Switched;
use super::target::Targets;
use super::watched::Watch;

/// See the module.
#[derive(Debug)]
pub(crate) struct Client {
    stream: Secured,
    watch: Watch,
    targets: Targets,
    /// What `targets` made longer than hyper had room for.
    rest: Vec<u8>,
    /// There when all is said.
    lingering: Option<Lingering>,
}

impl Client {
    pub(crate) fn new(stream: Secured, watch: &Watch) -> Self {
        Self {
            stream,
            watch: watch.clone(),
            targets: Targets::default(),
            rest: Vec::new(),
            lingering: None,
        }
    }

    /// The connection behind an upgrade, and what was read of it behind the request.
    pub(crate) fn take_apart(upgraded: Upgraded) -> Option<(Switched, Bytes)> {
        let parts = upgraded.downcast::<TokioIo<Self>>().ok()?;
        let client = parts.io.into_inner();
        let early = match client.rest.as_slice() {
            [] => parts.read_buf,
            rest => [&parts.read_buf, rest].concat().into(),
        };
        Some((client.stream.into_switched(), early))
    }

    /// Has it read first, ahead of what the client sends.
    pub(crate) fn put_back(&mut self, read: &[u8]) {
        self.rest.splice(..0, read.iter().copied());
    }

    /// Waits until the client says more; false when it has gone.
    pub(crate) async fn speaks(&self) -> bool {
        !self.rest.is_empty() || self.stream.speaks().await
    }

    fn hand_over(&mut self, buf: &mut ReadBuf<'_>) {
        let later = self.rest.split_off(self.rest.len().min(buf.remaining()));
        buf.put_slice(&self.rest);
        self.rest = later;
    }
}

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.rest.is_empty() {
            self.hand_over(buf);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let head_follows = self.watch.head_follows();
        let read = buf.filled().get(before..).unwrap_or_default();
        if let Some(encoded) = self.targets.encode(read, head_follows) {
            buf.set_filled(before);
            self.rest = encoded;
            self.hand_over(buf);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let client = self.get_mut();
        client.watch.ends();
        if client.lingering.is_none() {
            ready!(Pin::new(&mut client.stream).poll_shutdown(cx))?;
        }
        let socket = client.stream.socket();
        let lingering = client.lingering.get_or_insert_with(|| {
            let more_follows = !client.watch.head_follows() || socket.has_unread();
            Lingering::new(more_follows)
        });
        lingering.poll(cx, socket).map(Ok)
    }
}
