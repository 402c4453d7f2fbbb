//! The frames of one websocket, as steps.

use std::time::Instant;

use super::frames::{FrameReader, RawFrame};
use super::{MOST_BODY, Unreadable};
use crate::format::{Action, Ending, Frame, Side};
use crate::record::journal::Journal;

/// Both directions behind a 101.
#[derive(Debug)]
pub(super) struct WebSocket {
    conn: String,
    client: FrameReader,
    /// When the client's frame began that is read.
    client_began: Instant,
    server: FrameReader,
    /// The server's message that has begun, its fragments joined so far.
    message: Option<Frame>,
    /// Whether the client's side has said goodbye, and whether the server's has.
    client_closed: bool,
    server_closed: bool,
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

impl WebSocket {
    pub(super) fn new(conn: String, now: Instant) -> Self {
        Self {
            conn,
            client: FrameReader::new(MOST_BODY),
            client_began: now,
            server: FrameReader::new(MOST_BODY),
            message: None,
            client_closed: false,
            server_closed: false,
        }
    }

    /// Bytes of the client.
    pub(super) fn sent(
        &mut self,
        mut data: &[u8],
        now: Instant,
        journal: &Journal,
    ) -> Result<(), Unreadable> {
        if !self.client.is_inside() {
            self.client_began = now;
        }
        while let Some(raw) = self.client.next(&mut data) {
            // A server may refuse a frame by its length, before it has come.
            let at = if self.server_closed {
                self.client_began
            } else {
                now
            };
            self.client_began = now;
            let close = (raw.opcode == CLOSE).then(|| close(&raw)).flatten();
            let action = match close {
                Some((code, reason)) => {
                    self.client_closed = true;
                    Action::WsClose {
                        conn: self.conn.clone(),
                        by: Side::Client,
                        code,
                        reason: Some(reason),
                    }
                }
                None => Action::WsSend {
                    conn: self.conn.clone(),
                    frame: frame(raw, true)?,
                },
            };
            journal.step(at, action, None);
        }
        Ok(())
    }

    /// Bytes of the server.
    pub(super) fn received(
        &mut self,
        mut data: &[u8],
        now: Instant,
        journal: &Journal,
    ) -> Result<(), Unreadable> {
        while let Some(raw) = self.server.next(&mut data) {
            let action = if raw.opcode == CLOSE {
                let (code, reason) = close(&raw).unwrap_or_default();
                self.server_closed = true;
                Action::WsClose {
                    conn: self.conn.clone(),
                    by: Side::Server,
                    // A frame without a code is received as 1005 (RFC 6455 7.1.5).
                    code: code.or(Some(1005)),
                    reason: Some(reason),
                }
            } else {
                let Some(frame) = self.joined(raw)? else {
                    continue;
                };
                Action::WsRecv {
                    conn: self.conn.clone(),
                    frame,
                }
            };
            journal.step(now, action, None);
        }
        Ok(())
    }

    /// The client's side has ended.
    pub(super) fn client_left(&self, now: Instant, journal: &Journal) {
        if !self.client_closed && !self.server_closed {
            let conn = self.conn.clone();
            journal.step(now, Action::PollAbort { conn }, None);
        }
    }

    /// The server's side has ended, before the client's.
    pub(super) fn server_left(&mut self, how: Ending, now: Instant, journal: &Journal) {
        if self.server_closed
            && let Some(Ok(frame)) = self.client.filled_up().map(|raw| frame(raw, true))
        {
            let conn = self.conn.clone();
            let note = Some("refused before it had come: its rest is zeros".to_owned());
            journal.step(self.client_began, Action::WsSend { conn, frame }, note);
        }
        let action = Action::WsEnd {
            conn: self.conn.clone(),
            how,
            close_frame_seen: self.server_closed,
        };
        journal.step(now, action, None);
    }

    /// A control frame as it is, a message when its last fragment is there.
    fn joined(&mut self, raw: RawFrame) -> Result<Option<Frame>, Unreadable> {
        if raw.opcode >= CLOSE {
            return frame(raw, false).map(Some);
        }
        let (fin, opcode) = (raw.fin, raw.opcode);
        let mut part = frame(raw, false)?;
        part.fin = None;
        let whole = match (self.message.take(), opcode) {
            (Some(mut message), CONTINUATION) => {
                if let (Some(data), Some(more)) = (&mut message.data, part.data) {
                    if data.len() + more.len() > MOST_BODY {
                        return Err(Unreadable("a message that is too long"));
                    }
                    data.extend(more);
                }
                message
            }
            (None, CONTINUATION) => return Err(Unreadable("a fragment of no message")),
            (Some(_), _) => return Err(Unreadable("a message within another")),
            (None, _) => part,
        };
        if fin {
            return Ok(Some(whole));
        }
        self.message = Some(whole);
        Ok(None)
    }
}

/// Code and reason of a close frame that means what it says.
fn close(raw: &RawFrame) -> Option<(Option<u16>, String)> {
    let payload = raw.payload.as_deref()?;
    if payload.is_empty() {
        return Some((None, String::new()));
    }
    let (code, reason) = payload.split_first_chunk::<2>()?;
    let code = u16::from_be_bytes(*code);
    let reason = str::from_utf8(reason).ok()?;
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999).then(|| (Some(code), reason.to_owned()))
}

/// A frame as it is stored; what is as usual is left out.
fn frame(raw: RawFrame, by_client: bool) -> Result<Frame, Unreadable> {
    let (opcode, known) = match raw.opcode {
        CONTINUATION => ("continuation", true),
        TEXT => ("text", true),
        BINARY => ("binary", true),
        CLOSE => ("close", true),
        PING => ("ping", true),
        PONG => ("pong", true),
        _ => ("binary", false),
    };
    let data = raw.payload.ok_or(Unreadable("a frame that is too long"))?;
    Ok(Frame {
        opcode: opcode.to_owned(),
        data: Some(data),
        fin: (!raw.fin).then_some(false),
        masked: (raw.masked != by_client).then_some(raw.masked),
        rsv: (raw.rsv != 0).then_some(raw.rsv),
        opcode_number: (!known).then_some(raw.opcode),
    })
}
