//! The value of the guest's cookie: `1.<number>.<issued>.<signature>`.
//!
//! The version is 1; number and issue time (unix seconds) are decimal; the signature is HMAC-SHA256 over
//! all before the last dot, in lower-case hex. There is one way to write each value, so nothing but what
//! was signed verifies.

use super::{GuestId, GuestKeys, canonical_number};

/// What a cookie proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestCookie {
    /// Whose it is.
    pub id: GuestId,
    /// When it was signed, unix seconds.
    pub issued: u64,
    /// Whether to send a new one: an older secret signed it, or half of its life is over.
    pub renew: bool,
}

/// What a cookie's signature proves, however long ago or in whatever future it was made: that the number was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedCookie {
    /// Whose it is.
    pub id: GuestId,
    /// When it was signed, unix seconds.
    pub issued: u64,
    /// Whether the secret that signed it is not the one that signs today.
    older_secret: bool,
}

/// The longest value that is looked at. The longest that can be signed has 98 bytes.
const LONGEST: usize = 128;

/// How far the clock of the node that issued a cookie may be ahead of ours, in seconds.
const CLOCK_SKEW: u64 = 300;

impl GuestKeys {
    /// The cookie's value for `id`, issued at `issued`, unix seconds. Only digits, letters and dots, so it
    /// needs no quoting.
    pub fn sign_cookie(&self, id: GuestId, issued: u64) -> String {
        let text = format!("1.{}.{issued}", id.number());
        let signature = self.cookie.first.sign(&[&text]);
        text + "." + &signature
    }

    /// What `value` proves at `now`, unix seconds, if it is not older than `max_age` seconds.
    ///
    /// `None` for everything else, without saying why: malformed, oversized, signed by nobody we know,
    /// expired, or from a future that clocks do not explain. Constant in time as far as keys go.
    pub fn verify_cookie(&self, value: &str, now: u64, max_age: u64) -> Option<GuestCookie> {
        self.open_cookie(value)?.at(now, max_age)
    }

    /// What `value` says, if it is signed. Its age does not matter.
    pub fn open_cookie(&self, value: &str) -> Option<SignedCookie> {
        if value.len() > LONGEST {
            return None;
        }
        let (text, signature) = value.rsplit_once('.')?;
        let key = self.cookie.verify(&[text], signature)?;

        let (number, issued) = text.strip_prefix("1.")?.split_once('.')?;
        let number = u32::try_from(canonical_number(number)?).ok()?;
        Some(SignedCookie {
            id: GuestId::new(number)?,
            issued: canonical_number(issued)?,
            older_secret: key > 0,
        })
    }
}

impl SignedCookie {
    /// What it proves at `now`, unix seconds, if it is not older than `max_age` seconds, nor from a future that
    /// clocks do not explain.
    pub fn at(&self, now: u64, max_age: u64) -> Option<GuestCookie> {
        let age = now.saturating_sub(self.issued);
        if age > max_age || self.issued > now.saturating_add(CLOCK_SKEW) {
            return None;
        }
        Some(GuestCookie {
            id: self.id,
            issued: self.issued,
            renew: self.older_secret || age > max_age / 2,
        })
    }
}
