//! The site's Push & Pull key, and what it signs.
//!
//! A signature is an HMAC over a text: `private`, `private:public`, or `public:` and a public id. It
//! is lower-case hex in query strings and raw bytes in protobuf. Every subscription verifies one per
//! channel, so the key is scheduled once, and each use starts from a copy of that state.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;

use crate::channel::PublicId;

/// The key that the site shares with its push server, ready to sign.
#[derive(Clone)]
pub struct SignatureKey {
    algorithm: Algorithm,
    keyed: Arc<dyn Keyed>,
}

impl SignatureKey {
    /// `key` is used as text, as the site does: a key of hex digits is not decoded.
    pub fn new(algorithm: Algorithm, key: &str) -> Self {
        let keyed = match algorithm {
            Algorithm::Md5 => schedule::<Hmac<Md5>>(key),
            Algorithm::Sha1 => schedule::<Hmac<Sha1>>(key),
            Algorithm::Sha256 => schedule::<Hmac<Sha256>>(key),
            Algorithm::Sha384 => schedule::<Hmac<Sha384>>(key),
            Algorithm::Sha512 => schedule::<Hmac<Sha512>>(key),
        };
        Self { algorithm, keyed }
    }

    /// The signature of `text`, whole and in lower-case hex: what stands behind the dot of a
    /// `CHANNEL_ID`.
    pub fn sign(&self, text: &str) -> String {
        HEXLOWER.encode(self.keyed.digest(&[text.as_bytes()]).as_bytes())
    }

    /// The signature by which other clients prove that they may write to `id`, in raw bytes: HMAC
    /// over `public:` and the id in hex.
    pub fn sign_public(&self, id: &PublicId) -> Vec<u8> {
        self.digest_public(id.as_bytes()).as_bytes().to_vec()
    }

    /// Whether `hex` is the signature of `text`: the whole digest, in lower case. Constant in time.
    pub fn verify(&self, text: &str, hex: &str) -> bool {
        let expected = self.keyed.digest(&[text.as_bytes()]);
        let mut given = Digest::of_length(expected.length);
        hex.len() == 2 * expected.length
            && HEXLOWER
                .decode_mut(hex.as_bytes(), given.as_mut_bytes())
                .is_ok()
            && expected.equals(given.as_bytes())
    }

    /// Whether `raw` is the signature of `text`: the whole digest. Constant in time.
    pub fn verify_raw(&self, text: &str, raw: &[u8]) -> bool {
        self.keyed.digest(&[text.as_bytes()]).equals(raw)
    }

    /// The hash under the signatures.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `raw` signs the public id `id`. Constant in time.
    ///
    /// The reference server lets the signature decide here, and does not ask whether the id has 16
    /// bytes; so it is taken as bytes of any length.
    pub fn verify_public(&self, id: &[u8], raw: &[u8]) -> bool {
        self.digest_public(id).equals(raw)
    }

    fn digest_public(&self, id: &[u8]) -> Digest {
        self.keyed
            .digest(&[b"public:", HEXLOWER.encode(id).as_bytes()])
    }
}

impl fmt::Debug for SignatureKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignatureKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// An HMAC that has taken its key, and of which every use takes a copy.
trait Keyed: Send + Sync {
    /// The HMAC of these parts, one behind the other.
    fn digest(&self, parts: &[&[u8]]) -> Digest;
}

impl<M: Mac + Clone + Send + Sync> Keyed for M {
    fn digest(&self, parts: &[&[u8]]) -> Digest {
        let mut mac = self.clone();
        for part in parts {
            mac.update(part);
        }
        let output = mac.finalize().into_bytes();
        let mut digest = Digest::of_length(output.len());
        digest.as_mut_bytes().copy_from_slice(&output);
        digest
    }
}

fn schedule<M: Mac + KeyInit + Clone + Send + Sync + 'static>(key: &str) -> Arc<dyn Keyed> {
    let mac = <M as KeyInit>::new_from_slice(key.as_bytes());
    Arc::new(mac.expect("HMAC takes keys of every length"))
}

/// A digest of any of the algorithms, on the stack.
struct Digest {
    bytes: [u8; Self::LONGEST],
    length: usize,
}

impl Digest {
    /// SHA-512 has the longest digest.
    const LONGEST: usize = 64;

    fn of_length(length: usize) -> Self {
        Self {
            bytes: [0; Self::LONGEST],
            length: length.min(Self::LONGEST),
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn as_mut_bytes(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.length).unwrap_or_default()
    }

    fn equals(&self, other: &[u8]) -> bool {
        self.as_bytes().ct_eq(other).into()
    }
}

/// The hash under the HMAC; a site sets it as `signature_algo`. The default of sites is SHA-1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// 16 bytes.
    Md5,
    /// 20 bytes.
    #[default]
    Sha1,
    /// 32 bytes.
    Sha256,
    /// 48 bytes.
    Sha384,
    /// 64 bytes.
    Sha512,
}

impl Algorithm {
    /// Every algorithm, shortest digest first.
    const ALL: [Self; 5] = [
        Self::Md5,
        Self::Sha1,
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
    ];

    /// The names that [`FromStr`] knows: those of PHP's `hash_hmac`, shortest digest first.
    pub const NAMES: [&'static str; 5] = ["md5", "sha1", "sha256", "sha384", "sha512"];

    /// Bytes of a digest.
    pub const fn digest_length(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        })
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::NAMES
            .into_iter()
            .zip(Self::ALL)
            .find_map(|(known, algorithm)| (known == name).then_some(algorithm))
            .ok_or_else(|| UnknownAlgorithm(name.to_owned()))
    }
}

/// A name that is none of [`Algorithm::NAMES`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown signature algorithm {0:?}, known are {known}", known = Algorithm::NAMES.join(", "))]
pub struct UnknownAlgorithm(pub String);

#[cfg(test)]
mod tests;
