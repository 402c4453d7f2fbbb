//! The end of a connection whose client is still sending, as after a body that was refused: what it sends is read and dropped,
//! for a while. Closed with unread bytes, or when more come, the kernel resets the connection, and with that may take the
//! response from a client that has not read it yet (RFC 9112 9.6).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::watched::Watched;

/// A client that sends nothing for so long has stopped. Both times are nginx's.
const SILENCE: Duration = Duration::from_secs(5);

/// Whoever goes on for so long is not waited for.
const LONGEST: Duration = Duration::from_secs(30);

/// Nor whoever sends more than this meanwhile, bytes: many times what is on its way when a client reads that it is refused.
const LARGEST: usize = 64 << 20;

/// Read at a time, bytes.
const PIECE: usize = 8 << 10;

/// See the module. Such a connection still has its place among those that there may be.
#[derive(Debug)]
pub(super) struct Lingering {
    /// Runs out when the client is not waited for any more; none if there is nothing to wait for.
    patience: Option<Pin<Box<Sleep>>>,
    ends: Instant,
    /// Bytes that have come.
    taken: usize,
}

impl Lingering {
    /// Begins when the client has been told that nothing more will come.
    pub(super) fn new(more_follows: bool) -> Self {
        Self {
            patience: more_follows.then(|| Box::pin(sleep(SILENCE))),
            ends: Instant::now() + LONGEST,
            taken: 0,
        }
    }

    /// Ready when the client has closed too, or has been waited for long enough.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, socket: &mut Watched) -> Poll<()> {
        let Some(patience) = &mut self.patience else {
            return Poll::Ready(());
        };
        let mut piece = [0; PIECE];
        let mut buf = ReadBuf::new(&mut piece);
        while let Poll::Ready(read) = Pin::new(&mut *socket).poll_read(cx, &mut buf) {
            self.taken += buf.filled().len();
            if read.is_err() || buf.filled().is_empty() || self.taken > LARGEST {
                return Poll::Ready(());
            }
            buf.clear();
            let silent = Instant::now() + SILENCE;
            patience.as_mut().reset(silent.min(self.ends));
        }
        patience.as_mut().poll(cx)
    }
}
