//! A websocket client: it sends what was recorded, right or wrong, and queues what comes.

use pullgate_compat::websocket::Opcode;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::incoming::{Incoming, MOST};
use super::{Failure, Upgraded};
use crate::format::{Ending, Frame, Side};
use crate::wire::frames::{FrameReader, Joiner, NO_CODE, RawFrame};

/// Something that came, and when.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    pub(crate) event: Event,
}

#[derive(Debug)]
pub(crate) enum Event {
    /// A message, its fragments joined, or a ping or pong.
    Frame(Frame),
    Close(u16, String),
    /// The server's side of the connection ended. Nothing comes behind it.
    End(Ending),
}

/// An open connection. It is dropped without a close frame.
pub(crate) struct WebSocket {
    pub(crate) arrivals: UnboundedReceiver<Arrival>,
    outgoing: UnboundedSender<Vec<u8>>,
    tasks: [AbortHandle; 2],
}

impl WebSocket {
    /// A connection whose pings are answered at once, or never.
    pub(crate) fn new(upgraded: Upgraded, answers_pings: bool) -> Self {
        let (outgoing, sending) = mpsc::unbounded_channel();
        let (came, arrivals) = mpsc::unbounded_channel();
        // A task of its own, as the server may have stopped to read.
        let writer = tokio::spawn(write(upgraded.outgoing, sending)).abort_handle();
        let reader = Reader {
            incoming: upgraded.incoming,
            frames: FrameReader::new(MOST),
            joiner: Joiner::new(MOST),
            came,
            outgoing: outgoing.clone(),
            answers_pings,
        };
        let connection = writer.clone();
        let reader = tokio::spawn(async move {
            reader.run().await;
            // The server has closed its side, so ours closes too.
            connection.abort();
        });
        Self {
            arrivals,
            outgoing,
            tasks: [writer, reader.abort_handle()],
        }
    }

    /// Sends a frame as it was recorded.
    pub(crate) fn send(&self, frame: &Frame) {
        // Fails when the connection has ended, which is seen where it is waited for.
        let _ = self.outgoing.send(RawFrame::of(frame).encode());
    }

    /// Sends a close frame; without a code, an empty one.
    pub(crate) fn close(&self, code: Option<u16>, reason: &str) {
        let data = code.map(|code| [&code.to_be_bytes(), reason.as_bytes()].concat());
        let frame = RawFrame::client(Opcode::Close, data.unwrap_or_default());
        let _ = self.outgoing.send(frame.encode());
    }
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn write(mut stream: OwnedWriteHalf, mut sending: UnboundedReceiver<Vec<u8>>) {
    while let Some(bytes) = sending.recv().await {
        if stream.write_all(&bytes).await.is_err() {
            break;
        }
    }
    // The connection stays open: how it ends is the server's to show.
    std::future::pending::<()>().await;
}

struct Reader {
    incoming: Incoming,
    frames: FrameReader,
    joiner: Joiner,
    came: UnboundedSender<Arrival>,
    outgoing: UnboundedSender<Vec<u8>>,
    answers_pings: bool,
}

impl Reader {
    async fn run(mut self) {
        let failure = loop {
            if let Err(failure) = self.frame().await {
                break failure;
            }
        };
        self.report(Event::End(match failure {
            Failure::Reset => Ending::Reset,
            Failure::Eof | Failure::Timeout | Failure::Unparsable | Failure::Refused => Ending::Eof,
        }));
    }

    fn report(&self, event: Event) {
        // Nobody listens any more when the recording has been played.
        let _ = self.came.send(Arrival {
            at: Instant::now(),
            event,
        });
    }

    /// Reads a frame, and reports what ends with it.
    async fn frame(&mut self) -> Result<(), Failure> {
        let frames = &mut self.frames;
        let frame = self.incoming.next(|bytes| Ok(frames.next(bytes))).await?;
        let Some(frame) = self.joiner.add(frame.ok_or(Failure::Eof)?)? else {
            return Ok(());
        };
        if frame.is(Opcode::Close) {
            let (code, reason) = frame.close().unwrap_or_default();
            self.report(Event::Close(code.unwrap_or(NO_CODE), reason));
            return Ok(());
        }
        if frame.is(Opcode::Ping) && self.answers_pings {
            let pong = RawFrame::client(Opcode::Pong, frame.payload.clone().unwrap_or_default());
            let _ = self.outgoing.send(pong.encode());
        }
        self.report(Event::Frame(frame.recorded(Side::Server)?));
        Ok(())
    }
}
