//! A site's cookie proves a guest if it is what the site would have written for that guest, and else
//! nobody.

use std::sync::LazyLock;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use pullgate_compat::guest::GuestId;
use pullgate_compat::guest::adopt::{CookieFormat, ProofEncoding, SiteCookie};
use pullgate_compat::signature::{Algorithm, SignatureKey};
use sha1::Sha1;
use sha2::Sha256;

use super::hmac::hmac;

const SITE_KEY: &str = "the site's own key";

/// As PHP's manual has it.
static TYPICAL: LazyLock<SiteCookie> =
    LazyLock::new(|| site_cookie("{id}.{hmac}", None, Algorithm::Sha256, ProofEncoding::Hex));

/// With a part that is not looked at, and signed in another order.
static TIMED: LazyLock<SiteCookie> = LazyLock::new(|| {
    let signed = Some("{time}|{id}");
    site_cookie(
        "{id}:{time}:{hmac}",
        signed,
        Algorithm::Sha1,
        ProofEncoding::Base64Url,
    )
});

fn site_cookie(
    pattern: &str,
    signed: Option<&str>,
    algorithm: Algorithm,
    encoding: ProofEncoding,
) -> SiteCookie {
    let format = CookieFormat::parse(pattern, signed).expect("these formats are right");
    SiteCookie::new(format, encoding, SignatureKey::new(algorithm, SITE_KEY))
}

/// `data` is a cookie in two forms, as it is and rightly signed; and it is the form of one.
pub fn adopt(data: &[u8]) {
    let value = String::from_utf8_lossy(data);
    proves_as_written(&value);
    let mut parts = value.split([':', '.']);
    let id = parts.next().unwrap_or_default();
    let time = parts.next().unwrap_or_default();
    for value in adoptable(id, time) {
        proves_as_written(&value);
    }
    reads_in_one_way(&value);
}

/// What the site writes, in each of its forms.
pub fn adoptable(id: &str, time: &str) -> [String; 2] {
    [
        format!("{id}.{}", HEXLOWER.encode(&typical_proof(id))),
        format!(
            "{id}:{time}:{}",
            BASE64URL_NOPAD.encode(&timed_proof(id, time))
        ),
    ]
}

fn proves_as_written(value: &str) {
    let short = value.len() <= 512;
    let decoded = decoded(value);
    let text = decoded.as_deref().filter(|_| short);
    assert_eq!(TYPICAL.verify(value), text.and_then(typical));
    assert_eq!(TIMED.verify(value), text.and_then(timed));
}

fn typical(text: &str) -> Option<GuestId> {
    let (id, proof) = text.split_once('.')?;
    let right = proof.eq_ignore_ascii_case(&HEXLOWER.encode(&typical_proof(id)));
    guest(id).filter(|_| right)
}

fn timed(text: &str) -> Option<GuestId> {
    let parts: Vec<_> = text.split(':').collect();
    let [id, time, proof] = parts[..] else {
        return None;
    };
    let expected = BASE64URL_NOPAD.encode(&timed_proof(id, time));
    let right = proof == expected || proof == format!("{expected}=");
    guest(id).filter(|_| right)
}

/// Whom an id means, if it is written as the site would write it.
fn guest(id: &str) -> Option<GuestId> {
    let number = id.parse::<i64>().ok()?.unsigned_abs();
    let written = [number.to_string(), format!("-{number}")];
    let id = written.contains(&id.to_owned()).then_some(number)?;
    GuestId::new(id.try_into().ok()?)
}

/// `value` as a pattern: if it is taken, a value of that form is read as what it was written for.
fn reads_in_one_way(pattern: &str) {
    let Ok(format) = CookieFormat::parse(pattern, Some("{id}")) else {
        return;
    };
    let key = SignatureKey::new(Algorithm::Sha256, SITE_KEY);
    let cookie = SiteCookie::new(format, ProofEncoding::Hex, key);
    let mut value = pattern.replace("{id}", "17");
    value = value.replace("{hmac}", &HEXLOWER.encode(&typical_proof("17")));
    // What is decoded, or left of the other parts, is the site's to write in a way that can be read.
    if value.len() <= 512 && !value.contains(['%', '{']) {
        assert_eq!(cookie.verify(&value), GuestId::new(17));
    }
}

fn typical_proof(id: &str) -> Vec<u8> {
    hmac::<Sha256>(SITE_KEY.as_bytes(), id.as_bytes())
}

fn timed_proof(id: &str, time: &str) -> Vec<u8> {
    hmac::<Sha1>(SITE_KEY.as_bytes(), format!("{time}|{id}").as_bytes())
}

/// `%` and two digits are a byte; everything else stands for itself.
fn decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let [first, behind @ ..] = rest {
        let escape = behind.get(..2).filter(|_| *first == b'%');
        let digits = escape.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let byte = digits
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = behind.get(byte.map_or(0, |_| 2)..).unwrap_or_default();
    }
    String::from_utf8(bytes).ok()
}
