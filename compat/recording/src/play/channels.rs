//! The channels that a step is about, so far as it shows.

use crate::format::{Action, Parts, Request, Side};

/// Letters of an id as text.
const LENGTH: usize = 32;

/// Ids of channels.
#[derive(Debug, Clone, Default)]
pub(super) struct Channels {
    /// As they stand in targets.
    texts: Vec<String>,
    /// As they stand in protobuf.
    bytes: Vec<Vec<u8>>,
}

impl Channels {
    /// Those that a target names.
    pub(super) fn in_target(target: &str) -> Self {
        let mut channels = Self::default();
        for text in target.split(|letter: char| !letter.is_ascii_alphanumeric()) {
            if text.len() != LENGTH {
                continue;
            }
            if let Ok(bytes) = data_encoding::HEXLOWER.decode(text.as_bytes()) {
                channels.texts.push(text.to_owned());
                channels.bytes.push(bytes);
            }
        }
        channels
    }

    /// Whether `action` names one of them.
    pub(super) fn concern(&self, action: &Action) -> bool {
        let Parts {
            by, request, frame, ..
        } = action.parts();
        let sent = frame.filter(|_| by == Side::Client);
        let sent = sent.and_then(|frame| frame.data.as_deref());
        request.is_some_and(|request| self.are_in(request))
            || sent.is_some_and(|data| self.are_in_bytes(data))
    }

    fn are_in(&self, request: &Request) -> bool {
        let body = request.body.as_deref().unwrap_or_default();
        let mut texts = self.texts.iter();
        texts.any(|text| request.target.contains(text)) || self.are_in_bytes(body)
    }

    fn are_in_bytes(&self, data: &[u8]) -> bool {
        let mut all = self.bytes.iter();
        all.any(|id| data.windows(id.len()).any(|window| window == id))
    }
}
