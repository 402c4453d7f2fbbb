//! Messages that clients sent in fragments: masked as a whole, since a channel id may begin in one
//! frame and end in the next.

use std::collections::HashMap;

use super::body::sent;
use super::ids::Ids;
use crate::format::{Action, Frame, Step};

/// Frames of messages that have begun and not ended, by connection.
#[derive(Debug, Default)]
pub(super) struct Fragments(HashMap<String, Vec<Step>>);

impl Fragments {
    /// Takes a client's frame, and gives back those that are masked by now: at the message's end all
    /// of it, none before.
    pub(super) fn add(&mut self, step: Step, ids: &Ids) -> Vec<Step> {
        let Action::WsSend { conn, frame } = &step.action else {
            return vec![step];
        };
        if !matches!(frame.opcode.as_str(), "text" | "binary" | "continuation") {
            return mask_joined(vec![step], ids);
        }
        let conn = conn.clone();
        let is_last = frame.fin.is_none();
        let mut masked = Vec::new();
        if frame.opcode != "continuation" {
            // What began before is never ended.
            masked = mask_joined(self.0.remove(&conn).unwrap_or_default(), ids);
        }
        let message = self.0.entry(conn.clone()).or_default();
        message.push(step);
        if is_last {
            masked.extend(mask_joined(self.0.remove(&conn).unwrap_or_default(), ids));
        }
        masked
    }

    /// What is left of messages that never ended.
    pub(super) fn rest(&mut self, ids: &Ids) -> Vec<Step> {
        let messages = self.0.drain();
        messages
            .flat_map(|(_, message)| mask_joined(message, ids))
            .collect()
    }
}

/// Masks the payload of these frames as one, and cuts it where it was cut.
fn mask_joined(mut message: Vec<Step>, ids: &Ids) -> Vec<Step> {
    let is_binary = message
        .first_mut()
        .and_then(frame)
        .is_some_and(|first| first.opcode == "binary");
    let frames = message.iter_mut().filter_map(frame);
    let mut joined: Vec<u8> = frames
        .filter_map(|frame| frame.data.as_deref())
        .flatten()
        .copied()
        .collect();
    sent(&mut joined, is_binary, ids);
    let mut rest = joined.as_slice();
    for data in message
        .iter_mut()
        .filter_map(frame)
        .filter_map(|frame| frame.data.as_mut())
    {
        let (part, behind) = rest.split_at(data.len().min(rest.len()));
        *data = part.to_vec();
        rest = behind;
    }
    message
}

fn frame(step: &mut Step) -> Option<&mut Frame> {
    if let Action::WsSend { frame, .. } = &mut step.action {
        return Some(frame);
    }
    None
}
