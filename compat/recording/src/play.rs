//! Plays one recording: does what its client did, in its order and not faster, and holds what comes against what
//! came then.
//!
//! Steps of the client wait for their turn ([`pace`]). Steps of the server wait for what they show, with
//! [`PATIENCE`]; nothing depends on how fast it comes, unless it was a timer of at least [`TIMER_MS`].

use std::collections::HashMap;
use std::mem;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use crate::client::{self, Failure, Target};
use crate::compare::{Comparison, Finding, period};
use crate::format::{Action, Recording, Request, Response, ServerClosed, Side, Step};
use crate::mids::Mids;
use crate::replay::Difference;
use channels::Channels;
use pace::{Pace, milliseconds};
use socket::Socket;

mod channels;
mod expected;
mod label;
mod pace;
mod socket;
mod sockets;

/// What is awaited may come so much later than it did.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came so long after anything was done came by a timer, and its time is compared.
const TIMER_MS: f64 = 10_000.0;

/// How far such times may be apart.
const TIMERS_APART_MS: f64 = 1500.0;

/// What a play may take beyond its pace.
const SPARE: Duration = Duration::from_secs(60);

/// Plays `recording` against `target`.
pub(crate) async fn play(recording: &Recording, target: &Target) -> Vec<Difference> {
    let mut player = Player::new(recording, target);
    let limit = player.pace.length() + SPARE;
    if timeout(limit, player.steps()).await.is_err() {
        let seconds = limit.as_secs();
        player.comparison.report(
            "time",
            &format!("the end within {seconds} s"),
            &"still playing",
        );
        player.collect();
    }
    player.differences
}

struct Player<'a> {
    recording: &'a Recording,
    target: &'a Target,
    pace: Pace,
    comparison: Comparison,
    sockets: HashMap<&'a str, Socket>,
    polls: HashMap<&'a str, Poll>,
    /// The step being played.
    number: usize,
    differences: Vec<Difference>,
}

/// A long poll under way. Dropped, its connection goes.
struct Poll {
    coming: oneshot::Receiver<Response>,
    task: tokio::task::AbortHandle,
    came: Option<Response>,
    started: Instant,
    started_ms: f64,
    channels: Channels,
}

impl Drop for Poll {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Poll {
    /// The answer, if it has come by then.
    async fn answer(&mut self, until: Instant) -> Option<&Response> {
        if self.came.is_none() {
            let outcome = timeout_at(until, &mut self.coming).await.ok()?;
            self.came = Some(outcome.unwrap_or_else(|_| Failure::Reset.answer()));
        }
        self.came.as_ref()
    }
}

impl<'a> Player<'a> {
    fn new(recording: &'a Recording, target: &'a Target) -> Self {
        let pace = Pace::new(recording);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (now, length) = (milliseconds(now), milliseconds(pace.length() + SPARE));
        let recorded = recording.recorded_at_unix_ms;
        Self {
            recording,
            target,
            pace,
            comparison: Comparison {
                mids: Mids::default(),
                recorded: period(recorded, recorded.saturating_add(length)),
                played: period(now, now.saturating_add(length)),
                statistics: recording.volatile.iter().any(|name| name == "json.stats"),
                before: None,
                found: Vec::new(),
            },
            sockets: HashMap::new(),
            polls: HashMap::new(),
            number: 0,
            differences: Vec::new(),
        }
    }

    async fn steps(&mut self) {
        for (number, step) in self.recording.steps.iter().enumerate() {
            self.number = number;
            if step.action.parts().by == Side::Client {
                self.pace.turn(step).await;
            }
            self.step(step).await;
            self.collect();
        }
    }

    /// Takes over what was found in this step.
    fn collect(&mut self) {
        let Some(step) = self.recording.steps.get(self.number) else {
            return;
        };
        let label = label::of(step);
        let found = mem::take(&mut self.comparison.found).into_iter();
        self.differences.extend(found.map(|finding| {
            let Finding {
                path,
                expected,
                actual,
            } = finding;
            Difference {
                step: Some(self.number),
                label: label.clone(),
                path,
                expected,
                actual,
            }
        }));
    }

