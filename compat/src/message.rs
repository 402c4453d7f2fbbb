//! Messages: ids, bodies, expiries, senders.

use std::fmt;

use bytes::Bytes;
use data_encoding::HEXLOWER;

use crate::channel::PublicId;

/// The id of a message, `mid`: 26 decimal digits kept as 13 bytes, two digits a byte. The first ten
/// digits are the unix seconds at which the server's count began, the others the count. Byte order
/// is the order of publication.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId([u8; 13]);

impl MessageId {
    /// Before every message.
    pub const MIN: Self = Self([0; 13]);

    /// The id of message number `counter` of a server whose count began at `start` unix seconds.
    /// The counter keeps its last 16 digits.
    #[must_use]
    pub fn new(start: u32, counter: u64) -> Self {
        let mut digits = u128::from(start) * 10_u128.pow(16) + u128::from(counter % 10_u64.pow(16));
        let mut bytes = [0; 13];
        for byte in bytes.iter_mut().rev() {
            let low = u8::try_from(digits % 10).unwrap_or(0);
            let high = u8::try_from(digits / 10 % 10).unwrap_or(0);
            *byte = high << 4 | low;
            digits /= 100;
        }
        Self(bytes)
    }

    /// Reads exactly 26 decimal digits. Anything else is no id: the parameter counts as absent.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 26 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let mut bytes = [0; 13];
        HEXLOWER.decode_mut(text.as_bytes(), &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// The id as it stands in protobuf and in Redis.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 13] {
        &self.0
    }

    /// The number after the start: digits 11 to 26.
    #[must_use]
    pub fn counter(&self) -> u64 {
        self.0.iter().skip(5).fold(0, |number, byte| {
            number * 100 + u64::from(byte >> 4) * 10 + u64::from(byte & 15)
        })
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

/// What was published: UTF-8 text, usually JSON, handed on as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body(Bytes);

impl Body {
    /// Takes the bytes as they are; where they are not UTF-8, each bad part becomes U+FFFD, as the
    /// reference server does.
    #[must_use]
    pub fn from_lossy(bytes: Bytes) -> Self {
        match String::from_utf8_lossy(&bytes) {
            std::borrow::Cow::Borrowed(_) => Self(bytes),
            std::borrow::Cow::Owned(mended) => Self(mended.into()),
        }
    }

    /// The text's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was published.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Reads `Message-Expiry`, seconds, as JavaScript's `parseInt(value, 10)` would: blanks and a sign,
/// then digits up to the first other character. Negative, absent and unreadable values are 0: deliver
/// now, store nothing. Repeated headers are joined by `, ` first.
#[must_use]
pub fn expiry_from_header(value: Option<&str>) -> u32 {
    let value = value.unwrap_or_default().trim_start();
    let digits = value.strip_prefix('+').unwrap_or(value);
    let digits = digits
        .split(|c: char| !c.is_ascii_digit())
        .next()
        .unwrap_or_default();
    match digits.parse() {
        Ok(seconds) => seconds,
        Err(_) if digits.is_empty() => 0,
        Err(_) => u32::MAX,
    }
}

/// Who published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// Not said.
    Unknown,
    /// A client, by the first public id of its connection.
    Client(PublicId),
    /// The site.
    Backend,
}

/// A published message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Given by the server, growing.
    pub id: MessageId,
    /// What was published.
    pub body: Body,
    /// Seconds for which it may be caught up; 0 was not stored.
    pub expiry: u32,
    /// Unix seconds of publication.
    pub created: u32,
    /// Who published it.
    pub sender: Sender,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_decimal_digits() {
        let id = MessageId::new(1_700_000_000, 15);
        assert_eq!(id.to_string(), "17000000000000000000000015");
        assert_eq!(MessageId::parse(&id.to_string()), Some(id));
        assert_eq!(id.counter(), 15);
        assert!(id > MessageId::new(1_700_000_000, 9) && id < MessageId::new(1_700_000_001, 0));
        for bad in [
            "",
            "1700000000000000000000001",
            "1700000000000000000000000f",
            "170000000000000000000000015",
        ] {
            assert_eq!(MessageId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn expiry_is_read_like_parse_int() {
        for (text, seconds) in [
            ("60abc", 60),
            ("1.9", 1),
            ("1e3", 1),
            ("+7", 7),
            (" 8", 8),
            ("0x10", 0),
            ("abc", 0),
            ("-5", 0),
            ("", 0),
            ("10, 20", 10),
            ("99999999999", u32::MAX),
        ] {
            assert_eq!(expiry_from_header(Some(text)), seconds, "{text}");
        }
        assert_eq!(expiry_from_header(None), 0);
    }

    #[test]
    fn bad_utf8_is_mended_part_by_part() {
        assert_eq!(
            Body::from_lossy(Bytes::from_static(b"a\xed\xa0\x80b")).as_bytes(),
            "a\u{fffd}\u{fffd}\u{fffd}b".as_bytes()
        );
    }
}
