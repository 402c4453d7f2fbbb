//! `X-Request-Id`: one id for a request, in the logs, at the site, and on the page of an error.

use std::cell::RefCell;
use std::fmt;

use data_encoding::HEXLOWER;
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// The header that has it, for PHP and in the answer.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest that is kept: a UUID has 36.
const MAX_LENGTH: usize = 128;

/// Bytes of one random id.
const RANDOM: usize = 16;

thread_local! {
    static AHEAD: RefCell<Ahead> = const { RefCell::new(Ahead { bytes: [0; 64 * RANDOM], left: 0 }) };
}

/// Randomness got ahead, so that not every request asks the system. Nothing rests on its being secret.
struct Ahead {
    bytes: [u8; 64 * RANDOM],
    /// Bytes at the front that were not used.
    left: usize,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    /// What a trusted proxy says, if it says it once and in characters that can stand anywhere; or else 16 random bytes
    /// in hex.
    pub(super) fn of(headers: &HeaderMap, by_proxy: bool) -> Self {
        let mut lines = headers.get_all(X_REQUEST_ID).iter();
        match (lines.next(), lines.next()) {
            (Some(line), None) if by_proxy => Self::parse(line).unwrap_or_else(Self::random),
            (Some(_) | None, _) => Self::random(),
        }
    }

    fn parse(line: &HeaderValue) -> Option<Self> {
        let id = line.to_str().ok()?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:=+/@".contains(c);
        let fits = (1..=MAX_LENGTH).contains(&id.len()) && id.chars().all(allowed);
        // A copy: the line is a part of all that was read with it, which would stay with a request that waits.
        HeaderValue::from_str(id).ok().filter(|_| fits).map(Self)
    }

    fn random() -> Self {
        let id = AHEAD.with_borrow_mut(Ahead::take);
        let mut text = [0; 2 * RANDOM];
        HEXLOWER.encode_mut(&id, &mut text);
        // Hex can stand in a header.
        Self(HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("-")))
    }

    /// Puts it into a head, in the place of any other.
    pub(super) fn put_into(&self, headers: &mut HeaderMap) {
        headers.insert(X_REQUEST_ID, self.0.clone());
    }
}

impl Ahead {
    fn take(&mut self) -> [u8; RANDOM] {
        if self.left < RANDOM {
            // Without randomness requests are served all the same.
            let _ = getrandom::fill(&mut self.bytes);
            self.left = self.bytes.len();
        }
        self.left -= RANDOM;
        let mut id = [0; RANDOM];
        let unused = self.bytes.iter().skip(self.left);
        id.iter_mut().zip(unused).for_each(|(id, byte)| *id = *byte);
        id
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(lines: &[&[u8]], by_proxy: bool) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_REQUEST_ID, HeaderValue::from_bytes(line).unwrap());
        }
        RequestId::of(&headers, by_proxy).to_string()
    }

    #[test]
    fn a_trusted_proxys_is_kept_if_it_is_sane() {
        assert_eq!(id(&[b"a-1_2.3:4=5+6/7@8"], true), "a-1_2.3:4=5+6/7@8");
        let longest = [b'x'; MAX_LENGTH];
        assert_eq!(id(&[&longest], true).as_bytes(), longest);
        let too_long = [b'x'; MAX_LENGTH + 1];
        let refused: [&[&[u8]]; 7] = [
            &[],
            &[b""],
            &[b"a b"],
            &[b"<b>"],
            &[b"\xcf"],
            &[b"a", b"b"],
            &[&too_long],
        ];
        for lines in refused {
            let made = id(lines, true);
            assert_eq!(made.len(), 32, "{lines:?}");
            assert!(made.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
    }

    #[test]
    fn nobody_elses_is() {
        assert_ne!(id(&[b"mine"], false), "mine");
        assert_ne!(id(&[], false), id(&[], false));
    }
}
