//! As much of HTTP/1.1 and of websockets as a client of known servers needs.

use std::ops::Range;

use crate::Result;

/// A whole response at the beginning of what has come.
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Where its body is, as it came: chunks with their lengths.
    pub(crate) body: Range<usize>,
    /// `ETag` and `Last-Modified`, as a subscriber of nchan says them again.
    pub(crate) validators: Option<(String, String)>,
    /// What `Set-Cookie` sets, as `name=value`.
    pub(crate) cookie: Option<String>,
}

impl Response {
    /// None if it has not come whole. A 101 has no body: what follows are frames.
    pub(crate) fn parse(input: &[u8]) -> Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut parsed = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(head) = parsed.parse(input)? else {
            return Ok(None);
        };
        let value = |name: &str| {
            let header = parsed
                .headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(header.value).ok()
        };
        let status = parsed.code.unwrap_or_default();
        let end = match (value("content-length"), value("transfer-encoding")) {
            _ if matches!(status, 101 | 204 | 304) => Some(head),
            (Some(length), _) => Some(head + length.parse::<usize>()?),
            (None, Some("chunked")) => end_of_chunks(input, head)?,
            (None, _) => return Err("a response of unknown length".into()),
        };
        let Some(end) = end.filter(|end| *end <= input.len()) else {
            return Ok(None);
        };
        let both = (value("etag"), value("last-modified"));
        let cookie = value("set-cookie").and_then(|cookie| cookie.split(';').next());
        Ok(Some(Self {
            status,
            body: head..end,
            validators: match both {
                (Some(tag), Some(date)) => Some((tag.to_owned(), date.to_owned())),
                (_, _) => None,
            },
            cookie: cookie.map(str::to_owned),
        }))
    }
}

/// Behind the last chunk, if it has come.
fn end_of_chunks(input: &[u8], mut at: usize) -> Result<Option<usize>> {
    loop {
        let rest = input.get(at..).unwrap_or_default();
        let Some(line) = memchr::memmem::find(rest, b"\r\n") else {
            return Ok(None);
        };
        let length = rest.get(..line).unwrap_or_default();
        let length = usize::from_str_radix(std::str::from_utf8(length)?, 16)?;
        at += line + 2 + length + 2;
        if length == 0 {
            return Ok(Some(at));
        }
    }
}

/// Asks for a websocket. The key is that of RFC 6455, section 1.3: nobody caches anything here.
pub(crate) fn upgrade(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: site.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// A frame of a server, at the beginning of what has come.
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) payload: Range<usize>,
}

/// Opcode of a frame that ends the connection.
pub(crate) const CLOSE: u8 = 8;
/// Opcode of a frame that asks whether we are there.
pub(crate) const PING: u8 = 9;

/// An empty answer to a ping, under a mask of zeros.
pub(crate) const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];

impl Frame {
    /// None if it has not come whole. RFC 6455, section 5.2; a server masks nothing.
    pub(crate) fn parse(input: &[u8]) -> Option<Self> {
        let (first, second) = (*input.first()?, *input.get(1)?);
        let (begin, length) = match second & 0x7f {
            126 => (4, u64::from(u16::from_be_bytes(array(input, 2)?))),
            127 => (10, u64::from_be_bytes(array(input, 2)?)),
            length => (2, u64::from(length)),
        };
        let end = begin + usize::try_from(length).ok()?;
        (end <= input.len()).then_some(Self {
            opcode: first & 0xf,
            payload: begin..end,
        })
    }
}

fn array<const N: usize>(input: &[u8], at: usize) -> Option<[u8; N]> {
    input.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_taken_when_it_is_whole() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nETag: 1\r\nLast-Modified: x\r\n\
            Set-Cookie: A=b; Path=/\r\n\r\nabcHTTP";
        for end in 0..whole.len() - 4 {
            assert!(Response::parse(&whole[..end]).unwrap().is_none(), "{end}");
        }
        let response = Response::parse(whole).unwrap().unwrap();
        assert_eq!((response.status, &whole[response.body]), (200, &b"abc"[..]));
        assert_eq!(response.validators, Some(("1".into(), "x".into())));
        assert_eq!(response.cookie.as_deref(), Some("A=b"));
    }

    #[test]
    fn chunks_end_with_an_empty_one() {
        let whole =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n";
        for end in 0..whole.len() {
            assert!(Response::parse(&whole[..end]).unwrap().is_none(), "{end}");
        }
        assert_eq!(
            Response::parse(whole).unwrap().unwrap().body.end,
            whole.len()
        );
    }

    #[test]
    fn what_is_no_response_is_an_error() {
        assert!(Response::parse(b"nonsense\r\n\r\n").is_err());
        assert!(Response::parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn frames_of_every_length() {
        for (length, head) in [(125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let mut bytes = match head {
                2 => vec![0x81, 125],
                4 => [
                    &[0x81, 126][..],
                    &u16::try_from(length).unwrap().to_be_bytes(),
                ]
                .concat(),
                _ => [&[0x81, 127][..], &(length as u64).to_be_bytes()].concat(),
            };
            bytes.resize(head + length, b'x');
            let frame = Frame::parse(&bytes).unwrap();
            assert_eq!((frame.opcode, frame.payload), (1, head..head + length));
            assert!(Frame::parse(&bytes[..head + length - 1]).is_none());
        }
    }
}
