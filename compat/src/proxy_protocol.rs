//! The header that a proxy sends in front of a connection to say who came to it: PROXY protocol, versions 1 and 2.
//!
//! <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>. A header is read as its bytes come, and nothing behind it
//! belongs to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header that is read, bytes, as with nginx. One of version 2 could have 64 KiB of additions.
pub const MAX_HEADER: usize = 4096;

/// Longest header of version 1, with its line end.
const MAX_TEXT: usize = 107;

const TEXT: &[u8] = b"PROXY ";
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What stands in front of the addresses in version 2: signature, version and command, family, length.
const FIXED: usize = 16;

/// The addition that tells of TLS, and the bit in it of a client that came by TLS.
const TYPE_SSL: u8 = 0x20;
const CLIENT_SSL: u8 = 0x01;

/// A header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// How many bytes it has.
    pub length: usize,
    /// `None`: the connection is the proxy's own (`LOCAL`), or from where it cannot say (`UNKNOWN`, a unix socket).
    pub source: Option<SocketAddr>,
    /// The client came to the proxy by TLS, as version 2 can say.
    pub tls: bool,
}

/// Bytes that no header begins with, or that break its rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It begins as neither version does.
    #[error("this is no PROXY header")]
    Signature,
    /// Than [`MAX_HEADER`].
    #[error("the header is longer than {MAX_HEADER} bytes")]
    TooLong,
    /// Of version 1.
    #[error("the line is not that of a PROXY header")]
    Line,
    /// Of version 2, as what follows.
    #[error("unknown version or command")]
    Command,
    /// Datagrams among them.
    #[error("unknown address family or transport")]
    Family,
    /// Of what its family says.
    #[error("the header is too short for its addresses")]
    Addresses,
    /// Those behind the addresses.
    #[error("an addition is longer than the header")]
    Additions,
}

/// Reads the header that `bytes` begin with; `None`: it goes on behind them.
///
/// # Errors
///
/// As soon as it is no header, whatever may follow.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let begins = |with: &[u8]| {
        bytes
            .iter()
            .zip(with)
            .all(|(byte, expected)| byte == expected)
    };
    match (begins(TEXT), begins(BINARY)) {
        (true, _) => text(bytes),
        (false, true) => binary(bytes),
        (false, false) => Err(Malformed::Signature),
    }
}

fn text(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let head = bytes.get(..MAX_TEXT).unwrap_or(bytes);
    let Some(end) = head.iter().position(|byte| *byte == b'\n') else {
        return match head.len() {
            MAX_TEXT => Err(Malformed::Line),
            _ => Ok(None),
        };
    };
    let line = head.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let line = line.and_then(|line| line.strip_prefix(TEXT));
    let line = line.and_then(|line| std::str::from_utf8(line).ok());
    let source = line.and_then(line_source).ok_or(Malformed::Line)?;
    Ok(Some(Header {
        length: end + 1,
        source,
        tls: false,
    }))
}

/// What stands behind `PROXY `: behind `UNKNOWN` anything may.
fn line_source(line: &str) -> Option<Option<SocketAddr>> {
    let mut words = line.split(' ');
    let address = |word: &str, v6: bool| match v6 {
        false => word.parse().map(IpAddr::V4).ok(),
        true => word.parse().map(IpAddr::V6).ok(),
    };
    let v6 = match words.next()? {
        "UNKNOWN" => return Some(None),
        "TCP4" => false,
        "TCP6" => true,
        _ => return None,
    };
    let (source, _) = (address(words.next()?, v6)?, address(words.next()?, v6)?);
    let (port, _) = (port(words.next()?)?, port(words.next()?)?);
    let source = SocketAddr::new(source, port);
    words.next().is_none().then_some(Some(source))
}

/// Digits without zeros in front of them.
fn port(word: &str) -> Option<u16> {
    let port: u16 = word.parse().ok()?;
    (port.to_string() == word).then_some(port)
}

fn binary(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some((&[version_command, family, high, low], rest)) = bytes
        .get(BINARY.len()..)
        .and_then(<[u8]>::split_first_chunk)
    else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if FIXED + length > MAX_HEADER {
        return Err(Malformed::TooLong);
    }
    let local = match version_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(Malformed::Command),
    };
    let Some(block) = rest.get(..length) else {
        return Ok(None);
    };
    // Both addresses, both ports. Of the proxy's own connections nothing of it counts.
    let (source, additions) = match family {
        _ if local => (None, &[][..]),
        0x00 => (None, &[][..]),
        0x11 => {
            let (addresses, additions) = block
                .split_first_chunk::<12>()
                .ok_or(Malformed::Addresses)?;
            let &[a, b, c, d, _, _, _, _, high, low, _, _] = addresses;
            let ip = Ipv4Addr::new(a, b, c, d);
            let port = u16::from_be_bytes([high, low]);
            (Some(SocketAddr::new(ip.into(), port)), additions)
        }
        0x21 => {
            let (source, rest) = block
                .split_first_chunk::<16>()
                .ok_or(Malformed::Addresses)?;
            let (ports, additions) = rest.split_first_chunk::<20>().ok_or(Malformed::Addresses)?;
            let &[.., high, low, _, _] = ports;
            let ip = Ipv6Addr::from(*source);
            let port = u16::from_be_bytes([high, low]);
            (Some(SocketAddr::new(ip.into(), port)), additions)
        }
        0x31 => {
            let (_, additions) = block
                .split_first_chunk::<216>()
                .ok_or(Malformed::Addresses)?;
            (None, additions)
        }
        _ => return Err(Malformed::Family),
    };
    Ok(Some(Header {
        length: FIXED + length,
        source,
        tls: tls(additions)?,
    }))
}