    async fn step(&mut self, step: &'a Step) {
        match &step.action {
            Action::Http {
                request, response, ..
            } => self.http(step, request, response).await,
            Action::PollStart { conn, request, .. } => self.poll_start(step, conn, request),
            Action::PollEnd { conn, response } => self.poll_end(step, conn, response).await,
            Action::PollPending {
                conn,
                for_ms,
                pending,
            } => {
                self.poll_pending(conn, *for_ms, *pending).await;
            }
            Action::PollAbort { conn } => {
                if let Some(poll) = self.polls.remove(conn.as_str()) {
                    self.pace.settle(poll.channels.clone());
                }
                self.gone(conn);
            }
            Action::WsOpen {
                conn,
                request,
                response,
                ..
            } => {
                self.ws_open(step, conn, request, response).await;
            }
            Action::WsSend { conn, frame } => self.ws_send(conn, frame),
            Action::WsRecv { conn, frame } => self.ws_recv(step, conn, frame).await,
            Action::WsQuiet {
                conn,
                for_ms,
                quiet,
            } => {
                self.ws_quiet(conn, watched(*for_ms, *quiet), *quiet).await;
            }
            Action::WsClose {
                conn,
                by: Side::Client,
                code,
                reason,
            } => {
                self.ws_close(conn, *code, reason.as_deref().unwrap_or_default())
                    .await;
            }
            Action::WsClose {
                conn,
                by: Side::Server,
                code,
                reason,
            } => {
                let reason = reason.as_deref().unwrap_or_default();
                self.ws_closed(step, conn, code.unwrap_or_default(), reason)
                    .await;
            }
            Action::WsEnd {
                conn,
                how,
                close_frame_seen,
            } => {
                self.ws_end(step, conn, *how, *close_frame_seen).await;
            }
            Action::Sleep { ms } => tokio::time::sleep(Duration::from_millis(*ms)).await,
            Action::Raw {
                request,
                response,
                server_closed,
                waited_ms,
                ..
            } => {
                let sent = request.as_deref().unwrap_or_default();
                let came = response.as_deref().unwrap_or_default();
                self.raw(sent, came, *server_closed, *waited_ms).await;
            }
            Action::RedisDump { .. } | Action::RedisPubsub { .. } => {
                self.comparison.report(
                    "redis",
                    &"what was in Redis",
                    &"not compared: no Redis given",
                );
            }
        }
    }

    /// The request with the mids that the server gave.
    fn request(&mut self, recorded: &Request) -> Request {
        Request {
            target: self.comparison.mids.in_target(&recorded.target),
            ..recorded.clone()
        }
    }

    async fn http(&mut self, step: &Step, request: &Request, expected: &Response) {
        let request = self.request(request);
        let actual = client::exchange(self.target, &request, within(expected)).await;
        self.answered(
            step.at_ms,
            step.at_ms + expected.after_ms,
            expected,
            &actual,
        );
    }

    fn poll_start(&mut self, step: &Step, conn: &'a str, request: &Request) {
        let request = self.request(request);
        let channels = Channels::in_target(&request.target);
        self.pace.settle(channels.clone());
        let target = self.target.clone();
        let (answer, coming) = oneshot::channel();
        let limit = self.pace.length() + SPARE;
        let task = tokio::spawn(async move {
            // Nobody waits for it any more when the poll was aborted.
            let _ = answer.send(client::exchange(&target, &request, limit).await);
        });
        let poll = Poll {
            coming,
            task: task.abort_handle(),
            came: None,
            started: Instant::now(),
            started_ms: step.at_ms,
            channels,
        };
        self.polls.insert(conn, poll);
    }

