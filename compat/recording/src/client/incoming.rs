//! The bytes of a server, taken in the pieces that the protocol has.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;

use super::Failure;

/// More than this is not kept waiting: no answer of a push server is near it.
const MOST: usize = 256 << 20;

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

    pub(crate) fn waiting(&self) -> &[u8] {
        &self.buffer
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

    /// The next `length` bytes.
    pub(crate) async fn take(&mut self, length: usize) -> Result<Vec<u8>, Failure> {
        while self.buffer.len() < length {
            if !self.more().await? {
                return Err(Failure::Eof);
            }
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// The next line, without its end.
    pub(crate) async fn line(&mut self) -> Result<String, Failure> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line = self.take(end + 1).await?;
                return Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            }
            if !self.more().await? {
                return Err(Failure::Eof);
            }
        }
    }

    /// All that waits.
    pub(crate) fn take_all(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// All up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> Result<Vec<u8>, Failure> {
        while self.more().await? {}
        Ok(self.take_all())
    }
}
