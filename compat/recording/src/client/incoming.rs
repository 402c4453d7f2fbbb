//! The bytes of a server, taken as the protocol cuts them.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;

use super::Failure;
use crate::wire::Unreadable;

/// More than this is not kept: no body or frame of a push server is near it.
pub(super) const MOST: usize = 256 << 20;

/// What came and was not taken yet, and where more comes from.
pub(crate) struct Incoming {
    stream: OwnedReadHalf,
    buffer: Vec<u8>,
}

impl Incoming {
    pub(crate) fn new(stream: OwnedReadHalf) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// The next thing that `read` makes of what comes; `None` at the end.
    pub(crate) async fn next<T>(
        &mut self,
        mut read: impl FnMut(&mut &[u8]) -> Result<Option<T>, Unreadable>,
    ) -> Result<Option<T>, Failure> {
        loop {
            let mut rest = self.buffer.as_slice();
            let thing = read(&mut rest)?;
            let used = self.buffer.len() - rest.len();
            self.buffer.drain(..used);
            if thing.is_some() || !self.more().await? {
                return Ok(thing);
            }
        }
    }

    /// Waits for more; false at the end.
    pub(crate) async fn more(&mut self) -> Result<bool, Failure> {
        if self.buffer.len() > MOST {
            return Err(Failure::Unparsable);
        }
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(length) => Ok(length > 0),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(_) => Err(Failure::Reset),
        }
    }

    /// All that waits.
    pub(crate) fn take_all(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }
}
