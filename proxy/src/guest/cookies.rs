//! Cookies, read and written: ours, and those of the site that prove guests.

use std::time::Duration;

use cookie::Cookie;
use http::header::{self, HeaderMap, HeaderValue};

use crate::config::{self, SameSite};

/// The values of every cookie of this name, in order.
///
/// Each pair is judged by itself: one that is not UTF-8, which sites of old charsets send, is none, and takes no
/// other along.
pub(super) fn named(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        // Of the dozens that a site may have, few are looked at more closely.
        .filter(|pair| pair.trim_ascii_start().starts_with(name.as_bytes()))
        .filter_map(|pair| Cookie::parse(std::str::from_utf8(pair).ok()?).ok())
        .filter(|cookie| cookie.name() == name)
        .map(|cookie| cookie.value().to_owned())
        .collect()
}

/// `Set-Cookie` of our cookie with this value; a life of 0 takes it back.
pub(super) fn set(
    config: &config::Guest,
    value: String,
    max_age: Duration,
    https: bool,
) -> Option<HeaderValue> {
    let same_site = match config.cookie_same_site {
        SameSite::Lax => cookie::SameSite::Lax,
        SameSite::Strict => cookie::SameSite::Strict,
        SameSite::None => cookie::SameSite::None,
    };
    // Browsers refuse SameSite=None without Secure.
    let secure = https || config.cookie_same_site == SameSite::None;
    let mut cookie = Cookie::build((config.cookie.as_str(), value))
        .path("/")
        .max_age(max_age.try_into().ok()?)
        .http_only(true)
        .same_site(same_site)
        .secure(secure)
        .build();
    if let Some(domain) = &config.cookie_domain {
        cookie.set_domain(domain.as_str());
    }
    cookie.to_string().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(lines: &[&[u8]]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        named(&headers, "PULL_GUEST")
    }

    #[test]
    fn every_cookie_of_the_name_is_seen() {
        let lines: [&[u8]; 2] = [b"a=1; PULL_GUEST=x; PULL_GUEST2=no", b"PULL_GUEST=y"];
        assert_eq!(values(&lines), ["x", "y"]);
        assert_eq!(values(&[b"nothing;;=x; PULL_GUEST=x;"]), ["x"]);
        assert_eq!(values(&[b"pull_guest=x; PULL_GUEST"]), [""; 0]);
    }

    #[test]
    fn a_pair_that_is_not_utf8_takes_no_other_along() {
        assert_eq!(values(&[b"city=\xcc\xee\xf1; PULL_GUEST=x; b=\xff"]), ["x"]);
        assert_eq!(values(&[b"city=\xd0; PULL_GUEST=x"]), ["x"]);
        assert_eq!(values(&[b"PULL_GUEST=\xff; PULL_GUEST=x"]), ["x"]);
        assert_eq!(values(&[b"\xff; \xff=\xff; PULL_GUEST=x"]), ["x"]);
    }
}
