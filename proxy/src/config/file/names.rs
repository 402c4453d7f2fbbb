//! Headers, cookies, paths, networks and log filters: what a name may be.

use std::net::IpAddr;

use http::HeaderName;
use ipnet::IpNet;
use tracing_subscriber::EnvFilter;

use super::address::is_host;
use super::report::{Mismatch, expected};
use super::value::Value;
use crate::history::redis::names::Names;

/// Headers with a meaning: a guest's number there would break the request, or the site's trust.
const TAKEN: [&str; 24] = [
    "accept",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "origin",
    "proxy",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "referer",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

const TAKEN_PREFIXES: [&str; 6] = [
    "accept-",
    "content-",
    "if-",
    "sec-",
    "x-forwarded-",
    "x-real-",
];

/// A request header of pullgate's own.
pub(super) fn header(value: &Value<'_>) -> Result<HeaderName, Mismatch> {
    let text = value.text("a header's name")?;
    if text.contains('_') {
        return Err(expected(
            "a name without \"_\": nginx and Apache drop such headers; PHP sees \"-\" as \"_\" anyway",
        ));
    }
    let name: HeaderName = text
        .parse()
        .map_err(|_| expected("a header's name: letters, digits and \"-\""))?;
    let taken = TAKEN.contains(&name.as_str())
        || TAKEN_PREFIXES
            .iter()
            .any(|prefix| name.as_str().starts_with(prefix));
    if taken {
        return Err(expected(
            "a header of its own: this one has a meaning already",
        ));
    }
    Ok(name)
}

/// A cookie of pullgate's own (RFC 6265: a token).
pub(super) fn cookie(value: &Value<'_>) -> Result<String, Mismatch> {
    let form = "a cookie's name: letters, digits, \"-\" and \"_\"";
    let name = value.text(form)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !name.chars().all(allowed) {
        return Err(expected(form));
    }
    if name.eq_ignore_ascii_case("PHPSESSID") || name.starts_with("BITRIX_SM_") {
        return Err(expected("a cookie of its own: this one is the site's"));
    }
    if name.starts_with("__Host-") || name.starts_with("__Secure-") {
        value.warn("browsers keep a cookie of such a name only when it came by https");
    }
    Ok(name.to_owned())
}

pub(super) const SITE_COOKIE: &str = "the name of a cookie of the site's, such as \"MY_GUEST\"";

/// A signed cookie of the site's.
pub(super) fn site_cookie(value: &Value<'_>) -> Result<String, Mismatch> {
    let name = value.text(SITE_COOKIE)?;
    let allowed = |c: char| c.is_ascii_graphic() && !matches!(c, '=' | ';' | ',' | '"');
    if !name.chars().all(allowed) {
        return Err(expected(SITE_COOKIE));
    }
    if name == "BITRIX_SM_GUEST_ID" {
        return Err(expected(
            "a signed cookie: into this one anyone can write another guest's number",
        ));
    }
    Ok(name.to_owned())
}

/// `Domain` of a cookie.
pub(super) fn domain(value: &Value<'_>) -> Result<Option<String>, Mismatch> {
    let form = "a domain, such as \"example.com\"";
    let text = value.text(form)?;
    let domain = text.strip_prefix('.').unwrap_or(text);
    if !is_host(domain) || domain.parse::<IpAddr>().is_ok() {
        return Err(expected(form));
    }
    if domain != text {
        value.warn("browsers ignore the dot at the start; subdomains are included without it");
    }
    Ok(Some(domain.to_owned()))
}

pub(super) const PATH_PREFIX: &str = "a path that begins with \"/\", such as \"/upload/\"";

/// A prefix of the site's paths.
pub(super) fn path_prefix(value: &Value<'_>) -> Result<String, Mismatch> {
    let path = value.text(PATH_PREFIX)?;
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#');
    if !path.starts_with('/') || !path.chars().all(plain) {
        return Err(expected(PATH_PREFIX));
    }
    Ok(path.to_owned())
}

/// A folder of push endpoints, in lower case.
pub(super) fn push_prefix(value: &Value<'_>) -> Result<String, Mismatch> {
    let form = "a path that begins and ends with \"/\", such as \"/bitrix/sub/\"";
    let path = path_prefix(value).map_err(|_| expected(form))?;
    if !path.ends_with('/') {
        return Err(expected(form));
    }
    if path == "/" {
        return Err(expected("a path below \"/\": the rest is the site's"));
    }
    Ok(path.to_ascii_lowercase())
}

/// `10.0.0.0/8`, or one address.
pub(super) fn network(value: &Value<'_>) -> Result<IpNet, Mismatch> {
    let form = "an address or a network, such as \"10.0.0.5\" or \"10.0.0.0/8\"";
    let text = value.text(form)?;
    let address = text.parse::<IpAddr>().map(IpNet::from);
    let written = address
        .or_else(|_| text.parse())
        .map_err(|_| expected(form))?;
    let network = written.trunc();
    if network != written {
        value.warn(format!(
            "\"{network}\" is meant: the address has bits behind the mask"
        ));
    }
    if network.prefix_len() == 0 {
        value.warn("this means everyone: no address is left out");
    }
    Ok(network)
}

/// What names in Redis begin with.
pub(super) fn redis_prefix(value: &Value<'_>) -> Result<String, Mismatch> {
    let form = "letters, digits, \"-\", \"_\", \".\" and \":\", such as \"shop:\"";
    let prefix = value.text(form)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    if !prefix.chars().all(allowed) {
        return Err(expected(form));
    }
    let (names, push_servers) = (Names::new(prefix, 0, false), Names::default());
    let taken = names.share_keys(&push_servers) || names.share_channels(&push_servers);
    match taken && !prefix.is_empty() {
        true => Err(expected(
            "what no name without a prefix begins with, such as \"shop:\"",
        )),
        false => Ok(prefix.to_owned()),
    }
}

/// A tracing filter.
pub(super) fn log_filter(value: &Value<'_>) -> Result<String, Mismatch> {
    let form = "a level (off, error, warn, info, debug, trace), or a filter such as \"info,pullgate=debug\"";
    let text = value.text(form)?;
    // A misspelt level would be taken for the name of a module, and silence everything else.
    let directive = |part: &str| part.contains(['=', '[']) || is_level(part.trim());
    let fits = text.split(',').all(directive) && EnvFilter::try_new(text).is_ok();
    fits.then(|| text.to_owned()).ok_or_else(|| expected(form))
}

fn is_level(text: &str) -> bool {
    text.parse::<tracing_subscriber::filter::LevelFilter>()
        .is_ok()
}
