//! Signatures of channels: lower-case hex of an HMAC with the site's signature key.
//!
//! The key counts as text: a key that looks like hex is not decoded. What is signed is the text of
//! the ids, `private` or `private:public`, and for a public id alone `public:` and its hex digits.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use subtle::ConstantTimeEq;

use crate::channel::PublicId;

/// The hash under the HMAC, named as in PHP's `hash_hmac`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Algorithm {
    Md5,
    /// The module's default.
    #[default]
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

/// A name that is no [`Algorithm`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown signature algorithm {0:?}, known are {known}", known = Algorithm::NAMES.join(", "))]
pub struct UnknownAlgorithm(String);

impl Algorithm {
    /// All names that [`Algorithm::from_str`] takes.
    pub const NAMES: [&'static str; 5] = ["md5", "sha1", "sha256", "sha384", "sha512"];
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        match name {
            "md5" => Ok(Self::Md5),
            "sha1" => Ok(Self::Sha1),
            "sha256" => Ok(Self::Sha256),
            "sha384" => Ok(Self::Sha384),
            "sha512" => Ok(Self::Sha512),
            other => Err(UnknownAlgorithm(other.to_owned())),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        })
    }
}

/// The site's signature key, ready to use: a signature starts from a copy of the keyed state
/// instead of hashing the key again.
#[derive(Clone)]
pub struct SignatureKey(Keyed);

#[derive(Clone)]
enum Keyed {
    Md5(Hmac<md5::Md5>),
    Sha1(Hmac<sha1::Sha1>),
    Sha256(Hmac<sha2::Sha256>),
    Sha384(Box<Hmac<sha2::Sha384>>),
    Sha512(Box<Hmac<sha2::Sha512>>),
}

impl SignatureKey {
    /// A key of any length; empty ones are the configuration's business to refuse.
    #[must_use]
    pub fn new(algorithm: Algorithm, key: &str) -> Self {
        let key = key.as_bytes();
        Self(match algorithm {
            Algorithm::Md5 => Keyed::Md5(keyed(key)),
            Algorithm::Sha1 => Keyed::Sha1(keyed(key)),
            Algorithm::Sha256 => Keyed::Sha256(keyed(key)),
            Algorithm::Sha384 => Keyed::Sha384(Box::new(keyed(key))),
            Algorithm::Sha512 => Keyed::Sha512(Box::new(keyed(key))),
        })
    }

    /// The signature of `text`, lower-case hex.
    #[must_use]
    pub fn sign(&self, text: &str) -> String {
        HEXLOWER.encode(&self.digest(text.as_bytes()))
    }

    /// The signature of a public id, raw as protobuf carries it.
    #[must_use]
    pub fn sign_public(&self, id: &PublicId) -> Vec<u8> {
        self.digest(public_text(id.as_bytes()).as_bytes())
    }

    /// Whether `hex` is the whole signature of `text`. Takes the same time for every wrong one.
    #[must_use]
    pub fn verify(&self, text: &str, hex: &str) -> bool {
        self.sign(text).as_bytes().ct_eq(hex.as_bytes()).into()
    }

    /// Whether `signature` is the raw signature of a public id. The id may have any length: the
    /// signature decides.
    #[must_use]
    pub fn verify_public(&self, id: &[u8], signature: &[u8]) -> bool {
        self.digest(public_text(id).as_bytes())
            .ct_eq(signature)
            .into()
    }

    fn digest(&self, text: &[u8]) -> Vec<u8> {
        match &self.0 {
            Keyed::Md5(mac) => finish(mac, text),
            Keyed::Sha1(mac) => finish(mac, text),
            Keyed::Sha256(mac) => finish(mac, text),
            Keyed::Sha384(mac) => finish(mac.as_ref(), text),
            Keyed::Sha512(mac) => finish(mac.as_ref(), text),
        }
    }
}

impl fmt::Debug for SignatureKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignatureKey(..)")
    }
}

fn public_text(id: &[u8]) -> String {
    format!("public:{}", HEXLOWER.encode(id))
}

#[allow(clippy::expect_used, reason = "an HMAC takes keys of every length")]
pub(crate) fn keyed<M: KeyInit>(key: &[u8]) -> M {
    M::new_from_slice(key).expect("an HMAC takes keys of every length")
}

fn finish<M: Mac + Clone>(mac: &M, text: &[u8]) -> Vec<u8> {
    let mut mac = mac.clone();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_signatures() {
        let text = "The quick brown fox jumps over the lazy dog";
        let signed = |algorithm| SignatureKey::new(algorithm, "key").sign(text);
        assert_eq!(signed(Algorithm::Md5), "80070713463e7749b90c2dc24911e275");
        assert_eq!(
            signed(Algorithm::Sha1),
            "de7c9b85b8b78aa6bc8a7a36f70a90701c9db4d9"
        );
        assert_eq!(
            signed(Algorithm::Sha256),
            "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"
        );
    }

    #[test]
    fn names_are_read_and_shown_alike() {
        for name in Algorithm::NAMES {
            assert_eq!(name.parse::<Algorithm>().unwrap().to_string(), name);
        }
        assert!(
            "SHA1"
                .parse::<Algorithm>()
                .unwrap_err()
                .to_string()
                .contains("sha384")
        );
    }

    #[test]
    fn a_part_of_a_signature_is_none() {
        let key = SignatureKey::new(Algorithm::Sha1, "key");
        let signature = key.sign("text");
        assert!(key.verify("text", &signature));
        assert!(!key.verify("text", &signature[..32]));
        assert!(!key.verify("text", ""));
        assert!(!key.verify("other", &signature));
    }
}
