//! Text frames read back, for tests and for replaying recorded traffic.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{MARK_END, MARK_START, Now};
use crate::message::MessageId;

/// One frame, as it stands in the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextFrame<'a> {
    /// The counter of the message's id.
    pub id: u64,
    /// The message's id.
    pub mid: MessageId,
    /// Always `-`.
    pub channel: &'a str,
    /// Milliseconds of the time of delivery, three digits.
    pub tag: &'a str,
    /// Time of delivery, as dates are written in HTTP.
    pub time: &'a str,
    /// The message's body.
    pub text: &'a [u8],
}

impl TextFrame<'_> {
    /// The moment that `time` and `tag` show.
    pub fn delivered(&self) -> Option<Now> {
        let time: SystemTime = httpdate::parse_http_date(self.time).ok()?;
        let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
        let milliseconds: u64 = self.tag.parse().ok()?;
        (self.tag.len() == 3).then(|| Now::at(seconds * 1000 + milliseconds))
    }
}

/// The frames in `data`, one behind the other.
///
/// A body may itself hold the end mark, as nothing in it is escaped. So a frame ends at the first end
/// mark behind which another frame begins, or nothing comes. A body with a whole frame in it is told
/// apart from two messages by nobody; clients take it for two.
pub fn frames(data: &[u8]) -> Frames<'_> {
    Frames { rest: data }
}

/// See [`frames`].
#[derive(Debug, Clone)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<TextFrame<'a>, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let frame = self.frame();
        if frame.is_err() {
            self.rest = &[];
        }
        Some(frame)
    }
}

impl<'a> Frames<'a> {
    fn frame(&mut self) -> Result<TextFrame<'a>, FrameError> {
        self.literal(MARK_START, "start mark")?;
        self.literal("{\"id\":", "id")?;
        let id = self.until(",\"mid\":\"", "mid")?;
        let mid = self.until("\",\"channel\":\"", "channel")?;
        let channel = self.until("\",\"tag\":\"", "tag")?;
        let tag = self.until("\",\"time\":\"", "time")?;
        let time = self.until("\",\"text\":", "text")?;
        let text = self.body()?;
        Ok(TextFrame {
            id: id.parse().map_err(|_| FrameError::Malformed("id"))?,
            mid: MessageId::parse(mid).ok_or(FrameError::Malformed("mid"))?,
            channel,
            tag,
            time,
            text,
        })
    }

    fn literal(&mut self, text: &str, name: &'static str) -> Result<(), FrameError> {
        self.rest = self
            .rest
            .strip_prefix(text.as_bytes())
            .ok_or(FrameError::Missing(name))?;
        Ok(())
    }

    /// What stands before `key`, which is dropped.
    fn until(&mut self, key: &str, name: &'static str) -> Result<&'a str, FrameError> {
        let at = find(self.rest, key).ok_or(FrameError::Missing(name))?;
        let (value, rest) = self.rest.split_at(at);
        self.rest = rest;
        self.literal(key, name)?;
        str::from_utf8(value).map_err(|_| FrameError::Malformed(name))
    }

    fn body(&mut self) -> Result<&'a [u8], FrameError> {
        let end = format!("}}{MARK_END}");
        let mut from = 0;
        while let Some(at) = find(self.rest.get(from..).unwrap_or_default(), &end) {
            let (body, behind) = self.rest.split_at(from + at);
            let (_, rest) = behind.split_at(end.len());
            if rest.is_empty() || rest.starts_with(MARK_START.as_bytes()) {
                self.rest = rest;
                return Ok(body);
            }
            from += at + 1;
        }
        Err(FrameError::Missing("end mark"))
    }
}

fn find(data: &[u8], text: &str) -> Option<usize> {
    data.windows(text.len())
        .position(|window| window == text.as_bytes())
}

/// Data that is not a row of text frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A part of the frame is not where it must be.
    #[error("text frame without {0}")]
    Missing(&'static str),
    /// A part of the frame is there and cannot be read.
    #[error("text frame with a malformed {0}")]
    Malformed(&'static str),
}
