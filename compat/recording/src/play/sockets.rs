//! The steps of websockets.

use std::time::Duration;

use tokio::time::Instant;

use super::channels::Channels;
use super::socket::{Socket, What};
use super::{PATIENCE, Player, within};
use crate::client;
use crate::client::websocket::WebSocket;
use crate::compare::Comparison;
use crate::format::{Action, Ending, Frame, Request, Response, Side, Step};

/// How long the end of a connection is waited for where the recording does not show it.
const UNRECORDED_END: Duration = Duration::from_secs(3);

impl<'a> Player<'a> {
    pub(super) async fn ws_open(
        &mut self,
        step: &Step,
        conn: &'a str,
        request: &Request,
        expected: &Response,
    ) {
        let request = self.request(request);
        let (actual, upgraded) = client::upgrade(self.target, &request, within(expected)).await;
        self.comparison.response(expected, &actual);
        if let Some(upgraded) = upgraded.filter(|_| expected.status == 101) {
            let channels = Channels::in_target(&request.target);
            let (answers_pings, answers_close) = self.manners(conn);
            let connection = WebSocket::new(upgraded, answers_pings);
            let socket = Socket::new(connection, answers_close, channels, step.at_ms);
            self.sockets.insert(conn, socket);
        }
    }

    /// Whether the client answers pings, and the server's close frame, by itself: unless the recording has the
    /// answers as steps. A client that left pings unanswered is known by its server's having ended the connection
    /// without a word.
    fn manners(&self, conn: &str) -> (bool, bool) {
        let shows =
            |what: &dyn Fn(&Action) -> bool| self.life_of(conn).any(|step| what(&step.action));
        let closes =
            |side| shows(&|action| matches!(action, Action::WsClose { by, .. } if *by == side));
        let sends = |opcode| {
            shows(
                &|action| matches!(action, Action::WsSend { frame, .. } if frame.opcode == opcode),
            )
        };
        let ended_silently = shows(&|action| matches!(action, Action::WsEnd { .. }))
            && !closes(Side::Client)
            && !closes(Side::Server);
        let answers_pings = !sends("pong") && !ended_silently;
        let answers_close = !sends("close") && !closes(Side::Client);
        (answers_pings, answers_close)
    }

    /// The steps on this connection behind the present one, until its name is given to another.
    fn life_of(&self, conn: &str) -> impl Iterator<Item = &'a Step> {
        let behind = self.recording.steps.iter().skip(self.number + 1);
        let of_it = behind.filter(move |step| step.action.parts().conn == Some(conn));
        of_it.take_while(|step| !matches!(step.action, Action::WsOpen { .. }))
    }

    /// The connection, if it is open, and what is needed to judge what comes on it.
    fn socket(&mut self, conn: &str) -> Option<(&mut Socket, &mut Comparison)> {
        let socket = self.sockets.get_mut(conn);
        if socket.is_none() {
            self.comparison.report("connection", &"open", &"not open");
        }
        Some((socket?, &mut self.comparison))
    }

    pub(super) fn ws_send(&mut self, conn: &str, frame: &Frame) {
        if let Some((socket, _)) = self.socket(conn) {
            socket.connection.send(frame);
        }
    }

    pub(super) async fn ws_close(&mut self, conn: &str, code: Option<u16>, reason: &str) {
        let is_last = self.life_of(conn).next().is_none();
        let Some((socket, _)) = self.socket(conn) else {
            return;
        };
        socket.connection.close(code, reason);
        if is_last {
            let until = Instant::now() + UNRECORDED_END;
            while socket
                .next(until)
                .await
                .is_some_and(|came| !matches!(came.what, What::End(_)))
            {
                socket.take();
            }
            self.gone(conn);
        }
    }

    pub(super) async fn ws_recv(&mut self, step: &Step, conn: &str, expected: &Frame) {
        let until = self.pace.expected(step.at_ms) + PATIENCE;
        let grouped = !self
            .recording
            .volatile
            .iter()
            .any(|name| name == "ws.grouping");
        let Some((socket, comparison)) = self.socket(conn) else {
            return;
        };
        let came = match expected.opcode.as_str() {
            "ping" | "pong" => socket.control(comparison, until, expected).await,
            _ => socket.messages(comparison, until, expected, grouped).await,
        };
        self.came(step, conn, came);
    }

    pub(super) async fn ws_closed(&mut self, step: &Step, conn: &str, code: u16, reason: &str) {
        let until = self.pace.expected(step.at_ms) + PATIENCE;
        let Some((socket, comparison)) = self.socket(conn) else {
            return;
        };
        let came = socket.close_frame(comparison, until, code, reason).await;
        self.came(step, conn, came);
    }

    pub(super) async fn ws_end(&mut self, step: &Step, conn: &str, how: Ending, closed: bool) {
        let until = self.pace.expected(step.at_ms) + PATIENCE;
        let Some((socket, comparison)) = self.socket(conn) else {
            return;
        };
        let came = socket.end(comparison, until, how, closed).await;
        self.came(step, conn, came);
        self.gone(conn);
    }

    /// Drops the connection, which its server is to notice.
    pub(super) fn gone(&mut self, conn: &str) {
        if let Some(socket) = self.sockets.remove(conn) {
            self.pace.settle(socket.channels);
        }
    }

    /// Judges when that came which was awaited.
    fn came(&mut self, step: &Step, conn: &str, came: Option<Instant>) {
        let Some((socket, at)) = self.sockets.get(conn).zip(came) else {
            return;
        };
        if self.pace.by_timer(socket.opened_ms, step.at_ms) {
            let recorded_ms = step.at_ms - socket.opened_ms;
            let played_ms = (at - socket.opened).as_secs_f64() * 1000.0;
            self.timer(recorded_ms, played_ms);
        }
    }

    pub(super) async fn ws_quiet(&mut self, conn: &str, within: Duration, quiet: bool) {
        let Some((socket, comparison)) = self.socket(conn) else {
            return;
        };
        let until = Instant::now() + within;
        if quiet {
            socket.nothing(comparison, until).await;
        } else if socket.next(until).await.is_none() {
            comparison.report("quiet", &"something", &"nothing came");
        }
    }
}
