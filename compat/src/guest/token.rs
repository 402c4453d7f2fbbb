//! The token that goes to the site beside the guest's number: `t=<unix>,v1=<signature>`.
//!
//! The signature is HMAC-SHA256 over time, a dot and the number as the header shows it (`1795486311.-17`),
//! in lower-case hex. PHP verifies it, see `php/pull_hit.php`; [`GuestKeys::verify_token`] does the same.

use data_encoding::HEXLOWER;

use super::{GuestId, GuestKeys, canonical_number};

/// How old a token may be, and how far from the future, in seconds. The PHP side has the same limit.
const LIFE: u64 = 300;

impl GuestKeys {
    /// The token for `id` at `now`, unix seconds.
    pub fn token(&self, id: GuestId, now: u64) -> String {
        let time = now.to_string();
        let signature = self.token.first.sign(&[&time, ".", &id.to_string()]);
        format!("t={time},v1={signature}")
    }

    /// Whether `token` proves `id` at `now`, unix seconds.
    pub fn verify_token(&self, id: GuestId, token: &str, now: u64) -> bool {
        let Some((time, signature)) = token
            .strip_prefix("t=")
            .and_then(|token| token.split_once(",v1="))
        else {
            return false;
        };
        let text = [time, ".", &id.to_string()];
        self.token.verify(&text, signature).is_some()
            && canonical_number(time).is_some_and(|time| time.abs_diff(now) <= LIFE)
    }

    /// The keys that the PHP side must know, in hex, the one that signs first.
    pub fn token_keys_hex(&self) -> Vec<String> {
        self.token
            .all()
            .map(|key| HEXLOWER.encode(&key.bytes))
            .collect()
    }
}
