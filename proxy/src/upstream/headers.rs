//! What a proxy takes out of a head and puts into it: RFC 9110 7.6.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::visitor::{Client, Visitor, forwarded_host};
use super::visitor::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use crate::net::peer::Peer;

/// Whether a header belongs to one connection, and is never forwarded. By its text, which is the quickest way to look at
/// every header there is.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// What `Connection` says beside names of headers, or of such as go anyway.
const OPTIONS: [&str; 3] = ["keep-alive", "close", "upgrade"];

/// Headers that must not be named in `Connection` to get rid of them.
const NEEDED: [HeaderName; 7] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::COOKIE,
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    X_FORWARDED_PROTO,
];

/// Whether a line that lists tokens has this one, in whatever case.
pub(crate) fn has_token(line: &HeaderValue, token: &str) -> bool {
    let line = line.to_str().unwrap_or_default();
    line.split(',')
        .any(|listed| listed.trim().eq_ignore_ascii_case(token))
}

/// Removes what belongs to one connection, with everything that any `Connection` line names.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        // What stands there nearly always costs nothing.
        .filter(|name| {
            !OPTIONS
                .iter()
                .any(|option| option.eq_ignore_ascii_case(name))
        })
        .filter_map(|name| name.parse().ok())
        .filter(|name| !NEEDED.contains(name));
    let usual = headers.keys().filter(|name| is_hop_by_hop(name)).cloned();
    let gone: Vec<HeaderName> = named.chain(usual).collect();
    for name in gone {
        headers.remove(name);
    }
}

/// Removes headers that a back end could take for one of `ours`: PHP and CGI read any other
/// character than letters and digits as `_`. Headers with an underscore go altogether, as with nginx.
pub(crate) fn remove_forged(headers: &mut HeaderMap, ours: &[&HeaderName]) {
    let alike = |name: &str, ours: &str| {
        name.len() == ours.len()
            && name
                .bytes()
                .zip(ours.bytes())
                .all(|(a, b)| a == b || !a.is_ascii_alphanumeric() && !b.is_ascii_alphanumeric())
    };
    let forged: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            name.as_str().bytes().any(|byte| byte == b'_')
                || name.as_str() == "proxy"
                || ours.iter().any(|ours| alike(name.as_str(), ours.as_str()))
        })
        .cloned()
        .collect();
    for name in forged {
        headers.remove(name);
    }
}

/// Tells the site who came: `X-Real-IP`, `X-Forwarded-*` and `Forwarded`, rebuilt from what is known.
pub(crate) fn add_forwarded(headers: &mut HeaderMap, peer: Peer, visitor: &Visitor) {
    let address = visitor.address.ip().to_string();
    let (chain, host) = match visitor.by_proxy {
        true => (visitor.chain(peer, headers), forwarded_host(headers)),
        false => (address.clone(), None),
    };
    let host = host.or_else(|| headers.get(header::HOST).cloned());
    let unproven: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-forwarded-"))
        .cloned()
        .collect();
    for name in unproven {
        headers.remove(name);
    }
    let proto = if visitor.https { "https" } else { "http" };
    let node = match visitor.address {
        Client::Known(IpAddr::V6(_)) => ["\"[", &address, "]\""],
        Client::Known(IpAddr::V4(_)) => ["", &address, ""],
        Client::Unknown => ["", "unknown", ""],
    };
    let forwarded = ["for=", &node.concat(), ";proto=", proto].concat();
    for (name, value) in [
        (HeaderName::from_static("x-real-ip"), address),
        (X_FORWARDED_FOR, chain),
        (X_FORWARDED_PROTO, proto.to_owned()),
        (header::FORWARDED, forwarded),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    if let Some(host) = host {
        headers.insert(X_FORWARDED_HOST, host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        map
    }

    #[test]
    fn every_connection_line_counts() {
        let mut map = headers(&[
            ("connection", "x-a"),
            ("connection", "keep-alive, X-B, host"),
            ("x-a", "1"),
            ("x-b", "1"),
            ("host", "h"),
            ("te", "gzip"),
        ]);
        remove_hop_by_hop(&mut map);
        assert_eq!(map.len(), 1);
        assert!(map.contains_key("host"));
    }

    #[test]
    fn forged_spellings_go() {
        let ours = HeaderName::from_static("pull-user-id");
        for name in [
            "pull-user-id",
            "Pull_User_Id",
            "PULL-USER_ID",
            "pull.user.id",
            "pull~user!id",
            "x_y",
        ] {
            let mut map = headers(&[(name, "-17")]);
            remove_forged(&mut map, &[&ours]);
            assert!(map.is_empty(), "{name}");
        }
        let mut map = headers(&[("pull-user-idx", "1"), ("pulluserid", "1")]);
        remove_forged(&mut map, &[&ours]);
        assert_eq!(map.len(), 2);
    }
}
