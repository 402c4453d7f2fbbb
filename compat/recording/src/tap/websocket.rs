//! The frames of one websocket, as steps.

use std::time::Instant;

use pullgate_compat::websocket::Opcode;

use super::MOST_BODY;
use crate::format::{Action, Ending, Side};
use crate::record::journal::Journal;
use crate::wire::Unreadable;
use crate::wire::frames::{FrameReader, Joiner, NO_CODE};

/// Both directions behind a 101.
#[derive(Debug)]
pub(super) struct WebSocket {
    conn: String,
    client: FrameReader,
    /// When the client's frame began that is read.
    client_began: Instant,
    server: FrameReader,
    /// Joins the server's messages; the client's frames are steps as they are.
    joiner: Joiner,
    /// Whether the client's side has said goodbye, and whether the server's has.
    client_closed: bool,
    server_closed: bool,
}

impl WebSocket {
    pub(super) fn new(conn: String, now: Instant) -> Self {
        Self {
            conn,
            client: FrameReader::new(MOST_BODY),
            client_began: now,
            server: FrameReader::new(MOST_BODY),
            joiner: Joiner::new(MOST_BODY),
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
            let close = raw.close();
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
                    frame: raw.recorded(Side::Client)?,
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
            let action = if raw.is(Opcode::Close) {
                let (code, reason) = raw.close().unwrap_or_default();
                self.server_closed = true;
                Action::WsClose {
                    conn: self.conn.clone(),
                    by: Side::Server,
                    code: code.or(Some(NO_CODE)),
                    reason: Some(reason),
                }
            } else {
                let Some(raw) = self.joiner.add(raw)? else {
                    continue;
                };
                Action::WsRecv {
                    conn: self.conn.clone(),
                    frame: raw.recorded(Side::Server)?,
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
            && let Some(Ok(frame)) = self
                .client
                .filled_up()
                .map(|raw| raw.recorded(Side::Client))
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
}
