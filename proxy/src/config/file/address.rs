//! Where pullgate listens, and where the site is. The command line reads them the same way.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::report::{Mismatch, expected};
use super::value::Value;
use crate::config::{Address, Origin, Role};

/// `sun_path` of Linux, less the zero at its end.
const LONGEST_SOCKET_PATH: usize = 107;

pub(super) const ADDRESS: &str =
    "an IP address with a port, such as \"127.0.0.1:8895\", or \"unix:/path\"";

pub(super) const ORIGIN: &str =
    "the site's own address, such as \"http://127.0.0.1:8080\" or \"unix:/run/site.sock\"";

/// `IP:port`, `[IPv6]:port`, `localhost:port` (which is 127.0.0.1) or `unix:/path`.
impl FromStr for Address {
    type Err = Mismatch;

    fn from_str(text: &str) -> Result<Self, Mismatch> {
        if let Some(path) = text.strip_prefix("unix:") {
            return socket_path(path).map(Self::Unix);
        }
        let local = text.strip_prefix("localhost:");
        let text = local.map_or(text.to_owned(), |port| format!("127.0.0.1:{port}"));
        text.parse().map(Self::Tcp).map_err(|_| expected(ADDRESS))
    }
}

/// `http://host`, `http://host:port` or `unix:/path`; without a path, for requests keep theirs.
impl FromStr for Origin {
    type Err = Mismatch;

    fn from_str(text: &str) -> Result<Self, Mismatch> {
        if let Some(path) = text.strip_prefix("unix:") {
            return socket_path(path).map(Self::Unix);
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| expected(ORIGIN))?;
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(expected(format!(
                "{ORIGIN}: only http and unix: are spoken to the site"
            )));
        }
        authority(rest.strip_suffix('/').unwrap_or(rest))
    }
}

fn authority(text: &str) -> Result<Origin, Mismatch> {
    if text.contains(['/', '?', '#']) {
        let form = "an address without a path or query: requests keep theirs";
        return Err(expected(form));
    }
    if text.contains('@') {
        return Err(expected("an address without a user: requests keep theirs"));
    }
    let (host, port) = split_port(text).ok_or_else(|| expected(ORIGIN))?;
    Ok(Origin::Tcp {
        host: host.to_owned(),
        port,
    })
}

/// Host (IPv6 without its brackets) and port, 80 unless given.
fn split_port(text: &str) -> Option<(&str, u16)> {
    let bracketed = text.strip_prefix('[');
    let (host, port) = match bracketed.map(|text| text.split_once(']')) {
        Some(parts) => {
            let (host, rest) = parts?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            let port = rest.strip_prefix(':');
            (host, if rest.is_empty() { Some("80") } else { port })
        }
        None => {
            let (host, port) = text.split_once(':').unwrap_or((text, "80"));
            (is_host(host).then_some(host)?, Some(port))
        }
    };
    let digits = port.filter(|port| port.chars().all(|c| c.is_ascii_digit()))?;
    let port = digits.parse().ok().filter(|port| *port != 0)?;
    Some((host, port))
}

/// Letters, digits, dots and dashes, as in a domain; `_` for the names that containers get.
pub(super) fn is_host(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !text.is_empty() && text.chars().all(allowed) && !text.starts_with(['.', '-'])
}

fn socket_path(path: &str) -> Result<PathBuf, Mismatch> {
    if path.is_empty() {
        return Err(expected(
            "a path behind \"unix:\", such as \"unix:/run/site.sock\"",
        ));
    }
    Ok(PathBuf::from(path))
}

/// `address` of a listener.
pub(super) fn address(value: &Value<'_>) -> Result<Address, Mismatch> {
    match value.text(ADDRESS)?.parse()? {
        Address::Unix(path) => socket_in_folder(value, &path).map(Address::Unix),
        tcp @ Address::Tcp(_) => Ok(tcp),
    }
}

/// `url` of the site.
pub(super) fn origin(value: &Value<'_>) -> Result<Origin, Mismatch> {
    match value.text(ORIGIN)?.parse()? {
        Origin::Unix(path) => socket_in_folder(value, &path).map(Origin::Unix),
        tcp @ Origin::Tcp { .. } => Ok(tcp),
    }
}

/// The kernel's limit holds for the path with the config file's folder.
fn socket_in_folder(value: &Value<'_>, path: &Path) -> Result<PathBuf, Mismatch> {
    let path = value.reading().path(path);
    let length = path.as_os_str().len();
    if length > LONGEST_SOCKET_PATH {
        return Err(Mismatch::new(
            format!("a path of {length} bytes"),
            format!("at most {LONGEST_SOCKET_PATH}, as the kernel takes for a socket"),
        ));
    }
    Ok(path)
}

