//! What is said on one connection: HTTP, then perhaps a websocket, then perhaps nothing that is read.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::MOST_BODY;
use super::exchange::Exchange;
use super::paths::PushPaths;
use super::websocket::WebSocket;
use crate::format::Ending;
use crate::record::journal::Journal;
use crate::wire::Unreadable;
use crate::wire::head::{RequestHead, ResponseHead};
use crate::wire::http::{Framing, Messages, Piece};

/// Requests and their bytes that may wait for their answers.
const MOST_WAITING: usize = 1000;
const MOST_WAITING_BYTES: usize = 2 * MOST_BODY;

/// What a client may send before it knows whether its upgrade was accepted.
const MOST_HELD: usize = 64 * 1024;

/// The reader of one connection. It is told what went by, and changes nothing of it.
#[derive(Debug)]
pub(super) struct Connection {
    journal: Journal,
    talk: Talk,
    client_left: Option<Instant>,
}

#[derive(Debug)]
enum Talk {
    Http(Http),
    WebSocket(WebSocket),
    /// What goes by is not for us.
    Unread,
}

impl Connection {
    pub(super) fn new(journal: Journal, paths: Arc<PushPaths>) -> Self {
        let http = Http {
            paths,
            requests: Messages::new(),
            responses: Messages::new(),
            has_body: false,
            exchanges: VecDeque::new(),
            held: Vec::new(),
        };
        Self {
            journal,
            talk: Talk::Http(http),
            client_left: None,
        }
    }

    /// The client sent this.
    pub(super) fn sent(&mut self, data: &[u8], now: Instant) {
        let read = match &mut self.talk {
            Talk::Http(http) => http.sent(data, now, &self.journal),
            Talk::WebSocket(socket) => socket.sent(data, now, &self.journal),
            Talk::Unread => Ok(()),
        };
        self.check(read);
    }

    /// The server sent this.
    pub(super) fn received(&mut self, data: &[u8], now: Instant) {
        let read = match &mut self.talk {
            Talk::Http(http) => match http.received(data, now, &self.journal) {
                Ok(None) => Ok(()),
                Ok(Some(switch)) => {
                    self.switch(switch, now);
                    Ok(())
                }
                Err(unreadable) => Err(unreadable),
            },
            Talk::WebSocket(socket) => socket.received(data, now, &self.journal),
            Talk::Unread => Ok(()),
        };
        self.check(read);
    }

    /// The client's side has ended. Answers may still come.
    pub(super) fn client_left(&mut self, now: Instant) {
        self.client_left = Some(now);
        if let Talk::WebSocket(socket) = &self.talk {
            socket.client_left(now, &self.journal);
        }
    }

    /// The server's side has ended, or cannot be written to any more.
    pub(super) fn server_left(&mut self, how: Ending, now: Instant) {
        match std::mem::replace(&mut self.talk, Talk::Unread) {
            Talk::Http(http) => http.finish(self.client_left, how, now, &self.journal),
            Talk::WebSocket(mut socket) if self.client_left.is_none() => {
                socket.server_left(how, now, &self.journal);
            }
            Talk::WebSocket(_) | Talk::Unread => {}
        }
    }

    /// Reads no more of a connection that cannot be read, once and for all.
    fn check(&mut self, read: Result<(), Unreadable>) {
        if let Err(unreadable) = read {
            self.talk = Talk::Unread;
            self.journal.warn_unreadable(&unreadable);
        }
    }

    fn switch(&mut self, switch: Switch, now: Instant) {
        let Some(conn) = switch.conn else {
            self.talk = Talk::Unread;
            return;
        };
        self.talk = Talk::WebSocket(WebSocket::new(conn, now));
        self.sent(&switch.sent, now);
        self.received(&switch.received, now);
    }
}

/// The protocol changes here: what each side has said behind the handshake.
struct Switch {
    /// The websocket's name, if it is recorded.
    conn: Option<String>,
    sent: Vec<u8>,
    received: Vec<u8>,
}

impl Switch {
    /// To what is not read.
    fn to_nothing() -> Self {
        Self {
            conn: None,
            sent: Vec::new(),
            received: Vec::new(),
        }
    }
}

#[derive(Debug)]
struct Http {
    paths: Arc<PushPaths>,
    requests: Messages,
    responses: Messages,
    /// Whether the request that is read has a body, if only an empty one.
    has_body: bool,
    /// In the order of the requests, which is that of the answers.
    exchanges: VecDeque<Exchange>,
    /// What came behind a request for an upgrade, until that is answered.
    held: Vec<u8>,
}

