//! A request, its response, and the steps that both become.

use std::time::Instant;

use crate::format::{Action, Ending, Request, Response};
use crate::payload::Payload;
use crate::record::journal::Journal;
use crate::wire::head::{RequestHead, ResponseHead};
use crate::wire::http::Body;

/// One request on its way.
#[derive(Debug)]
pub(super) struct Exchange {
    /// `None`: nothing of push, passed without being kept.
    service: Option<&'static str>,
    pub(super) method: String,
    asks_for_upgrade: bool,
    asks_for_websocket: bool,
    began: Instant,
    head: Option<RequestHead>,
    /// When the request was complete, and whether its body was kept.
    sent: Option<(Instant, Kept)>,
    request: Option<Request>,
    /// The name of the long poll that it is.
    poll: Option<String>,
    interim: Vec<u16>,
    answer: Option<ResponseHead>,
    /// When the response was complete, its body, and whether the connection's end was its end.
    answered: Option<(Instant, Body, bool)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Whole,
    TooLong,
}

impl Exchange {
    pub(super) fn begin(
        head: RequestHead,
        service: Option<&'static str>,
        now: Instant,
        journal: &Journal,
    ) -> Self {
        journal.count_request(service.is_some());
        Self {
            service,
            method: head.method.clone(),
            asks_for_upgrade: head.asks_for_upgrade(),
            asks_for_websocket: head.asks_for_websocket(),
            began: now,
            head: service.is_some().then_some(head),
            sent: None,
            request: None,
            poll: None,
            interim: Vec::new(),
            answer: None,
            answered: None,
        }
    }

    pub(super) fn is_recorded(&self) -> bool {
        self.service.is_some()
    }

    /// Whether what the client sends next depends on the answer.
    pub(super) fn may_switch(&self) -> bool {
        self.asks_for_upgrade && self.answered.is_none()
    }

    pub(super) fn is_answered(&self) -> bool {
        self.answered.is_some()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.sent.is_some() && self.answered.is_some()
    }

    /// Bytes kept of its request.
    pub(super) fn weight(&self) -> usize {
        let body = self
            .request
            .as_ref()
            .and_then(|request| request.body.as_ref());
        body.map_or(0, Vec::len)
    }

    /// The request is complete. `has_body`: an empty one counts.
    pub(super) fn sent(&mut self, body: Body, has_body: bool, now: Instant, journal: &Journal) {
        let Some(head) = self.head.take() else {
            self.sent = Some((now, Kept::Whole));
            return;
        };
        let length = body.length;
        let body = body.whole();
        let kept = match &body {
            Some(_) => Kept::Whole,
            None => Kept::TooLong,
        };
        if kept == Kept::TooLong {
            tracing::warn!(
                length,
                "a request is passed on and not recorded: its body is too long"
            );
        }
        self.sent = Some((now, kept));
        let request = head.with_body(body.filter(|_| has_body));
        let is_poll = request.method == "GET" && !self.asks_for_websocket;
        if is_poll && let Some(service @ "sub") = self.service {
            let conn = journal.next_poll();
            self.poll = Some(conn.clone());
            let service = service.to_owned();
            let action = Action::PollStart {
                service,
                conn,
                request,
            };
            journal.step(now, action, None);
        } else {
            self.request = Some(request);
        }
    }

    pub(super) fn interim(&mut self, status: u16) {
        self.interim.push(status);
    }

    pub(super) fn answer(&mut self, head: ResponseHead) {
        self.answer = Some(head);
    }

    /// The response is complete.
    pub(super) fn answered(&mut self, body: Body, by_end: bool, now: Instant) {
        self.answered = Some((now, body, by_end));
    }

    /// Both are complete: a step, or the second one of a poll.
    pub(super) fn record(mut self, journal: &Journal) {
        let (Some(service), Some((sent, kept))) = (self.service, self.sent) else {
            return;
        };
        let Some((at, body, by_end)) = self.answered.take() else {
            return;
        };
        let length = body.length;
        let whole = body.whole();
        let note = whole
            .is_none()
            .then(|| format!("a body of {length} bytes, not recorded"));
        let Some(mut response) = self.response(whole, at) else {
            return;
        };
        response.ended_by = by_end.then(|| "close".to_owned());
        if let Some(conn) = self.poll {
            journal.step(at, Action::PollEnd { conn, response }, note);
            return;
        }
        let Some(request) = self.request.filter(|_| kept == Kept::Whole) else {
            return;
        };
        // An answer may come before the request is whole; then it is the answer that others saw.
        let at = sent.min(at);
        let service = service.to_owned();
        let action = if self.asks_for_websocket && service == "sub" {
            let conn = journal.next_websocket();
            let target = request.target.clone();
            Action::WsOpen {
                service,
                conn,
                target,
                request,
                response,
            }
        } else {
            Action::Http {
                service,
                request,
                response,
            }
        };
        journal.step(at, action, note);
    }

    /// The response is 101. The websocket's name, if it is one that is recorded.
    pub(super) fn switched(
        mut self,
        head: ResponseHead,
        now: Instant,
        journal: &Journal,
    ) -> Option<String> {
        let service = self.service.filter(|_| self.asks_for_websocket)?.to_owned();
        let (sent, _) = self.sent?;
        let note = head
            .extension()
            .map(|extension| format!("extension {extension}: frames are not recorded"));
        let readable = note.is_none();
        self.answer = Some(head);
        let response = self.response(Some(Vec::new()), now)?;
        let request = self.request.take()?;
        let conn = journal.next_websocket();
        let action = Action::WsOpen {
            service,
            conn: conn.clone(),
            target: request.target.clone(),
            request,
            response,
        };
        journal.step(sent, action, note);
        readable.then_some(conn)
    }

    /// The connection ended before the answer did: because the client left at `left`, or by the server.
    pub(super) fn broken_off(
        self,
        left: Option<Instant>,
        how: Ending,
        now: Instant,
        journal: &Journal,
    ) {
        let error = match how {
            Ending::Eof => "eof",
            Ending::Reset => "reset",
        };
        let began = self.sent.map_or(self.began, |(sent, _)| sent);
        let response = Response {
            error: Some(error.to_owned()),
            after_ms: milliseconds(began, left.unwrap_or(now)),
            ..Response::default()
        };
        match (self.poll, left, self.service, self.request) {
            (Some(conn), Some(left), _, _) => {
                journal.step(left, Action::PollAbort { conn }, None);
            }
            (Some(conn), None, _, _) => {
                journal.step(now, Action::PollEnd { conn, response }, None);
            }
            (None, _, Some(service), Some(request)) if self.sent.is_some_and(is_whole) => {
                let note = left.map(|_| "the client left before the answer".to_owned());
                let service = service.to_owned();
                let action = Action::Http {
                    service,
                    request,
                    response,
                };
                journal.step(began, action, note);
            }
            (None, _, _, _) => {}
        }
    }

    fn response(&mut self, body: Payload, at: Instant) -> Option<Response> {
        let began = self.sent.map_or(self.began, |(sent, _)| sent);
        let mut response = self.answer.take()?.with_body(body, milliseconds(began, at));
        let interim = std::mem::take(&mut self.interim);
        response.interim = Some(interim).filter(|interim| !interim.is_empty());
        Some(response)
    }
}

fn is_whole((_, kept): (Instant, Kept)) -> bool {
    kept == Kept::Whole
}

fn milliseconds(from: Instant, to: Instant) -> f64 {
    crate::record::journal::milliseconds(to.saturating_duration_since(from))
}
