//! A websocket of the play, and what has come on it that no step has taken yet.

use std::collections::VecDeque;

use pullgate_compat::message::MessageId;
use tokio::time::{Instant, timeout_at};

use super::channels::Channels;
use crate::client::websocket::{Arrival, Event, WebSocket};
use crate::format::{Ending, Frame};
use crate::message::{Form, Message, split};
use crate::wire::frames::NO_CODE;

/// Something that came, and when.
pub(super) struct Came {
    pub(super) at: Instant,
    pub(super) what: What,
}

pub(super) enum What {
    /// A message of a data frame. Frames are counted, so that it is seen how messages were grouped.
    Message {
        opcode: String,
        message: Message,
        frame: usize,
    },
    /// A ping or a pong.
    Control(Frame),
    Close(u16, String),
    End(Ending),
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Message {
                opcode, message, ..
            } => write!(f, "{opcode} {message}"),
            Self::Control(frame) => f.write_str(&frame.opcode),
            Self::Close(code, reason) => write!(f, "close frame {code} {reason:?}"),
            Self::End(Ending::Eof) => f.write_str("end by eof"),
            Self::End(Ending::Reset) => f.write_str("end by reset"),
        }
    }
}

pub(super) struct Socket {
    pub(super) connection: WebSocket,
    pub(super) opened: Instant,
    pub(super) opened_ms: f64,
    /// Whether a close frame has come.
    pub(super) closed: bool,
    /// Whether a close frame is still to be answered.
    answers_close: bool,
    waiting: VecDeque<Came>,
    frames: usize,
    /// The frame of the message that was taken last.
    pub(super) last_frame: Option<usize>,
    /// The ids of the message that was taken last, recorded and played.
    pub(super) last_ids: Option<(MessageId, MessageId)>,
    /// Those that it listens to.
    pub(super) channels: Channels,
}

impl Socket {
    pub(super) fn new(
        connection: WebSocket,
        answers_close: bool,
        channels: Channels,
        opened_ms: f64,
    ) -> Self {
        Self {
            connection,
            opened: Instant::now(),
            opened_ms,
            closed: false,
            answers_close,
            waiting: VecDeque::new(),
            frames: 0,
            last_frame: None,
            last_ids: None,
            channels,
        }
    }

    /// What comes next, if it has come by then.
    pub(super) async fn next(&mut self, until: Instant) -> Option<&Came> {
        if self.waiting.is_empty() {
            let arrival = timeout_at(until, self.connection.arrivals.recv()).await;
            self.take_in(arrival.ok().flatten()?);
        }
        self.waiting.front()
    }

    /// Takes what [`Self::next`] has shown. A close frame is answered now, and not as soon as it comes: in the recording
    /// the client had sent by then what the steps before say.
    pub(super) fn take(&mut self) -> Option<Came> {
        let came = self.waiting.pop_front();
        if let Some(What::Close(code, reason)) = came.as_ref().map(|came| &came.what)
            && std::mem::take(&mut self.answers_close)
        {
            let code = Some(*code).filter(|code| *code != NO_CODE);
            self.connection.close(code, reason);
        }
        came
    }

    /// The frame whose messages still wait.
    pub(super) fn frame_waiting(&self) -> Option<usize> {
        match self.waiting.front()?.what {
            What::Message { frame, .. } => Some(frame),
            What::Control(_) | What::Close(..) | What::End(_) => None,
        }
    }

    fn take_in(&mut self, Arrival { at, event }: Arrival) {
        let what = match event {
            Event::Frame(frame) => match frame.opcode.as_str() {
                "ping" | "pong" => What::Control(frame),
                _ => return self.take_apart(at, &frame),
            },
            Event::Close(code, reason) => {
                self.closed = true;
                What::Close(code, reason)
            }
            Event::End(how) => What::End(how),
        };
        self.waiting.push_back(Came { at, what });
    }

    fn take_apart(&mut self, at: Instant, frame: &Frame) {
        self.frames += 1;
        let messages = messages(frame).into_iter().map(|message| Came {
            at,
            what: What::Message {
                opcode: frame.shown_opcode(),
                message,
                frame: self.frames,
            },
        });
        self.waiting.extend(messages);
    }
}

/// The messages in a data frame, at least one.
pub(super) fn messages(frame: &Frame) -> Vec<Message> {
    let data = frame.data.as_deref().unwrap_or_default();
    let form = match frame.opcode.as_str() {
        "binary" => Form::Binary,
        _ => Form::Text,
    };
    let mut messages = split(data, form);
    if messages.is_empty() {
        messages.push(Message::Bytes(Vec::new()));
    }
    messages
}