impl Http {
    fn sent(&mut self, mut data: &[u8], now: Instant, journal: &Journal) -> Result<(), Unreadable> {
        while !self.waits_for_upgrade() {
            let Some(piece) = self.requests.next(&mut data)? else {
                return Ok(());
            };
            match piece {
                Piece::Head(bytes) => {
                    let head = RequestHead::parse(&bytes)?;
                    let framing = head.framing()?;
                    let service = self.paths.service(&head.target);
                    let exchange = Exchange::begin(head, service, now, journal);
                    self.has_body = framing != Framing::Empty;
                    self.requests
                        .expect(framing, most_body(exchange.is_recorded()));
                    self.exchanges.push_back(exchange);
                }
                Piece::End(body) => {
                    if let Some(exchange) = self.exchanges.back_mut() {
                        exchange.sent(body, self.has_body, now, journal);
                    }
                    self.record_complete(journal);
                }
            }
            let bytes: usize = self.exchanges.iter().map(Exchange::weight).sum();
            if self.exchanges.len() > MOST_WAITING || bytes > MOST_WAITING_BYTES {
                return Err(Unreadable("too many requests wait for their answers"));
            }
        }
        if self.held.len() + data.len() > MOST_HELD {
            return Err(Unreadable("too much is sent before an upgrade is answered"));
        }
        self.held.extend_from_slice(data);
        Ok(())
    }

    fn received(
        &mut self,
        mut data: &[u8],
        now: Instant,
        journal: &Journal,
    ) -> Result<Option<Switch>, Unreadable> {
        while let Some(piece) = self.responses.next(&mut data)? {
            let waiting = self
                .exchanges
                .iter()
                .position(|exchange| !exchange.is_answered())
                .and_then(|at| self.exchanges.get_mut(at));
            let Some(exchange) = waiting else {
                // As servers do that give up an idle connection with 408: its last words.
                return Ok(Some(Switch::to_nothing()));
            };
            match piece {
                Piece::Head(bytes) => {
                    let head = ResponseHead::parse(&bytes)?;
                    match head.status {
                        101 => return Ok(Some(self.switched(head, data, now, journal))),
                        100..=199 => {
                            exchange.interim(head.status);
                            self.responses.expect_head();
                        }
                        _ => {
                            let framing = head.framing(&exchange.method)?;
                            let most = most_body(exchange.is_recorded());
                            self.responses.expect(framing, most);
                            exchange.answer(head);
                        }
                    }
                }
                Piece::End(body) => {
                    exchange.answered(body, false, now);
                    self.record_complete(journal);
                    if !self.waits_for_upgrade() {
                        let held = std::mem::take(&mut self.held);
                        self.sent(&held, now, journal)?;
                    }
                }
            }
        }
        Ok(None)
    }

    /// Everything is over: what is still waiting gets no answer.
    fn finish(mut self, left: Option<Instant>, how: Ending, now: Instant, journal: &Journal) {
        if how == Ending::Eof
            && let Some(body) = self.responses.finish()
            && let Some(exchange) = self.exchanges.front_mut()
        {
            exchange.answered(body, true, now);
        }
        self.record_complete(journal);
        for exchange in self.exchanges {
            if exchange.is_answered() {
                exchange.record(journal);
            } else {
                exchange.broken_off(left, how, now, journal);
            }
        }
    }

    fn switched(
        &mut self,
        head: ResponseHead,
        received: &[u8],
        now: Instant,
        journal: &Journal,
    ) -> Switch {
        let exchange = self.exchanges.pop_front();
        Switch {
            conn: exchange.and_then(|exchange| exchange.switched(head, now, journal)),
            sent: std::mem::take(&mut self.held),
            received: received.to_vec(),
        }
    }

    fn waits_for_upgrade(&self) -> bool {
        !self.requests.is_inside() && self.exchanges.back().is_some_and(Exchange::may_switch)
    }

    fn record_complete(&mut self, journal: &Journal) {
        while self.exchanges.front().is_some_and(Exchange::is_complete) {
            if let Some(exchange) = self.exchanges.pop_front() {
                exchange.record(journal);
            }
        }
    }
}

/// How much is kept of a body.
fn most_body(is_recorded: bool) -> usize {
    if is_recorded { MOST_BODY } else { 0 }
}
