//! Who came, as far as we believe it: the peer, or what trusted proxies in front of us say.
//!
//! Such a proxy appends to what its own client sent, on the same line or on one behind it, so all is read from
//! the right: what the last proxy wrote comes first. Nothing that cannot be read makes anybody more trusted.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::net::peer::Peer;

pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Who came.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    pub(crate) address: Client,
    /// It came by https: to us, or as a trusted proxy says.
    pub(crate) https: bool,
    /// The peer is a trusted proxy.
    pub(crate) by_proxy: bool,
    /// The address is a trusted proxy's own, which is nobody's for the limits.
    pub(crate) is_trusted: bool,
}

/// The client's address, behind proxies that are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    Known(IpAddr),
    /// A trusted proxy wrote what we cannot read.
    Unknown,
}

impl Visitor {
    /// Reads `X-Forwarded-For` past trusted proxies, if the peer is one.
    pub(crate) fn of(peer: Peer, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let trusts = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
        let by_proxy = trusts(&peer.address);
        let mut address = Client::Known(peer.address);
        if by_proxy {
            for hop in hops(headers).rev() {
                address = Client::parse(hop);
                if !matches!(address, Client::Known(address) if trusts(&address)) {
                    break;
                }
            }
        }
        let proto = last_word(headers, &X_FORWARDED_PROTO).filter(|_| by_proxy);
        Self {
            address,
            https: proto.map_or(peer.tls, |proto| proto.eq_ignore_ascii_case(b"https")),
            is_trusted: matches!(address, Client::Known(address) if trusts(&address)),
            by_proxy,
        }
    }

    /// `X-Forwarded-For` for the site: every hop of every line, in order, and the peer.
    pub(crate) fn chain(&self, peer: Peer, headers: &HeaderMap) -> String {
        let mut chain = String::new();
        for hop in hops(headers).filter(|_| self.by_proxy) {
            chain.push_str(&Client::parse(hop).ip().to_string());
            chain.push_str(", ");
        }
        chain + &peer.address.to_string()
    }
}

impl Client {
    /// An address, with or without a port. Whatever else stands there cannot be read, be it `unknown` or nothing.
    fn parse(hop: &[u8]) -> Self {
        let address = |hop: &str| {
            let bare = hop
                .strip_prefix('[')
                .and_then(|hop| hop.strip_suffix(']'))
                .unwrap_or(hop);
            let with_port = || hop.parse().map(|address: SocketAddr| address.ip());
            bare.parse().or_else(|_| with_port()).ok()
        };
        let text = std::str::from_utf8(hop.trim_ascii()).ok();
        text.and_then(address)
            .map_or(Self::Unknown, |address: IpAddr| {
                Self::Known(address.to_canonical())
            })
    }

    pub(crate) fn is_in(self, networks: &[IpNet]) -> bool {
        match self {
            Self::Known(address) => networks.iter().any(|network| network.contains(&address)),
            Self::Unknown => false,
        }
    }

    /// For those who want an address. `0.0.0.0` is nobody's: a word that is none would make the site fall back on
    /// its peer, which is us, and whom it may trust.
    pub(crate) fn ip(self) -> IpAddr {
        match self {
            Self::Known(address) => address,
            Self::Unknown => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(address) => address.fmt(f),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

fn hops(headers: &HeaderMap) -> impl DoubleEndedIterator<Item = &[u8]> {
    let lines = headers.get_all(X_FORWARDED_FOR).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
}

/// What the nearest proxy wrote, if it or somebody in front of it repeated the header or added to it.
fn last_word<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let line = headers.get_all(name).into_iter().next_back()?;
    let word = line.as_bytes().rsplit(|byte| *byte == b',').next()?;
    Some(word.trim_ascii())
}

/// The host that the visitor asked the nearest proxy for, if that proxy says so.
pub(crate) fn forwarded_host(headers: &HeaderMap) -> Option<HeaderValue> {
    let host = last_word(headers, &X_FORWARDED_HOST)?;
    let readable = !host.is_empty() && host.is_ascii();
    HeaderValue::from_bytes(host).ok().filter(|_| readable)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By a peer of 127.0.0.1; networks 127.0.0.0/8 and 10.0.0.0/8 are trusted.
    fn visitor(lines: &[&[u8]]) -> (String, String) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(line).unwrap());
        }
        let trusted = [
            "127.0.0.0/8".parse().unwrap(),
            "10.0.0.0/8".parse().unwrap(),
        ];
        let peer = Peer::at("127.0.0.1".parse().unwrap());
        let visitor = Visitor::of(peer, &headers, &trusted);
        (visitor.address.to_string(), visitor.chain(peer, &headers))
    }

    #[test]
    fn the_visitor_is_the_last_untrusted_hop() {
        for (lines, address, chain) in [
            (
                &[b"6.6.6.6, 1.2.3.4".as_slice(), b"10.0.0.1"][..],
                "1.2.3.4",
                "6.6.6.6, 1.2.3.4, 10.0.0.1, 127.0.0.1",
            ),
            (&[b"10.0.0.9"], "10.0.0.9", "10.0.0.9, 127.0.0.1"),
            (&[b"1.2.3.4:5555"], "1.2.3.4", "1.2.3.4, 127.0.0.1"),
            (
                &[b"[2001:db8::1]:80"],
                "2001:db8::1",
                "2001:db8::1, 127.0.0.1",
            ),
            (&[b"[2001:db8::1]"], "2001:db8::1", "2001:db8::1, 127.0.0.1"),
            (&[b"::ffff:1.2.3.4"], "1.2.3.4", "1.2.3.4, 127.0.0.1"),
            (&[], "127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(visitor(lines), (address.to_owned(), chain.to_owned()));
        }
    }

    #[test]
    fn what_cannot_be_read_is_nobody() {
        for unreadable in [
            b"\xff".as_slice(),
            b"",
            b"unknown",
            b"unix:",
            b"1.2.3.4\xa0",
            b"1.2.3.4.5",
            b"_x",
        ] {
            let (address, chain) = visitor(&[b"127.0.0.1", unreadable]);
            assert_eq!(address, "unknown");
            assert_eq!(chain, "127.0.0.1, 0.0.0.0, 127.0.0.1");
            // Behind a trusted hop, too.
            let (address, _) = visitor(&[b"1.2.3.4", unreadable, b"10.0.0.1"]);
            assert_eq!(address, "unknown");
        }
        // What the client forged does not hide what the proxy wrote behind it.
        let (address, chain) = visitor(&[b"\xff, 1.2.3.4"]);
        assert_eq!(
            (address.as_str(), chain.as_str()),
            ("1.2.3.4", "0.0.0.0, 1.2.3.4, 127.0.0.1")
        );
        assert!(!Client::Unknown.is_in(&["0.0.0.0/0".parse().unwrap()]));
    }

    #[test]
    fn the_last_word_counts() {
        let https = |lines: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(X_FORWARDED_PROTO, HeaderValue::from_bytes(line).unwrap());
            }
            let peer = Peer::at("127.0.0.1".parse().unwrap());
            Visitor::of(peer, &headers, &["127.0.0.1/32".parse().unwrap()]).https
        };
        assert!(https(&[b"http", b"HTTPS"]) && https(&[b"http, https"]));
        assert!(!https(&[b"https", b"http"]) && !https(&[b"https, http"]));
        assert!(!https(&[b"https", b"\xff"]) && !https(&[]));
    }
}
