//! Substitutes for channel ids and signatures.

use std::fmt::Write as _;

use data_encoding::HEXLOWER;
use pullgate_compat::signature::{Algorithm, SignatureKey};

use super::MaskError;

/// Ids and signatures, old to new. The new ones follow from a secret that nobody keeps, so no table of
/// them is needed.
#[derive(Debug)]
pub(super) struct Ids {
    /// The site's key.
    old: SignatureKey,
    /// Its substitute.
    new: SignatureKey,
    /// Whose signatures are the substitutes of ids.
    secret: SignatureKey,
}

/// 32 random bytes in hex.
pub(super) fn secret() -> Result<String, MaskError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(MaskError)?;
    Ok(HEXLOWER.encode(&bytes))
}

impl Ids {
    pub(super) fn new(algorithm: Algorithm, old: &str, new: &str, secret: &str) -> Self {
        Self {
            old: SignatureKey::new(algorithm, old),
            new: SignatureKey::new(algorithm, new),
            secret: SignatureKey::new(Algorithm::Sha256, secret),
        }
    }

    /// The substitute of an id in lower-case hex.
    pub(super) fn id(&self, hex: &str) -> String {
        self.digits("id", hex)
    }

    /// The substitute of an id in raw bytes.
    pub(super) fn raw_id(&self, id: &[u8]) -> Vec<u8> {
        self.raw(&self.id(&HEXLOWER.encode(id)))
    }

    /// The substitute of the signature in hex of `old_text`, which has become `new_text`.
    pub(super) fn signature(&self, old_text: &str, new_text: &str, signature: &str) -> String {
        if self.old.verify(old_text, signature) {
            self.new.sign(new_text)
        } else {
            self.digits("signature", signature)
        }
    }

    /// The substitute of the raw signature of the public id `id`.
    pub(super) fn raw_signature(&self, id: &[u8], signature: &[u8]) -> Vec<u8> {
        let text = |hex: &str| format!("public:{hex}");
        let hex = HEXLOWER.encode(id);
        let signature = HEXLOWER.encode(signature);
        self.raw(&self.signature(&text(&hex), &text(&self.id(&hex)), &signature))
    }

    /// As many hex digits as `of` has, made of it and the secret.
    fn digits(&self, kind: &str, of: &str) -> String {
        let mut digits = String::with_capacity(of.len() + 64);
        let mut text = String::new();
        for block in 0.. {
            if digits.len() >= of.len() {
                break;
            }
            text.clear();
            // Writing to a string does not fail.
            let _ = write!(text, "{kind} {block} {of}");
            digits.push_str(&self.secret.sign(&text));
        }
        digits.truncate(of.len());
        digits
    }

    fn raw(&self, hex: &str) -> Vec<u8> {
        HEXLOWER.decode(hex.as_bytes()).unwrap_or_default()
    }
}
