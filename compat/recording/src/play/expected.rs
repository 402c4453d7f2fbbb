//! What a websocket is expected to bring, held against what it brings.
//!
//! What came before that which is expected is reported and passed over; what ends the connection is left for the
//! step that shows it. So one difference does not make differences of all that follows.

use std::fmt::Display;

use tokio::time::Instant;

use super::socket::{Socket, What, messages};
use crate::compare::Comparison;
use crate::format::{Ending, Frame};
use crate::short;

const NOTHING: &str = "nothing came";

impl Socket {
    /// Expects the messages of a data frame, one by one, and as `grouped` that they are all of one frame. Returns
    /// when the last came.
    pub(super) async fn messages(
        &mut self,
        comparison: &mut Comparison,
        until: Instant,
        expected: &Frame,
        grouped: bool,
    ) -> Option<Instant> {
        let expected_messages = messages(expected);
        comparison.before = self.last_ids;
        let mut last = None;
        let mut frames = Vec::new();
        for (index, expected_message) in expected_messages.iter().enumerate() {
            let path = format!("message {}", index + 1);
            loop {
                let Some(came) = self.next(until).await else {
                    comparison.report(&path, expected_message, &NOTHING);
                    return None;
                };
                match &came.what {
                    What::Message {
                        opcode,
                        message,
                        frame,
                    } => {
                        let opcodes = format!("{path}/opcode");
                        comparison.equal(&opcodes, &expected.shown_opcode(), opcode);
                        comparison.message(&path, expected_message, message);
                        frames.push(*frame);
                        last = Some(came.at);
                        self.last_ids = comparison.before;
                        self.take();
                        break;
                    }
                    What::Control(_) => self.pass_over(comparison, &path, expected_message),
                    What::Close(..) | What::End(_) => {
                        comparison.report(&path, expected_message, &came.what);
                        return None;
                    }
                }
            }
        }
        if grouped {
            self.grouping(comparison, &frames);
        }
        last
    }

    fn grouping(&mut self, comparison: &mut Comparison, frames: &[usize]) {
        let first = frames.first().copied();
        let (begun_before, goes_on) = (
            self.last_frame == first,
            self.frame_waiting() == frames.last().copied(),
        );
        let others = frames
            .windows(2)
            .filter(|pair| pair.first() != pair.last())
            .count();
        self.last_frame = frames.last().copied();
        if others > 0 || begun_before || goes_on {
            let mut actual = format!("in {}", others + 1);
            if begun_before {
                actual.push_str(", the first begun before");
            }
            if goes_on {
                actual.push_str(", the last with more behind");
            }
            comparison.report(
                "grouping",
                &format!("{} in one frame", frames.len()),
                &actual,
            );
        }
    }

    /// Expects a ping or a pong.
    pub(super) async fn control(
        &mut self,
        comparison: &mut Comparison,
        until: Instant,
        expected: &Frame,
    ) -> Option<Instant> {
        let data = |frame: &Frame| short::bytes(frame.data.as_deref().unwrap_or_default());
        let came = self.next(until).await;
        match came.map(|came| (&came.what, came.at)) {
            Some((What::Control(frame), at)) => {
                comparison.equal("opcode", &expected.opcode, &frame.opcode);
                comparison.equal("data", &data(expected), &data(frame));
                self.take();
                Some(at)
            }
            Some((other, _)) => {
                comparison.report("opcode", &expected.opcode, other);
                None
            }
            None => {
                comparison.report("opcode", &expected.opcode, &NOTHING);
                None
            }
        }
    }

    /// Expects the server's close frame.
    pub(super) async fn close_frame(
        &mut self,
        comparison: &mut Comparison,
        until: Instant,
        code: u16,
        reason: &str,
    ) -> Option<Instant> {
        let expected = What::Close(code, reason.to_owned());
        loop {
            let Some(came) = self.next(until).await else {
                comparison.report("close", &expected, &NOTHING);
                return None;
            };
            match &came.what {
                What::Close(actual_code, actual_reason) => {
                    comparison.equal("code", &code, actual_code);
                    comparison.equal("reason", &reason, &actual_reason.as_str());
                    let at = came.at;
                    self.take();
                    return Some(at);
                }
                What::Message { .. } | What::Control(_) => {
                    self.pass_over(comparison, "close", &expected);
                }
                What::End(_) => {
                    comparison.report("close", &expected, &came.what);
                    return None;
                }
            }
        }
    }

    /// Expects the server's side of the connection to end.
    pub(super) async fn end(
        &mut self,
        comparison: &mut Comparison,
        until: Instant,
        how: Ending,
        closed: bool,
    ) -> Option<Instant> {
        let expected = What::End(how);
        loop {
            let Some(came) = self.next(until).await else {
                comparison.report("how", &expected, &NOTHING);
                return None;
            };
            if let What::End(_) = came.what {
                comparison.equal("how", &expected.to_string(), &came.what.to_string());
                let at = came.at;
                comparison.equal("close_frame_seen", &closed, &self.closed);
                return Some(at);
            }
            self.pass_over(comparison, "how", &expected);
        }
    }

    /// Expects that nothing comes.
    pub(super) async fn nothing(&mut self, comparison: &mut Comparison, until: Instant) {
        while let Some(came) = self.next(until).await {
            comparison.report("quiet", &"nothing", &came.what);
            match came.what {
                What::Message { .. } | What::Control(_) => self.take(),
                What::Close(..) | What::End(_) => return,
            };
        }
    }

    /// Reports and drops what has come in place of that which is expected.
    fn pass_over(&mut self, comparison: &mut Comparison, path: &str, expected: &dyn Display) {
        if let Some(came) = self.take() {
            comparison.report(&format!("{path}/before"), expected, &came.what);
        }
    }
}
