//! Messages as text frames, for subscribers that did not ask for binary mode.
//!
//! ```text
//! #!NGINXNMS!#{"id":15,"mid":"17000000000000000000000015","channel":"-","tag":"003","time":"Tue, 24 Nov 2026 02:08:40 GMT","text":BODY}#!NGINXNME!#
//! ```
//!
//! A frame is no JSON, though it looks like it: the body stands in it verbatim, whatever it is. `id` is
//! the counter of the id, `channel` is always `-`, `tag` and `time` are of delivery, not of publication:
//! milliseconds, and a date as in HTTP. Several messages are several frames without anything between.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::message::Message;

mod decode;

pub use decode::{FrameError, Frames, TextFrame, frames};

/// What every frame begins with.
pub const MARK_START: &str = "#!NGINXNMS!#";

/// What every frame ends with.
pub const MARK_END: &str = "#!NGINXNME!#";

/// Appends the frame of `message`, delivered `now`.
pub fn encode(message: &Message, now: &Now, out: &mut Vec<u8>) {
    let digits = message.id.digits();
    out.reserve(LONGEST_ENVELOPE + message.body.len());
    out.extend_from_slice(MARK_START.as_bytes());
    out.extend_from_slice(b"{\"id\":");
    out.extend_from_slice(counter_digits(&digits));
    out.extend_from_slice(b",\"mid\":\"");
    out.extend_from_slice(&digits);
    out.extend_from_slice(b"\",\"channel\":\"-\",\"tag\":\"");
    out.extend_from_slice(&now.tag);
    out.extend_from_slice(b"\",\"time\":\"");
    out.extend_from_slice(&now.date);
    out.extend_from_slice(b"\",\"text\":");
    out.extend_from_slice(message.body.as_bytes());
    out.push(b'}');
    out.extend_from_slice(MARK_END.as_bytes());
}

/// Bytes of a frame beside its body, when the counter is as long as can be.
const LONGEST_ENVELOPE: usize = 160;

/// The last sixteen digits as a number is written: without leading zeros.
fn counter_digits(digits: &[u8; 26]) -> &[u8] {
    let counter = digits.split_at(10).1;
    let zeros = counter.iter().take_while(|&&digit| digit == b'0').count();
    counter.split_at(zeros.min(counter.len() - 1)).1
}

/// A moment of delivery, formatted once for all frames that go out in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since 1970.
    unix_ms: u64,
    /// The last three digits of the milliseconds.
    tag: [u8; 3],
    /// As in HTTP: `Tue, 24 Nov 2026 02:08:40 GMT`.
    date: [u8; 29],
}

impl Now {
    /// The last moment that a date of HTTP can show, in the year 9999.
    const LAST: u64 = 253_402_300_799_999;

    /// The moment `unix_ms`, milliseconds since 1970, at most the end of the year 9999.
    pub fn at(unix_ms: u64) -> Self {
        let unix_ms = unix_ms.min(Self::LAST);
        let time = UNIX_EPOCH + Duration::from_millis(unix_ms);
        Self {
            unix_ms,
            tag: tag(unix_ms),
            date: date(time),
        }
    }

    /// The moment `unix_ms`, taking over the date of `self` when it is of the same second: formatting the
    /// date is the dearest part of [`Now::at`].
    #[must_use]
    pub fn moved_to(self, unix_ms: u64) -> Self {
        if unix_ms / 1000 == self.unix_ms / 1000 {
            let tag = tag(unix_ms);
            Self {
                unix_ms,
                tag,
                ..self
            }
        } else {
            Self::at(unix_ms)
        }
    }

    /// Milliseconds since 1970.
    pub const fn unix_ms(&self) -> u64 {
        self.unix_ms
    }
}

fn tag(unix_ms: u64) -> [u8; 3] {
    [100, 10, 1].map(|unit| b'0' + u8::try_from(unix_ms / unit % 10).unwrap_or_default())
}

fn date(time: SystemTime) -> [u8; 29] {
    let mut date = Date {
        text: [b' '; 29],
        length: 0,
    };
    // Cannot fail: such a date has exactly 29 characters.
    let _ = write!(date, "{}", httpdate::HttpDate::from(time));
    date.text
}

/// Where the date is written to, so that it takes no allocation.
struct Date {
    text: [u8; 29],
    length: usize,
}

impl std::fmt::Write for Date {
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        let end = self.length + part.len();
        let room = self.text.get_mut(self.length..end);
        room.ok_or(std::fmt::Error)?
            .copy_from_slice(part.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
