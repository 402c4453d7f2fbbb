//! One client's socket after the handshake: bytes in, events out; frames in, bytes out.

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use pullgate_compat::websocket::{Decoder, Event, Opcode, Peer, Violation};
use tokio::io::Interest;
use tokio::task::coop::consume_budget;
use tokio::time::Instant;

use super::outbox::Outbox;
use crate::net::client::Client;
use crate::net::switched::Switched;

/// Bytes that are read at once. The buffer is on the stack: an idle connection has none.
const AT_ONCE: usize = 8 << 10;

/// An open websocket.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Switched,
    /// `None` behind the client's last word, which is its close frame or what it did wrong.
    decoder: Option<Decoder>,
    /// What has come and is not yet dealt with: no more than fitted into one reading.
    received: VecDeque<Result<Event, Violation>>,
    outbox: Outbox,
    /// When the client last took something, or something began to wait for it.
    taken: Instant,
    /// Whether it has not taken all that could be written.
    is_behind: bool,
}

/// What a socket did.
#[derive(Debug)]
pub(super) enum Step {
    /// The client took some of what waits. `late`, if it had not been ready to take more.
    Taken {
        late: bool,
    },
    Received(Event),
}

/// Why it does nothing more.
#[derive(Debug)]
pub(super) enum Broken {
    /// The connection has ended.
    Gone,
    /// The client did not keep to the protocol.
    Violation(Violation),
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        // How a connection ends is its client's business.
        Self::Gone
    }
}

impl Socket {
    /// `None` only if the connection is not what the server accepted.
    pub(super) fn new(upgraded: Upgraded, max_message: usize) -> Option<Self> {
        let (stream, early) = Client::take_apart(upgraded)?;
        stream.limit_unsent();
        let mut socket = Self {
            stream,
            decoder: Some(Decoder::new(Peer::Client, max_message)),
            received: VecDeque::new(),
            outbox: Outbox::default(),
            taken: Instant::now(),
            is_behind: false,
        };
        // hyper's buffer goes: it would cost more than all the rest.
        socket.decode(&early);
        Some(socket)
    }

    /// Whether nothing waits for the client.
    pub(super) fn is_idle(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Bytes that wait for it, with what is kept beside them.
    pub(super) fn waiting(&self) -> usize {
        self.outbox.size()
    }

    /// Those of them that are kept for it alone.
    pub(super) fn waiting_alone(&self) -> usize {
        self.outbox.own_size()
    }

    /// Since when it has taken nothing of that.
    pub(super) fn silent_since(&self) -> Instant {
        self.taken
    }

    /// Lets a message wait, which lies in several places.
    pub(super) fn message(&mut self, opcode: Opcode, parts: impl Iterator<Item = Bytes> + Clone) {
        self.begin_to_wait();
        self.outbox.message(opcode, parts);
    }

    /// Lets a frame of this client's own wait.
    pub(super) fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        self.begin_to_wait();
        self.outbox.frame(opcode, payload);
    }

    fn begin_to_wait(&mut self) {
        if self.is_idle() {
            self.taken = Instant::now();
        }
    }

    /// Whether the client may still say something.
    pub(super) fn is_listening(&self) -> bool {
        self.decoder.is_some() || !self.received.is_empty()
    }

    /// Reads and writes until there is something to tell. It may be dropped and called again.
    pub(super) async fn step(&mut self) -> Result<Step, Broken> {
        loop {
            // Some clients never pause.
            consume_budget().await;
            if let Some(received) = self.received.pop_front() {
                if self.received.is_empty() {
                    // An idle connection keeps no buffer.
                    self.received = VecDeque::new();
                }
                return received.map(Step::Received).map_err(Broken::Violation);
            }
            let interest = match self.outbox.is_empty() {
                true => Interest::READABLE,
                false => Interest::READABLE | Interest::WRITABLE,
            };
            let ready = self.stream.ready(interest).await?;
            if ready.is_writable() && !self.outbox.is_empty() {
                let taken = self.outbox.write_to(&mut self.stream)?;
                let late = std::mem::replace(&mut self.is_behind, !self.outbox.is_empty());
                if taken {
                    self.taken = Instant::now();
                    return Ok(Step::Taken { late });
                }
            }
            if ready.is_readable() {
                self.read()?;
            }
        }
    }

    /// Writes what waits, ends our side and waits for the client to end its.
    ///
    /// A client that broke the protocol, or had more to say, must still get to read why it is closed: bytes
    /// of its that nobody has read would make the kernel reset the connection.
    pub(super) async fn finish(mut self) -> io::Result<()> {
        while !self.outbox.is_empty() {
            self.stream.ready(Interest::WRITABLE).await?;
            self.outbox.write_to(&mut self.stream)?;
        }
        self.stream.shutdown().await?;
        self.decoder = None;
        loop {
            consume_budget().await;
            self.stream.ready(Interest::READABLE).await?;
            self.read()?;
        }
    }

    /// Decodes what has come.
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; AT_ONCE];
        match self.stream.try_read(&mut buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                self.decode(buffer.get(..read).unwrap_or_default());
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn decode(&mut self, mut bytes: &[u8]) {
        while let Some(decoder) = &mut self.decoder {
            let next = match decoder.next(&mut bytes) {
                Ok(None) => return,
                Ok(Some(event)) => Ok(event),
                Err(violation) => Err(violation),
            };
            if matches!(next, Ok(Event::Close(_)) | Err(_)) {
                self.decoder = None;
            }
            self.received.push_back(next);
        }
    }
}
