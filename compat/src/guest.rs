//! Visitors without login: their numbers, and the cookie and the token that prove them.
//!
//! The site knows a guest by a negative number, so that it is never taken for a user: guest 17 is user
//! -17. The *cookie* keeps the number in the browser. The *token* goes to the site with each request,
//! beside the number, so that PHP can tell a number that pullgate vouches for from one that somebody
//! wrote into a header.
//!
//! # Keys
//!
//! From each secret, one key is derived per purpose and site, so that no two uses share one:
//!
//! ```text
//! key = HMAC-SHA256(secret, "pullgate-1" 00 purpose 00 site)
//! ```
//!
//! where purpose is `guest-cookie`, `guest-token` or `guest-channel` and site is the site's name. Of several secrets the
//! first signs and all verify, so that a new one can be put before an old one.

use std::fmt;
use std::num::NonZeroU32;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

pub mod adopt;
mod channels;
mod cookie;
mod token;

pub use channels::{EPOCH, GuestChannels};
pub use cookie::{GuestCookie, SignedCookie};

/// The number of a guest: 1 to 2147483647, because the site keeps it, negative, in a signed column of
/// 32 bits. Shown as the site knows it: guest 17 is `-17`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestId(NonZeroU32);

impl GuestId {
    /// The greatest number.
    pub const MAX: u32 = i32::MAX.unsigned_abs();

    /// The guest of this number, if it is in range.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number)
            .filter(|number| number.get() <= Self::MAX)
            .map(Self)
    }

    /// The number, positive.
    pub const fn number(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for GuestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "-{}", self.0)
    }
}

/// The keys of one site for everything that is signed about its guests.
#[derive(Clone)]
pub struct GuestKeys {
    cookie: Keys,
    token: Keys,
    channel: Keys,
}

impl GuestKeys {
    /// The least length of a secret, in bytes.
    pub const SECRET_LENGTH: usize = 32;

    /// Derives the keys of the site named `site`. The first of `secrets` signs, all verify.
    ///
    /// # Errors
    ///
    /// When there is no secret, or one is shorter than [`Self::SECRET_LENGTH`].
    pub fn derive<S: AsRef<[u8]>>(secrets: &[S], site: &str) -> Result<Self, BadSecrets> {
        if secrets.is_empty() {
            return Err(BadSecrets::None);
        }
        for (index, secret) in secrets.iter().enumerate() {
            let length = secret.as_ref().len();
            if length < Self::SECRET_LENGTH {
                return Err(BadSecrets::Short {
                    number: index + 1,
                    length,
                });
            }
        }
        Ok(Self {
            cookie: Keys::derive(secrets, "guest-cookie", site),
            token: Keys::derive(secrets, "guest-token", site),
            channel: Keys::derive(secrets, "guest-channel", site),
        })
    }
}

impl fmt::Debug for GuestKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestKeys")
            .field("secrets", &(1 + self.cookie.older.len()))
            .finish_non_exhaustive()
    }
}

/// Secrets that no keys can be derived from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSecrets {
    /// The list is empty.
    #[error("no secret, expected at least one")]
    None,
    /// A secret that could be guessed.
    #[error(
        "secret {number} has {length} bytes, expected at least {}",
        GuestKeys::SECRET_LENGTH
    )]
    Short {
        /// Its place in the list, from 1.
        number: usize,
        /// Its length in bytes.
        length: usize,
    },
}

/// The keys of one purpose.
#[derive(Clone)]
struct Keys {
    first: Key,
    older: Vec<Key>,
}

impl Keys {
    fn derive<S: AsRef<[u8]>>(secrets: &[S], purpose: &str, site: &str) -> Self {
        let mut keys = secrets
            .iter()
            .map(|secret| Key::derive(secret.as_ref(), purpose, site));
        Self {
            first: keys.next().expect("the list was checked not to be empty"),
            older: keys.collect(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.first).chain(&self.older)
    }

    /// The place of the key by which `hex` signs `text`; 0 is the key that signs today.
    fn verify(&self, text: &[&str], hex: &str) -> Option<usize> {
        let mut given = [0; 32];
        if hex.len() != 64 || HEXLOWER.decode_mut(hex.as_bytes(), &mut given).is_err() {
            return None;
        }
        self.all().position(|key| key.verifies(text, &given))
    }
}

/// One key, scheduled once: every use starts from a copy.
#[derive(Clone)]
struct Key {
    bytes: [u8; 32],
    keyed: Hmac<Sha256>,
}

impl Key {
    fn derive(secret: &[u8], purpose: &str, site: &str) -> Self {
        let label = ["pullgate-1", "\0", purpose, "\0", site];
        let bytes = authenticate(schedule(secret), &label);
        let keyed = schedule(&bytes);
        Self { bytes, keyed }
    }

    /// The signature of these parts, one behind the other, in lower-case hex.
    fn sign(&self, text: &[&str]) -> String {
        HEXLOWER.encode(&authenticate(self.keyed.clone(), text))
    }

    /// Constant in time.
    fn verifies(&self, text: &[&str], signature: &[u8; 32]) -> bool {
        authenticate(self.keyed.clone(), text)
            .ct_eq(signature)
            .into()
    }
}

fn schedule(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of every length")
}

fn authenticate(mut mac: Hmac<Sha256>, text: &[&str]) -> [u8; 32] {
    for part in text {
        mac.update(part.as_bytes());
    }
    mac.finalize().into_bytes().into()
}

/// A number as we write it: decimal digits, no sign, no leading zero.
fn canonical_number(digits: &str) -> Option<u64> {
    let canonical = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits.len() == 1 || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| canonical)
}

#[cfg(test)]
mod tests;