    async fn poll_end(&mut self, step: &Step, conn: &str, expected: &Response) {
        let Some(mut poll) = self.polls.remove(conn) else {
            self.comparison
                .report("response", &"an answer", &"no poll is waiting");
            return;
        };
        let until = match expected.error.as_deref() {
            Some("timeout") => poll.started + milliseconds(expected.after_ms),
            Some(_) | None => self.pace.expected(step.at_ms) + PATIENCE,
        };
        let actual = poll.answer(until).await.cloned();
        let actual = actual.unwrap_or_else(|| Failure::Timeout.answer());
        self.answered(poll.started_ms, step.at_ms, expected, &actual);
        self.pace.settle(poll.channels.clone());
    }

    /// Compares an answer, and how long it took, if that was a timer's doing.
    fn answered(&mut self, from_ms: f64, at_ms: f64, expected: &Response, actual: &Response) {
        self.comparison.response(expected, actual);
        if actual.error.is_none() && self.pace.by_timer(from_ms, at_ms) {
            self.timer(expected.after_ms, actual.after_ms);
        }
    }

    fn timer(&mut self, recorded_ms: f64, played_ms: f64) {
        if (recorded_ms - played_ms).abs() > TIMERS_APART_MS {
            let seconds = |ms: f64| format!("after {:.1} s", ms / 1000.0);
            self.comparison
                .report("time", &seconds(recorded_ms), &seconds(played_ms));
        }
    }

    async fn poll_pending(&mut self, conn: &str, for_ms: u64, pending: bool) {
        let Some(poll) = self.polls.get_mut(conn) else {
            self.comparison
                .report("pending", &pending, &"no poll is waiting");
            return;
        };
        let until = Instant::now() + watched(for_ms, pending);
        let came = poll.answer(until).await.map(|response| response.status);
        if came.is_none() != pending {
            let actual = match came {
                Some(status) => format!("answered with status {status}"),
                None => "pending".into(),
            };
            let expected = if pending { "pending" } else { "answered" };
            self.comparison.report("pending", &expected, &actual);
        }
    }

    async fn raw(&mut self, sent: &[u8], came: &[u8], closed: ServerClosed, waited_ms: u64) {
        let is_closed = |closed: ServerClosed| matches!(closed, ServerClosed::How(_));
        let silence = watched(waited_ms, !is_closed(closed));
        let bytes = client::with_target_host(sent, self.target);
        let (actual, actually_closed) = client::raw(self.target, &bytes, silence).await;
        let statuses = |bytes: &[u8]| format!("{:?}", status_codes(bytes));
        self.comparison
            .equal("response/statuses", &statuses(came), &statuses(&actual));
        self.comparison.equal(
            "server_closed",
            &is_closed(closed),
            &is_closed(actually_closed),
        );
    }
}

/// How long the answer to a request is waited for. One that was recorded as late must not come earlier.
fn within(expected: &Response) -> Duration {
    let recorded = milliseconds(expected.after_ms);
    match expected.error.as_deref() {
        Some("timeout") => recorded,
        Some(_) | None => recorded + PATIENCE,
    }
}

/// How long something is watched. What was silent is watched as long as it was, anything else until it comes.
fn watched(for_ms: u64, silent: bool) -> Duration {
    let recorded = Duration::from_millis(for_ms);
    match silent {
        true => recorded,
        false => recorded + PATIENCE,
    }
}

/// The status codes of the answers in `bytes`.
fn status_codes(bytes: &[u8]) -> Vec<String> {
    const VERSIONS: [&[u8]; 2] = [b"HTTP/1.1 ", b"HTTP/1.0 "];
    let heads = (0..bytes.len()).filter_map(|at| {
        let rest = bytes.get(at..)?;
        VERSIONS
            .iter()
            .find_map(|version| rest.strip_prefix(*version))
    });
    heads
        .filter_map(|head| Some(String::from_utf8_lossy(head.get(..3)?).into_owned()))
        .collect()
}
