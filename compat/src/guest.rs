//! Guests: the number of a visitor without login, the cookie that keeps it, the token that proves
//! it to PHP.
//!
//! Keys are derived, never used as they are: HMAC-SHA256(secret, `pullgate PURPOSE v1` NUL site), so
//! that no two sites and no two uses share one.

use std::fmt;
use std::num::NonZeroU32;

use data_encoding::HEXLOWER;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::signature::keyed;

/// Shortest secret, bytes.
pub const MIN_SECRET: usize = 32;

/// Longest cookie value looked at: version, id, time, signature.
const MAX_COOKIE: usize = 2 + 11 + 21 + 64;

/// How far ahead of our clock a cookie may have been issued, seconds: another node's clock.
const MAX_AHEAD: u64 = 300;

/// The number of a guest, 1 to 2147483647 (the site's column is a signed int). Bitrix sees it
/// negative, so that it can never be taken for a user's; shown so too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestId(NonZeroU32);

impl GuestId {
    /// The highest number.
    pub const MAX: u32 = 2_147_483_647;

    /// The guest of this number, if it is one.
    #[must_use]
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number)
            .filter(|number| number.get() <= Self::MAX)
            .map(Self)
    }

    /// The number, positive.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for GuestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "-{}", self.0)
    }
}

/// What a verified cookie says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestCookie {
    /// Whose it is.
    pub id: GuestId,
    /// It should be issued anew: an older secret signed it, or half its life has gone.
    pub renew: bool,
}

/// The derived keys of one site: the first signs, all verify.
#[derive(Clone)]
pub struct GuestKeys {
    cookie: Vec<Hmac<Sha256>>,
    token: Vec<Hmac<Sha256>>,
    token_hex: Vec<String>,
}

/// Secrets that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSecrets {
    /// There is none.
    #[error("no secret given")]
    None,
    /// One is too short to be one.
    #[error("secret number {number} has {length} bytes, at least {MIN_SECRET} are needed")]
    Short {
        /// Its place in the list, from 1.
        number: usize,
        /// Its length in bytes.
        length: usize,
    },
}

impl GuestKeys {
    /// Derives the keys of `site`.
    ///
    /// # Errors
    /// When there is no secret, or one is shorter than [`MIN_SECRET`].
    pub fn derive<S: AsRef<[u8]>>(secrets: &[S], site: &str) -> Result<Self, BadSecrets> {
        if secrets.is_empty() {
            return Err(BadSecrets::None);
        }
        for (at, secret) in secrets.iter().enumerate() {
            let length = secret.as_ref().len();
            if length < MIN_SECRET {
                return Err(BadSecrets::Short {
                    number: at + 1,
                    length,
                });
            }
        }
        let derive = |purpose: &str, secret: &S| {
            mac(
                &keyed(secret.as_ref()),
                format!("pullgate {purpose} v1\0{site}").as_bytes(),
            )
        };
        let token: Vec<_> = secrets
            .iter()
            .map(|secret| derive("token", secret))
            .collect();
        Ok(Self {
            cookie: secrets
                .iter()
                .map(|secret| keyed(&derive("cookie", secret)))
                .collect(),
            token_hex: token.iter().map(|key| HEXLOWER.encode(key)).collect(),
            token: token.iter().map(|key| keyed(key)).collect(),
        })
    }

    /// A cookie value, `1.<number>.<issued>.<hex>`; `issued` in unix seconds.
    #[must_use]
    pub fn sign_cookie(&self, id: GuestId, issued: u64) -> String {
        let text = format!("1.{}.{issued}", id.number());
        let signature = self
            .cookie
            .first()
            .map(|key| mac(key, text.as_bytes()))
            .unwrap_or_default();
        format!("{text}.{}", HEXLOWER.encode(&signature))
    }

