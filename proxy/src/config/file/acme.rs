//! `[acme]`, and the hosts of `tls = { acme = [ … ] }`.

use super::report::{Mismatch, expected};
use super::section::Section;
use super::value::Value;
use crate::config::{Acme, Challenge};
use http::Uri;

const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

const DIRECTORY: &str =
    "an address of https, such as \"https://acme-v02.api.letsencrypt.org/directory\"";
const CONTACT: &str = "where to write to, such as \"mailto:admin@shop.example\"";
const HOST: &str = "a host, such as \"shop.example\": no wildcard, no address";

const CHALLENGES: [(&str, Challenge); 2] = [
    ("http-01", Challenge::Http),
    ("tls-alpn-01", Challenge::TlsAlpn),
];

pub(super) fn acme(s: &mut Section<'_>) -> Acme {
    Acme {
        directory: s.read("directory", LETS_ENCRYPT.to_owned(), directory),
        contact: s.read("contact", None, |value| contact(value).map(Some)),
        authorities: s.read("authorities", None, |value| {
            let path = value.text("a PEM file of an authority")?;
            Ok(Some(value.reading().path(path)))
        }),
        challenge: s.one_of("challenge", Challenge::Http, &CHALLENGES),
    }
}

fn directory(value: &Value<'_>) -> Result<String, Mismatch> {
    let text = value.text(DIRECTORY)?;
    let is_https = |uri: Uri| uri.scheme_str() == Some("https") && uri.host().is_some();
    let parsed = text.parse().is_ok_and(is_https);
    parsed
        .then(|| text.to_owned())
        .ok_or_else(|| expected(DIRECTORY))
}

fn contact(value: &Value<'_>) -> Result<String, Mismatch> {
    let text = value.text(CONTACT)?;
    let address = text.strip_prefix("mailto:").unwrap_or_default();
    let fits = address
        .split_once('@')
        .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
    fits.then(|| text.to_owned())
        .ok_or_else(|| expected(CONTACT))
}

/// In lower case. What stands here becomes a file's name, too.
pub(super) fn host(value: &Value<'_>) -> Result<String, Mismatch> {
    let host = value.text(HOST)?.to_ascii_lowercase();
    let label = |label: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !label.is_empty() && label.len() <= 63 && label.chars().all(allowed)
    };
    let fits = host.len() <= 253
        && host.split('.').all(label)
        && !host
            .rsplit('.')
            .next()
            .is_some_and(|last| last.chars().all(|c| c.is_ascii_digit()));
    fits.then_some(host).ok_or_else(|| expected(HOST))
}
