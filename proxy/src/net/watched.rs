//! What hyper does not tell of a connection: whether it waits for a request, and whether the client takes what we
//! write.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::Request;
use http::header::UPGRADE;
use http_body::Body;
use hyper::rt::{Sleep, Timer};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::consume_budget;
use tokio::time::sleep_until;

use super::Stream;
use super::cut_off::CutOff;

/// A task may do so much, and then the others have their turn: 128 units, one for each reading, and one for so many bytes. In one
/// reading there may be hundreds of tiny frames.
const UNIT: usize = 512;

/// Shared by a connection's stream, its timer and whoever wants to end it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Watch(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// Timers that run: hyper has one from the moment it waits for a head until the head is there.
    heads: AtomicUsize,
    /// The request under way has no body and asks for no other protocol: behind its head comes another.
    head_follows: AtomicBool,
    /// The client has not taken yet what was last written.
    unsent: AtomicBool,
    /// We have said all.
    is_ending: AtomicBool,
    /// Ends it where the client does not take what is written.
    cut_off: CutOff,
}

impl Watch {
    /// No request is under way, and every response has been sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.heads.load(Ordering::Relaxed) > 0 && self.has_sent_all()
    }

    /// We have said all: whatever still comes is no request.
    pub(crate) fn is_ending(&self) -> bool {
        self.0.is_ending.load(Ordering::Relaxed)
    }

    pub(super) fn ends(&self) {
        self.0.is_ending.store(true, Ordering::Relaxed);
    }

    /// Nothing that was written waits for the client.
    pub(crate) fn has_sent_all(&self) -> bool {
        !self.0.unsent.load(Ordering::Relaxed)
    }

    /// A request's head is there. To be told before hyper reads on.
    pub(crate) fn request<B: Body>(&self, request: &Request<B>) {
        let alone = request.body().is_end_stream() && !request.headers().contains_key(UPGRADE);
        self.0.head_follows.store(alone, Ordering::Relaxed);
    }

    /// Whether the next that comes is a head, or will be one behind the request under way, which has no body.
    pub(super) fn head_follows(&self) -> bool {
        self.0.heads.load(Ordering::Relaxed) > 0 || self.0.head_follows.load(Ordering::Relaxed)
    }

    /// What ends it if its client does not take what is written.
    pub(crate) fn cut_off(&self) -> CutOff {
        self.0.cut_off.clone()
    }

    /// The timer for `header_read_timeout`.
    pub(crate) fn timer(&self) -> HeadTimer {
        HeadTimer(Arc::clone(&self.0))
    }
}

/// See [`Watch::timer`].
#[derive(Debug)]
pub(crate) struct HeadTimer(Arc<Seen>);

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.0.heads.fetch_add(1, Ordering::Relaxed);
        Box::pin(HeadSleep {
            sleep: sleep_until(deadline.into()),
            _waits: WaitsForHead(Arc::clone(&self.0)),
        })
    }
}

pin_project! {
    struct HeadSleep {
        #[pin]
        sleep: tokio::time::Sleep,
        _waits: WaitsForHead,
    }
}

struct WaitsForHead(Arc<Seen>);

impl Drop for WaitsForHead {
    fn drop(&mut self) {
        self.0.heads.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().sleep.poll(cx)
    }
}

/// A client's stream. A client that takes no byte of what waits to be written for too long is let go; the timer
/// runs only then, so that it costs nothing where clients keep up and ends nothing that merely waits.
#[derive(Debug)]
pub(crate) struct Watched {
    stream: Stream,
    seen: Arc<Seen>,
    send_timeout: Duration,
    /// Kept for the next time that the client falls behind.
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Watched {
    pub(crate) fn new(stream: Stream, watch: &Watch, send_timeout: Duration) -> Self {
        Self {
            stream,
            seen: Arc::clone(&watch.0),
            send_timeout,
            timer: None,
        }
    }

    /// Whether bytes are there that nobody has read.
    pub(super) fn has_unread(&self) -> bool {
        self.stream.try_peek(&mut [0]).is_ok_and(|read| read > 0)
    }

    /// See [`Stream::speaks`].
    pub(super) async fn speaks(&self) -> bool {
        self.stream.speaks().await
    }

    /// The bare stream.
    pub(super) fn into_inner(self) -> Stream {
        self.stream
    }

    fn written(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
        next: &[u8],
    ) -> Poll<io::Result<usize>> {
        let waited = self.seen.unsent.load(Ordering::Relaxed);
        if waited == polled.is_ready() {
            self.seen.unsent.store(!waited, Ordering::Relaxed);
        }
        if polled.is_ready() {
            return polled;
        }
        let until = tokio::time::Instant::now() + self.send_timeout;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(until)));
        if !waited {
            timer.as_mut().reset(until);
        }
        if timer.as_mut().poll(cx).is_pending() {
            ready!(self.seen.cut_off.poll(cx));
        }
        self.seen.unsent.store(false, Ordering::Relaxed);
        let written = self.stream.write_now(next);
        Poll::Ready(written.map_err(|_| io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        for _ in 0..read / UNIT {
            if pin!(consume_budget()).poll(cx).is_pending() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, polled, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        let next = bufs.iter().find(|buf| !buf.is_empty());
        self.written(cx, polled, next.map_or(&[], |buf| buf))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;

    /// Of a client that never pauses, a task reads so much before the others have their turn.
    #[tokio::test]
    async fn who_sends_a_lot_gives_way() {
        let (mut client, ours) = UnixStream::pair().unwrap();
        let writing = tokio::spawn(async move { client.write_all(&[0; 256 << 10]).await });
        let watch = Watch::default();
        let mut watched = Watched::new(Stream::Unix(ours), &watch, Duration::from_secs(60));
        let mut piece = [0; 8 << 10];
        watched.read_exact(&mut piece).await.unwrap();
        // Begins with a new turn.
        tokio::task::yield_now().await;
        let at_once = poll_fn(|cx| {
            let mut read = 0;
            loop {
                let mut buf = ReadBuf::new(&mut piece);
                match Pin::new(&mut watched).poll_read(cx, &mut buf) {
                    Poll::Ready(_) => read += buf.filled().len(),
                    Poll::Pending => return Poll::Ready(read),
                }
            }
        });
        let at_once = at_once.await;
        assert!((1..=128 * UNIT + (8 << 10)).contains(&at_once), "{at_once}");
        tokio::io::copy(&mut watched, &mut tokio::io::sink())
            .await
            .unwrap();
        writing.await.unwrap().unwrap();
    }
}