    /// What a cookie value says, if it is ours, whole, and not older than `max_age` seconds.
    #[must_use]
    pub fn verify_cookie(&self, value: &str, now: u64, max_age: u64) -> Option<GuestCookie> {
        if value.len() > MAX_COOKIE {
            return None;
        }
        let (text, signature) = value.rsplit_once('.')?;
        let (number, issued) = text.strip_prefix("1.")?.split_once('.')?;
        let id = GuestId::new(canonical(number)?.try_into().ok()?)?;
        let issued = canonical(issued)?;
        let mut expected = [0; 32];
        if signature.len() != 64
            || HEXLOWER
                .decode_mut(signature.as_bytes(), &mut expected)
                .is_err()
        {
            return None;
        }
        let signed_by = self
            .cookie
            .iter()
            .position(|key| mac(key, text.as_bytes()).ct_eq(&expected).into())?;
        if issued > now + MAX_AHEAD || issued.saturating_add(max_age) <= now {
            return None;
        }
        let renew = signed_by > 0 || now.saturating_sub(issued) > max_age / 2;
        Some(GuestCookie { id, renew })
    }

    /// The token for PHP, `t=<now>,v1=<hex>`: an HMAC of `<now>.<negative id>`.
    #[must_use]
    pub fn token(&self, id: GuestId, now: u64) -> String {
        let signature = self
            .token
            .first()
            .map(|key| mac(key, format!("{now}.{id}").as_bytes()))
            .unwrap_or_default();
        format!("t={now},v1={}", HEXLOWER.encode(&signature))
    }

    /// The keys with which PHP verifies tokens, hex.
    #[must_use]
    pub fn token_keys(&self) -> &[String] {
        &self.token_hex
    }
}

impl fmt::Debug for GuestKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuestKeys(..)")
    }
}

/// A number written the one way we write it: no sign, no blank, no leading zero.
fn canonical(digits: &str) -> Option<u64> {
    (digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0'))
        .then(|| digits.parse().ok())?
}

fn mac(key: &Hmac<Sha256>, text: &[u8]) -> [u8; 32] {
    let mut mac = key.clone();
    mac.update(text);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const YEAR: u64 = 365 * 86_400;

    fn keys(secrets: &[&str]) -> GuestKeys {
        let secrets: Vec<_> = secrets
            .iter()
            .map(|secret| secret.repeat(MIN_SECRET))
            .collect();
        GuestKeys::derive(&secrets, "").unwrap()
    }

    #[test]
    fn a_cookie_comes_back() {
        let id = GuestId::new(17).unwrap();
        let value = keys(&["a"]).sign_cookie(id, NOW);
        let read = |keys: GuestKeys, now| keys.verify_cookie(&value, now, YEAR);
        assert_eq!(
            read(keys(&["a"]), NOW),
            Some(GuestCookie { id, renew: false })
        );
        assert_eq!(
            read(keys(&["b", "a"]), NOW),
            Some(GuestCookie { id, renew: true })
        );
        assert_eq!(
            read(keys(&["a"]), NOW + YEAR / 2 + 1),
            Some(GuestCookie { id, renew: true })
        );
        assert_eq!(read(keys(&["a"]), NOW + YEAR), None);
        assert_eq!(read(keys(&["a"]), NOW - 301), None);
        assert_eq!(read(keys(&["b"]), NOW), None);
        let other_site = GuestKeys::derive(&["a".repeat(MIN_SECRET)], "other").unwrap();
        assert_eq!(read(other_site, NOW), None);
    }

    #[test]
    fn no_character_of_a_cookie_can_be_changed() {
        let keys = keys(&["a"]);
        let value = keys.sign_cookie(GuestId::new(1234).unwrap(), NOW);
        for at in 0..value.len() {
            for replacement in ["0", "1", "a", "A", ".", "+", " ", ""] {
                let mut changed = value.clone();
                changed.replace_range(at..=at, replacement);
                assert!(
                    changed == value || keys.verify_cookie(&changed, NOW, YEAR).is_none(),
                    "{changed}"
                );
            }
        }
        assert_eq!(
            keys.verify_cookie(&format!("{value}{}", "0".repeat(5000)), NOW, YEAR),
            None
        );
    }

    #[test]
    fn secrets_must_be_secrets() {
        assert_eq!(
            GuestKeys::derive::<&str>(&[], "").unwrap_err(),
            BadSecrets::None
        );
        assert_eq!(
            GuestKeys::derive(&["short"], "").unwrap_err(),
            BadSecrets::Short {
                number: 1,
                length: 5
            }
        );
    }

    #[test]
    fn numbers() {
        assert_eq!(GuestId::new(0), None);
        assert_eq!(
            GuestId::new(GuestId::MAX).unwrap().to_string(),
            "-2147483647"
        );
        assert_eq!(GuestId::new(GuestId::MAX + 1), None);
    }
}