/// Whether one of the additions (type, length, value) says that the client came by TLS.
fn tls(mut additions: &[u8]) -> Result<bool, Malformed> {
    let mut tls = false;
    while !additions.is_empty() {
        let (&[kind, high, low], rest) =
            additions.split_first_chunk().ok_or(Malformed::Additions)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, behind) = rest.split_at_checked(length).ok_or(Malformed::Additions)?;
        if kind == TYPE_SSL {
            tls = value.first().is_some_and(|client| client & CLIENT_SSL != 0);
        }
        additions = behind;
    }
    Ok(tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(header: &[u8]) -> Option<String> {
        let header = parse(header).unwrap().unwrap();
        header.source.map(|source| source.to_string())
    }

    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [BINARY, &[command, family], &length, block].concat()
    }

    #[test]
    fn lines() {
        for (line, expected) in [
            (
                "PROXY TCP4 1.2.3.4 5.6.7.8 1000 80\r\n",
                Some("1.2.3.4:1000"),
            ),
            (
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
                Some("255.255.255.255:65535"),
            ),
            (
                "PROXY TCP6 2001:db8::1 ::1 1000 80\r\n",
                Some("[2001:db8::1]:1000"),
            ),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff:: whatever\r\n", None),
        ] {
            assert_eq!(source(line.as_bytes()).as_deref(), expected, "{line}");
            let behind = [line.as_bytes(), b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(parse(&behind).unwrap().unwrap().length, line.len());
        }
    }

    #[test]
    fn lines_that_are_none() {
        for line in [
            "PROXY TCP4 1.2.3.4 5.6.7.8 1000\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1000 80 1\r\n",
            "PROXY TCP4  1.2.3.4 5.6.7.8 1000 80\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1000 80\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 01000 80\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 +1000 80\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 65536 80\r\n",
            "PROXY TCP4 1.2.3.04 5.6.7.8 1000 80\r\n",
            "PROXY TCP4 ::1 5.6.7.8 1000 80\r\n",
            "PROXY TCP6 1.2.3.4 5.6.7.8 1000 80\r\n",
            "PROXY TCP5 1.2.3.4 5.6.7.8 1000 80\r\n",
            "PROXY tcp4 1.2.3.4 5.6.7.8 1000 80\r\n",
            "PROXY \r\n",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(Malformed::Line), "{line}");
        }
        let endless = [TEXT, &[b'x'; MAX_TEXT]].concat();
        assert_eq!(parse(&endless), Err(Malformed::Line));
        for other in ["GET / HTTP/1.1\r\n", "proxy", "\r\n\r\n\r", "PROXYX"] {
            assert_eq!(
                parse(other.as_bytes()),
                Err(Malformed::Signature),
                "{other}"
            );
        }
    }

    #[test]
    fn blocks() {
        let v4 = [1, 2, 3, 4, 5, 6, 7, 8, 3, 232, 0, 80];
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 28], &[3, 232, 0, 80]].concat();
        for (command, family, block, expected) in [
            (0x21, 0x11, &v4[..], Some("1.2.3.4:1000")),
            (0x21, 0x21, &v6, Some("[2001:db8::]:1000")),
            (0x21, 0x31, &[b'/'; 216], None),
            (0x21, 0x00, b"whatever", None),
            (0x20, 0x11, &v4, None),
            (0x20, 0x00, b"", None),
        ] {
            let header = v2(command, family, block);
            assert_eq!(source(&header).as_deref(), expected, "{header:?}");
            assert_eq!(parse(&header).unwrap().unwrap().length, header.len());
        }
        for (command, family, block, error) in [
            (0x11, 0x11, &v4[..], Malformed::Command),
            (0x22, 0x11, &v4, Malformed::Command),
            (0x21, 0x12, &v4, Malformed::Family),
            (0x21, 0x41, &v4, Malformed::Family),
            (0x21, 0x11, &v4[..11], Malformed::Addresses),
            (0x21, 0x21, &v6[..35], Malformed::Addresses),
            (0x21, 0x31, &[0; 215], Malformed::Addresses),
            (0x21, 0x11, &[0; 14], Malformed::Additions),
            (0x21, 0x11, &[0; MAX_HEADER], Malformed::TooLong),
        ] {
            assert_eq!(parse(&v2(command, family, block)), Err(error));
        }
    }

    #[test]
    fn a_client_that_came_by_tls() {
        let tls = |additions: &[u8]| {
            let header = v2(0x21, 0x11, &[&[0; 12], additions].concat());
            parse(&header).map(|header| header.unwrap().tls)
        };
        assert_eq!(tls(&[]), Ok(false));
        assert_eq!(tls(&[TYPE_SSL, 0, 5, 1, 0, 0, 0, 0]), Ok(true));
        assert_eq!(tls(&[4, 0, 1, 0, TYPE_SSL, 0, 5, 7, 0, 0, 0, 0]), Ok(true));
        assert_eq!(tls(&[TYPE_SSL, 0, 5, 2, 0, 0, 0, 0]), Ok(false));
        assert_eq!(tls(&[TYPE_SSL, 0, 0]), Ok(false));
        assert_eq!(tls(&[4, 0, 2, 0]), Err(Malformed::Additions));
        assert_eq!(tls(&[4, 0]), Err(Malformed::Additions));
    }
}
