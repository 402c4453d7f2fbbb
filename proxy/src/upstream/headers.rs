//! What a proxy takes out of a head and puts into it: RFC 9110 7.6, and who the visitor is.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

/// Headers of one connection, never forwarded.
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
const HOP_BY_HOP_UNREGISTERED: [&str; 2] = ["keep-alive", "proxy-connection"];

/// Headers that must not be named in `Connection` to get rid of them.
const NEEDED: [HeaderName; 4] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::COOKIE,
];

/// Who came, as far as we believe it.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    /// The client, behind proxies that are trusted.
    pub(crate) address: IpAddr,
    /// It came by https, as a trusted proxy says.
    pub(crate) https: bool,
    /// The peer is a trusted proxy.
    pub(crate) by_proxy: bool,
}

impl Visitor {
    /// Reads `X-Forwarded-For` from the right, past trusted proxies, if the peer is one.
    pub(crate) fn of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let trusts = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
        let peer = peer.to_canonical();
        if !trusts(&peer) {
            return Self {
                address: peer,
                https: false,
                by_proxy: false,
            };
        }
        let mut address = peer;
        let chain: Vec<&str> = headers
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .collect();
        for hop in chain.iter().rev() {
            let Ok(hop) = hop.trim().parse::<IpAddr>() else {
                break;
            };
            address = hop.to_canonical();
            if !trusts(&address) {
                break;
            }
        }
        let https = headers
            .get("x-forwarded-proto")
            .is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
        Self {
            address,
            https,
            by_proxy: true,
        }
    }
}

/// Removes what belongs to one connection, with everything that any `Connection` line names.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| !NEEDED.contains(name))
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    for name in HOP_BY_HOP_UNREGISTERED {
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
            name.as_str().contains('_')
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
pub(crate) fn add_forwarded(headers: &mut HeaderMap, peer: IpAddr, visitor: &Visitor) {
    let peer = peer.to_canonical();
    let earlier = headers
        .get("x-forwarded-for")
        .filter(|_| visitor.by_proxy)
        .and_then(|value| value.to_str().ok());
    let chain = match earlier {
        Some(earlier) => format!("{earlier}, {peer}"),
        None => peer.to_string(),
    };
    let host = headers.get(header::HOST).cloned();
    let host = if visitor.by_proxy {
        headers.get("x-forwarded-host").cloned().or(host)
    } else {
        host
    };
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
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"[{address}]\""),
    };
    for (name, value) in [
        ("x-real-ip", visitor.address.to_string()),
        ("x-forwarded-for", chain),
        ("x-forwarded-proto", proto.to_owned()),
        ("forwarded", format!("for={node};proto={proto}")),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if let Some(host) = host {
        headers.insert("x-forwarded-host", host);
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

    #[test]
    fn the_visitor_is_the_last_untrusted_hop() {
        let trusted = [
            "127.0.0.0/8".parse().unwrap(),
            "10.0.0.0/8".parse().unwrap(),
        ];
        let local = "127.0.0.1".parse().unwrap();
        let map = headers(&[
            ("x-forwarded-for", "6.6.6.6, 1.2.3.4"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
        ]);
        let visitor = Visitor::of(local, &map, &trusted);
        assert_eq!(
            (visitor.address, visitor.https),
            ("1.2.3.4".parse().unwrap(), true)
        );
        let stranger = Visitor::of("9.9.9.9".parse().unwrap(), &map, &trusted);
        assert_eq!(
            (stranger.address, stranger.https),
            ("9.9.9.9".parse().unwrap(), false)
        );
    }
}
