//! `[[guest.adopt]]`: cookies by which the site knew its guests before pullgate came.

use pullgate_compat::guest::GuestId;
use pullgate_compat::guest::adopt::{BadFormat, CookieFormat, ProofEncoding, SiteCookie};
use pullgate_compat::signature::{Algorithm, SignatureKey};

use super::push::algorithm;
use super::report::expected;
use super::section::Section;
use super::{names, secret};
use crate::config::Adopt;

const FIRST_ID: &str = "a number above every id that the site has given, such as 1000000: ids below it are the site's, \
                        from it on pullgate's";
const PATTERN: &str = "what the cookie looks like, such as \"{id}.{hmac}\"";
const SIGNED: &str = "what of it is signed, such as \"{id}\"";

const ENCODINGS: [(&str, ProofEncoding); 3] = [
    ("hex", ProofEncoding::Hex),
    ("base64", ProofEncoding::Base64),
    ("base64url", ProofEncoding::Base64Url),
];

/// `own` is the name of pullgate's cookie.
pub(super) fn adopt(guest: &mut Section<'_>, own: &str) -> Vec<Adopt> {
    let cookies = guest.sections("adopt", |s| site_cookie(s, own));
    cookies.into_iter().flatten().flatten().collect()
}

/// Ids that the site gave and ids that pullgate gives must not meet, and only the site knows how far it got.
pub(super) fn first_id(guest: &mut Section<'_>) -> u32 {
    let mut least = 1;
    if guest.has("adopt") {
        guest.must_have("first_id", FIRST_ID);
        least = 2;
    }
    guest.number("first_id", 1, least..=GuestId::MAX.into())
}

/// `None` after an error.
fn site_cookie(s: &mut Section<'_>, own: &str) -> Option<Adopt> {
    let cookie = s.required("cookie", names::SITE_COOKIE, |value| {
        let name = names::site_cookie(value)?;
        let differs = name != own;
        differs
            .then_some(name)
            .ok_or_else(|| expected("another name than guest.cookie"))
    });
    let pattern = s.required("pattern", PATTERN, |value| value.text(PATTERN));
    let signed = s.read("signed", None, |value| value.text(SIGNED).map(Some));
    let algorithm = s.read("algorithm", Algorithm::Sha256, algorithm);
    let encoding = s.one_of("encoding", ProofEncoding::Hex, &ENCODINGS);
    let key = secret::site_key(s, "key");
    let format = CookieFormat::parse(pattern?, signed)
        .map_err(|error| match error {
            BadFormat::Pattern(flaw) => s.error("pattern", expected(flaw.to_string())),
            BadFormat::Signed(flaw) => s.error("signed", expected(flaw.to_string())),
        })
        .ok()?;
    let key = key?;
    let signature = SignatureKey::new(algorithm, &key.0);
    Some(Adopt {
        cookie: cookie?,
        form: SiteCookie::new(format, encoding, signature),
        key,
    })
}
