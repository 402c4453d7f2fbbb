//! A websocket client on raw frames (RFC 6455): it sends what was recorded, right or wrong, and queues what
//! comes.

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::incoming::Incoming;
use super::{Failure, Upgraded};
use crate::format::{Ending, Frame};

/// The mask hides a frame from old proxies; here it need not be secret (RFC 6455 10.3).
const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

/// What a close frame without a code stands for.
pub(crate) const NO_CODE: u16 = 1005;

const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const OPCODES: [(u8, &str); 6] = [
    (0, "continuation"),
    (1, "text"),
    (2, "binary"),
    (CLOSE, "close"),
    (PING, "ping"),
    (PONG, "pong"),
];

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
        let named = OPCODES.iter().find(|(_, name)| *name == frame.opcode);
        let opcode = frame
            .opcode_number
            .or(named.map(|(number, _)| *number))
            .unwrap_or_default();
        let data = frame.data.as_deref().unwrap_or_default();
        let first = u8::from(frame.fin.unwrap_or(true)) << 7
            | (frame.rsv.unwrap_or_default() & 7) << 4
            | (opcode & 15);
        // Fails when the connection has ended, which is seen where it is waited for.
        let _ = self
            .outgoing
            .send(encode(first, data, frame.masked.unwrap_or(true)));
    }

    /// Sends a close frame; without a code, an empty one.
    pub(crate) fn close(&self, code: Option<u16>, reason: &str) {
        let data = code.map(|code| [&code.to_be_bytes(), reason.as_bytes()].concat());
        let _ = self
            .outgoing
            .send(encode(0x80 | CLOSE, &data.unwrap_or_default(), true));
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
    came: UnboundedSender<Arrival>,
    outgoing: UnboundedSender<Vec<u8>>,
    answers_pings: bool,
}

impl Reader {
    async fn run(mut self) {
        let failure = loop {
            if let Err(failure) = self.message().await {
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

    /// Reads frames up to the end of a message.
    async fn message(&mut self) -> Result<(), Failure> {
        let (mut opcode, mut data) = (0, Vec::new());
        loop {
            let (first, mut payload) = self.frame().await?;
            match first & 15 {
                control if control >= CLOSE => {
                    self.control(control, payload);
                    continue;
                }
                0 => {}
                start => opcode = start,
            }
            data.append(&mut payload);
            if first & 0x80 != 0 {
                self.report(Event::Frame(received(opcode, data)));
                return Ok(());
            }
        }
    }

    fn control(&self, opcode: u8, payload: Vec<u8>) {
        if opcode == CLOSE {
            let (code, reason) = match payload.split_first_chunk() {
                Some((code, reason)) => (u16::from_be_bytes(*code), reason),
                None => (NO_CODE, &[][..]),
            };
            self.report(Event::Close(
                code,
                String::from_utf8_lossy(reason).into_owned(),
            ));
            return;
        }
        if opcode == PING && self.answers_pings {
            let _ = self.outgoing.send(encode(0x80 | PONG, &payload, true));
        }
        self.report(Event::Frame(received(opcode, payload)));
    }

    /// One frame's first byte and its payload.
    async fn frame(&mut self) -> Result<(u8, Vec<u8>), Failure> {
        let [first, second] = self.array().await?;
        let length = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes(self.array().await?)),
            127 => u64::from_be_bytes(self.array().await?),
            short => u64::from(short),
        };
        let mask: [u8; 4] = match second & 0x80 {
            0 => [0; 4],
            _ => self.array().await?,
        };
        let length = usize::try_from(length).map_err(|_| Failure::Unparsable)?;
        let mut payload = self.incoming.take(length).await?;
        apply(mask, &mut payload);
        Ok((first, payload))
    }

    async fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let bytes = self.incoming.take(N).await?;
        bytes.try_into().map_err(|_| Failure::Unparsable)
    }
}

fn received(opcode: u8, data: Vec<u8>) -> Frame {
    let named = OPCODES.iter().find(|(number, _)| *number == opcode);
    Frame {
        opcode: named.map_or_else(|| opcode.to_string(), |(_, name)| (*name).to_owned()),
        data: Some(data),
        fin: None,
        masked: None,
        rsv: None,
        opcode_number: None,
    }
}

fn encode(first: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let mask_bit = u8::from(masked) << 7;
    let mut frame = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ ..126), _) => frame.push(mask_bit | length),
        (_, Ok(length)) => {
            frame.push(mask_bit | 126);
            frame.extend(length.to_be_bytes());
        }
        (_, Err(_)) => {
            frame.push(mask_bit | 127);
            let length = u64::try_from(payload.len()).unwrap_or(u64::MAX);
            frame.extend(length.to_be_bytes());
        }
    }
    let mut payload = payload.to_owned();
    if masked {
        frame.extend(MASK);
        apply(MASK, &mut payload);
    }
    frame.append(&mut payload);
    frame
}

fn apply(mask: [u8; 4], payload: &mut [u8]) {
    for (byte, mask) in payload.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}
