//! A message, and the small types that it is made of.
//!
//! A message has one id and one body however many channels it goes to. Its text form is in
//! [`text`](crate::text), its protobuf form in [`wire`](crate::wire).

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use crate::channel::PublicId;

/// A published message as the server keeps it and sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Given by the server, greater for every later message.
    pub id: MessageId,
    /// What was published.
    pub body: Body,
    /// Seconds for which it is kept; 0 is for whoever listens now, and is not stored.
    pub expiry: u32,
    /// Unix seconds at which the server took it.
    pub created: u32,
    /// Who published it. The server decides; what a publisher says about it does not count.
    pub sender: Sender,
}

/// Who published a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// Never given by the server itself; kept when read from elsewhere.
    Unknown,
    /// A browser: the first public id of its connection.
    Client(PublicId),
    /// The site.
    Backend,
}

/// A message id, `mid`: 26 decimal digits, ten for the server's start in unix seconds and sixteen for
/// a counter. It is 13 bytes, two digits a byte, so that the order of bytes is the order of ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId([u8; 13]);

impl MessageId {
    /// Less than every id given; a `mid` of zeros asks for all that is stored.
    pub const MIN: Self = Self([0; 13]);

    /// Greater than every id given.
    pub const MAX: Self = Self([0x99; 13]);

    /// The greatest counter that sixteen digits can show.
    pub const MAX_COUNTER: u64 = 9_999_999_999_999_999;

    /// The id of message number `counter` of a server that started at `start`, unix seconds. A counter
    /// beyond [`Self::MAX_COUNTER`], a million messages a second for 300 years, stays there.
    pub fn new(start: u32, counter: u64) -> Self {
        let mut id = [0; 13];
        let (high, low) = id.split_at_mut(5);
        write_decimal(u64::from(start), high);
        write_decimal(counter.min(Self::MAX_COUNTER), low);
        Self(id)
    }

    /// Reads exactly 26 decimal digits; everything else counts as no id at all. Whether the id was
    /// ever given is not asked (recording `mid_malformed`).
    pub fn parse(digits: &str) -> Option<Self> {
        let mut id = [0; 13];
        if digits.len() != 26 {
            return None;
        }
        for (byte, pair) in id.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            *byte = match *pair {
                [high @ b'0'..=b'9', low @ b'0'..=b'9'] => ((high - b'0') << 4) | (low - b'0'),
                _ => return None,
            };
        }
        Some(Self(id))
    }

    /// The id of these bytes, if each of them is two decimal digits.
    pub fn from_bytes(bytes: [u8; 13]) -> Option<Self> {
        bytes
            .iter()
            .all(|byte| byte >> 4 < 10 && byte & 15 < 10)
            .then_some(Self(bytes))
    }

    /// [`Self::from_bytes`], if there are 13 of them.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Self::from_bytes(bytes.try_into().ok()?)
    }

    /// The bytes as they stand in protobuf and in Redis.
    pub const fn as_bytes(&self) -> &[u8; 13] {
        &self.0
    }

    /// The first ten digits: unix seconds, for an id that a server gave.
    pub fn start(&self) -> u64 {
        read_decimal(self.0.split_at(5).0)
    }

    /// The last sixteen digits.
    pub fn counter(&self) -> u64 {
        read_decimal(self.0.split_at(5).1)
    }

    /// The 26 digits in ASCII.
    pub(crate) fn digits(&self) -> [u8; 26] {
        let mut digits = [b'0'; 26];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[b'0' + (byte >> 4), b'0' + (byte & 15)]);
        }
        digits
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(str::from_utf8(&self.digits()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

/// Fills `bytes` with the last digits of `number`, two a byte.
fn write_decimal(mut number: u64, bytes: &mut [u8]) {
    for byte in bytes.iter_mut().rev() {
        let pair = u8::try_from(number % 100).unwrap_or_default();
        *byte = ((pair / 10) << 4) | (pair % 10);
        number /= 100;
    }
}

fn read_decimal(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| {
        number * 100 + u64::from(byte >> 4) * 10 + u64::from(byte & 15)
    })
}

/// The body of a message: UTF-8, and otherwise left alone. Publishers send JSON, but nobody checks.
/// Clones share the bytes.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Body(Bytes);

impl Body {
    /// Takes bytes as they came. Where they are not UTF-8, U+FFFD stands for each maximal bad part, by
    /// the rule of the WHATWG encoding standard (recording `publish_bodies`); else nothing is copied.
    pub fn from_lossy(bytes: Bytes) -> Self {
        match String::from_utf8_lossy(&bytes) {
            Cow::Borrowed(_) => Self(bytes),
            Cow::Owned(mended) => Self(mended.into()),
        }
    }

    /// The bytes, valid UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing in it. A text publish of nothing is ignored, a binary one is not.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }
}

impl From<Body> for Bytes {
    fn from(body: Body) -> Self {
        body.0
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(&self.0), f)
    }
}

/// How long a message is kept, in seconds. 0, the default, is not at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expiry(u32);

impl Expiry {
    /// An expiry of so many seconds.
    pub const fn of_seconds(seconds: u32) -> Self {
        Self(seconds)
    }

    /// Reads the `Message-Expiry` header of a text publish. A header sent several times is to be joined
    /// by `", "` first, as Node does.
    ///
    /// It is read as JavaScript's `parseInt(value, 10)` reads it (recording `expiry_header_parsing`):
    /// blanks and a sign, then digits up to the first character that is none. Negative, absent or no
    /// number: 0. Greater than a `u32`: the greatest `u32`.
    pub fn from_header(value: Option<&str>) -> Self {
        let value = value.unwrap_or_default();
        let value = value.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        let digits = value.strip_prefix('+').unwrap_or(value);
        Self(
            digits
                .chars()
                .map_while(|c| c.to_digit(10))
                .fold(0, |number: u32, digit| {
                    number.saturating_mul(10).saturating_add(digit)
                }),
        )
    }

    /// Seconds.
    pub const fn seconds(self) -> u32 {
        self.0
    }

    /// At most `ttl` seconds: the server's `messageTTL`, 86400 by default.
    #[must_use]
    pub fn capped(self, ttl: u32) -> Self {
        Self(self.0.min(ttl))
    }

    /// Whether the message is not to be stored.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// A label of a message, for statistics only: 1 to 32 of `a-z A-Z 0-9 _ * -`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct MessageType(Option<Box<str>>);

impl MessageType {
    /// What is counted when there is no label, or none of that form; text publishes have none.
    pub const UNKNOWN: &'static str = "unknown";

    /// Reads a label; of any other form it is [`Self::UNKNOWN`].
    pub fn parse(label: &[u8]) -> Self {
        let well_formed = (1..=32).contains(&label.len())
            && label
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_*-".contains(byte));
        match str::from_utf8(label) {
            Ok(label) if well_formed => Self(Some(label.into())),
            Ok(_) | Err(_) => Self(None),
        }
    }

    /// The label.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or(Self::UNKNOWN)
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests;
