//! What hyper lets through in a request head and a back end could read differently.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Uri, Version};

use crate::error::Error;

/// Refuses a head that is not clear, or whose path and query are longer than so many bytes.
pub(super) fn check<B>(request: &Request<B>, max_target: usize) -> Result<(), Error> {
    let target = request.uri();
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Error::Method(request.method().clone()));
    }
    if target.authority().is_some() && target.scheme().is_none() {
        return Err(Error::Target);
    }
    if target.path() == "*" && request.method() != Method::OPTIONS {
        return Err(Error::Target);
    }
    if !is_coding_known(request.headers()) {
        return Err(Error::Coding);
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next().map(HeaderValue::as_bytes);
    if hosts.next().is_some() || !host.is_none_or(is_host) {
        return Err(Error::Host);
    }
    match (host, target.authority()) {
        (Some(host), Some(named)) if !names(target, host, named.as_str().as_bytes()) => {
            return Err(Error::HostMismatch);
        }
        (None, Some(named)) if !is_host(named.as_str().as_bytes()) => return Err(Error::Host),
        (None, None) if request.version() != Version::HTTP_10 => return Err(Error::Host),
        (Some(_), Some(_)) | (Some(_), None) | (None, Some(_)) | (None, None) => {}
    }
    if target
        .path_and_query()
        .is_some_and(|target| target.as_str().len() > max_target)
    {
        return Err(Error::TargetTooLong);
    }
    Ok(())
}

/// Whether the body is only chunked, if it is coded at all. hyper takes whatever ends in `chunked`, and the site would
/// get what is left as if it were plain (RFC 9112 6.1: 501).
fn is_coding_known(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let known = codings.next().is_none_or(|coding| {
        coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
    });
    known && codings.next().is_none()
}

/// The host that a request is for: the target's, where it names one (RFC 9112 3.2.2). Empty if there is none, or none
/// that is text: such a request is refused.
pub(super) fn host<B>(request: &Request<B>) -> &str {
    let named = request.uri().authority().map(|named| named.as_str());
    let header = || request.headers().get(header::HOST)?.to_str().ok();
    named.or_else(header).unwrap_or_default()
}

/// Whether nginx takes this for a host: sites build paths and links of it. User information, which no `Host` has,
/// is refused as well.
fn is_host(host: &[u8]) -> bool {
    let name = without_port(host);
    let name = name.strip_suffix(b".").unwrap_or(name);
    !name.is_empty()
        && !host.windows(2).any(|pair| pair == b"..")
        && !host
            .iter()
            .any(|byte| matches!(byte, 0..=b' ' | 0x7f | b'/' | b'\\' | b'@'))
}

/// Whether the target's host is the one of the `Host` header, in any case and with or without the usual port.
fn names(target: &Uri, host: &[u8], named: &[u8]) -> bool {
    let usual: &[u8] = match target.scheme_str() {
        Some("https") => b":443",
        Some(_) | None => b":80",
    };
    let bare = |host: &'_ [u8]| {
        host.strip_suffix(usual)
            .unwrap_or(host)
            .to_ascii_lowercase()
    };
    bare(host) == bare(named)
}

pub(super) fn without_port(host: &[u8]) -> &[u8] {
    let colon = host.iter().rposition(|byte| *byte == b':');
    match colon.and_then(|colon| host.split_at_checked(colon)) {
        Some((name, port)) if !port.contains(&b']') => name,
        Some(_) | None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_none() {
        for host in [
            "a",
            "a.b:80",
            "a.",
            "[::1]",
            "[::1]:80",
            "a_b",
            "\u{e9}.ru",
            "xn--a",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "", ":80", ".", "a b", "a\tb", "a/b", "a\\b", "a..b", "..", "u@a", "a\0",
        ] {
            assert!(!is_host(host.as_bytes()), "{host:?}");
        }
    }

    #[test]
    fn a_target_names_its_host() {
        for (target, host, agrees) in [
            ("http://h/", "h", true),
            ("http://h:80/", "h", true),
            ("http://h/", "H:80", true),
            ("https://h:443/", "h", true),
            ("https://h:80/", "h", false),
            ("http://h:81/", "h", false),
            ("http://h.evil/", "h", false),
            ("http://u@h/", "h", false),
        ] {
            let target: Uri = target.parse().unwrap();
            let named = target.authority().unwrap().as_str().as_bytes();
            assert_eq!(names(&target, host.as_bytes(), named), agrees, "{target}");
        }
    }
}