impl Address {
    /// Whether the kernel binds only one of the two: the same place, or the same port where one of
    /// them is for every address (`[::]` for those of IPv4, too). Port 0 is never the same twice.
    pub(super) fn takes(&self, other: &Self) -> bool {
        let (Self::Tcp(one), Self::Tcp(other)) = (self, other) else {
            return self == other;
        };
        let is_every =
            |ip: IpAddr, of: IpAddr| ip.is_unspecified() && (ip.is_ipv6() || of.is_ipv4());
        let (ip, other_ip) = (one.ip(), other.ip());
        one.port() != 0
            && one.port() == other.port()
            && (ip == other_ip || is_every(ip, other_ip) || is_every(other_ip, ip))
    }

    /// Whether what is sent to the origin arrives here.
    pub(super) fn receives(&self, origin: &Origin) -> bool {
        match (self, origin) {
            (Self::Tcp(address), Origin::Tcp { host, port }) => {
                address.port() == *port && reaches(address, host)
            }
            (Self::Unix(here), Origin::Unix(there)) => here == there,
            (Self::Tcp(_), Origin::Unix(_)) | (Self::Unix(_), Origin::Tcp { .. }) => false,
        }
    }
}

/// Names other than `localhost` are not looked up: the answer may be another one later.
fn reaches(address: &SocketAddr, host: &str) -> bool {
    let local = host.eq_ignore_ascii_case("localhost");
    let ip = local.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let ip = ip.or_else(|| host.parse().ok());
    ip.is_some_and(|ip| address.ip() == ip || address.ip().is_unspecified() && ip.is_loopback())
}

/// Listeners that trust whoever reaches them, where the internet may reach them.
pub(super) fn is_exposed(address: &Address, role: Role) -> bool {
    let trusting = match role {
        Role::Publish | Role::Admin => true,
        Role::Site => false,
    };
    let public = match address {
        Address::Tcp(address) => !is_private(address.ip()),
        Address::Unix(_) => false,
    };
    trusting && public
}

fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Option<Origin> {
        let host = host.to_owned();
        Some(Origin::Tcp { host, port })
    }

    #[test]
    fn origins() {
        let origin = |text: &str| text.parse::<Origin>().ok();
        assert_eq!(origin("http://127.0.0.1:8080"), tcp("127.0.0.1", 8080));
        assert_eq!(origin("HTTP://site.example"), tcp("site.example", 80));
        assert_eq!(origin("http://[::1]:8080/"), tcp("::1", 8080));
        assert_eq!(origin("http://[::1]"), tcp("::1", 80));
        assert_eq!(origin("http://php_fpm:9000"), tcp("php_fpm", 9000));
        assert_eq!(origin("unix:/run/s"), Some(Origin::Unix("/run/s".into())));
        for wrong in [
            "",
            "127.0.0.1:8080",
            "https://a",
            "http://",
            "http://a:",
            "http://a:0",
            "http://a:+80",
            "http://a:65536",
            "http://a/b",
            "http://a?b",
            "http://u:p@a",
            "http://::1",
            "http://[::1",
            "http://[a]:1",
            "http://[::1]80",
            "http://a b",
            "unix:",
        ] {
            assert_eq!(origin(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn addresses() {
        let address = |text: &str| text.parse::<Address>().ok();
        let tcp = |text: &str| Some(Address::Tcp(text.parse().unwrap()));
        assert_eq!(address("0.0.0.0:80"), tcp("0.0.0.0:80"));
        assert_eq!(address("[::]:80"), tcp("[::]:80"));
        assert_eq!(address("localhost:0"), tcp("127.0.0.1:0"));
        assert_eq!(address("unix:/run/s"), Some(Address::Unix("/run/s".into())));
        for wrong in [
            "",
            ":80",
            "80",
            "*:80",
            "a.example:80",
            "127.0.0.1",
            "unix:",
        ] {
            assert_eq!(address(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn loops() {
        let receives = |address: &str, origin: &str| {
            let address: Address = address.parse().unwrap();
            address.receives(&origin.parse().unwrap())
        };
        assert!(receives("0.0.0.0:80", "http://localhost"));
        assert!(receives("[::]:80", "http://127.0.0.1"));
        assert!(receives("10.0.0.1:80", "http://10.0.0.1"));
        assert!(receives("unix:/a", "unix:/a"));
        assert!(!receives("0.0.0.0:80", "http://10.0.0.1"));
        assert!(!receives("127.0.0.1:80", "http://127.0.0.1:8080"));
    }
}
