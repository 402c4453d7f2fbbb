//! Cookies by which a site knew its guests before pullgate came, signed by the site.
//!
//! Typical is `setcookie('MY_GUEST', $id . '.' . hash_hmac('sha256', $id, $key))`. What a value looks
//! like and what of it is signed, a [`CookieFormat`] tells; [`SiteCookie::verify`] takes the id from a value
//! that the site's key proves. Nothing is believed of an unsigned one: anyone can write another number.

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, Encoding, HEXLOWER_PERMISSIVE};
use percent_encoding::percent_decode_str;

use super::{GuestId, canonical_number};
use crate::signature::SignatureKey;

mod format;

pub use format::{BadFormat, CookieFormat, Flaw};

/// The longest value that is looked at, as the browser sends it.
const LONGEST: usize = 512;

/// A signed cookie of the site's, and the key that proves it.
#[derive(Debug, Clone)]
pub struct SiteCookie {
    format: CookieFormat,
    encoding: ProofEncoding,
    key: SignatureKey,
}

impl SiteCookie {
    /// The key is used as text: one of hex digits is not decoded.
    pub fn new(format: CookieFormat, encoding: ProofEncoding, key: SignatureKey) -> Self {
        Self {
            format,
            encoding,
            key,
        }
    }

    /// The guest that `value` proves, as the browser sent it: what is percent-encoded in it is decoded
    /// once, as PHP does. The site may write the id as it is or negative, 17 or -17 for guest 17.
    ///
    /// `None` for everything else, without saying why: malformed, oversized, signed by another key, or an
    /// id that is out of range or written with a zero in front. Constant in time as far as keys go.
    pub fn verify(&self, value: &str) -> Option<GuestId> {
        if value.len() > LONGEST {
            return None;
        }
        let value = percent_decode_str(value).decode_utf8().ok()?;
        let length = self.key.algorithm().digest_length();
        let parts = self.format.read(&value, self.encoding, length)?;
        let proof = self.encoding.alphabet().decode(parts.hmac.as_bytes());
        let signed = self.format.signed(&parts);
        if !self.key.verify_raw(&signed, &proof.ok()?) {
            return None;
        }
        let digits = parts.id.strip_prefix('-').unwrap_or(parts.id);
        let number = u32::try_from(canonical_number(digits)?).ok()?;
        GuestId::new(number)
    }
}

/// How a site writes the bytes of its proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofEncoding {
    /// Hex in either case, as PHP's `hash_hmac` gives it.
    Hex,
    /// Base64, with its `=` at the end or without.
    Base64,
    /// Base64 with `-` and `_` for `+` and `/`, with its `=` at the end or without.
    Base64Url,
}

impl ProofEncoding {
    const fn alphabet(self) -> Encoding {
        match self {
            Self::Hex => HEXLOWER_PERMISSIVE,
            Self::Base64 => BASE64_NOPAD,
            Self::Base64Url => BASE64URL_NOPAD,
        }
    }

    /// Takes what must be the proof, `length` bytes before they were encoded, off the front of `text`, and
    /// with it the `=` behind it.
    fn split(self, text: &str, length: usize) -> Option<(&str, &str)> {
        let written = self.alphabet().encode_len(length);
        let (proof, rest) = text.split_at_checked(written)?;
        // Hex never needs any: its lengths divide by four.
        let padding = match written % 4 {
            2 => "==",
            3 => "=",
            _ => "",
        };
        Some((proof, rest.strip_prefix(padding).unwrap_or(rest)))
    }
}

#[cfg(test)]
mod tests;
