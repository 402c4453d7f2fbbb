//! Heads of requests and responses, and what they say about the body behind them (RFC 9112 6.3).

use super::Unreadable;
use super::http::Framing;
use crate::format::{Request, Response};
use crate::headers::values;
use crate::payload::Payload;

/// More headers than any client or server sends.
const MOST_HEADERS: usize = 256;

type Headers = Vec<(String, String)>;

/// A request without its body.
#[derive(Debug)]
pub(crate) struct RequestHead {
    pub(crate) method: String,
    pub(crate) target: String,
    minor_version: u8,
    headers: Headers,
}

/// A response without its body.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    reason: String,
    minor_version: u8,
    headers: Headers,
}

impl RequestHead {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut head = httparse::Request::new(&mut headers);
        let parsed = head.parse(bytes);
        match (parsed, head.method, head.path, head.version) {
            (
                Ok(httparse::Status::Complete(_)),
                Some(method),
                Some(target),
                Some(minor_version),
            ) => Ok(Self {
                method: method.to_owned(),
                target: target.to_owned(),
                minor_version,
                headers: owned(head.headers),
            }),
            _ => Err(Unreadable("no HTTP/1 request")),
        }
    }

    pub(crate) fn framing(&self) -> Result<Framing, Unreadable> {
        match transfer_coding(&self.headers) {
            Some(true) => Ok(Framing::Chunked),
            Some(false) => Err(Unreadable("a request with an unknown transfer coding")),
            None => Ok(content_length(&self.headers)?.map_or(Framing::Empty, Framing::Length)),
        }
    }

    /// Whether it asks for another protocol, so that what follows need not be HTTP.
    pub(crate) fn asks_for_upgrade(&self) -> bool {
        self.method == "CONNECT" || values(&self.headers, "upgrade").next().is_some()
    }

    pub(crate) fn asks_for_websocket(&self) -> bool {
        self.method == "GET"
            && values(&self.headers, "upgrade").any(|value| value.eq_ignore_ascii_case("websocket"))
    }

    pub(crate) fn with_body(self, body: Payload) -> Request {
        Request {
            method: self.method,
            target: self.target,
            headers: self.headers,
            version: (self.minor_version != 1).then(|| version(self.minor_version)),
            body,
        }
    }
}

impl ResponseHead {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        let parsed = head.parse(bytes);
        match (parsed, head.code, head.version) {
            (Ok(httparse::Status::Complete(_)), Some(status), Some(minor_version)) => Ok(Self {
                status,
                reason: head.reason.unwrap_or_default().to_owned(),
                minor_version,
                headers: owned(head.headers),
            }),
            _ => Err(Unreadable("no HTTP/1 response")),
        }
    }

    /// How the answer to a request of this method ends.
    pub(crate) fn framing(&self, method: &str) -> Result<Framing, Unreadable> {
        if method == "HEAD" || matches!(self.status, 100..=199 | 204 | 304) {
            return Ok(Framing::Empty);
        }
        match transfer_coding(&self.headers) {
            Some(true) => Ok(Framing::Chunked),
            Some(false) => Ok(Framing::UntilEnd),
            None => Ok(content_length(&self.headers)?.map_or(Framing::UntilEnd, Framing::Length)),
        }
    }

    /// Whether the websocket's frames will be in a form of their own, such as compressed.
    pub(crate) fn extension(&self) -> Option<&str> {
        values(&self.headers, "sec-websocket-extensions").find(|value| !value.is_empty())
    }

    pub(crate) fn with_body(self, body: Payload, after_ms: f64) -> Response {
        Response {
            status: self.status,
            reason: self.reason,
            version: version(self.minor_version),
            headers: self.headers,
            body,
            after_ms,
            ..Response::default()
        }
    }
}

fn owned(headers: &[httparse::Header<'_>]) -> Headers {
    headers
        .iter()
        .map(|header| {
            let value = String::from_utf8_lossy(header.value).into_owned();
            (header.name.to_owned(), value)
        })
        .collect()
}

fn version(minor: u8) -> String {
    format!("HTTP/1.{minor}")
}

/// Whether the body is chunked last; `None` if it has no transfer coding.
fn transfer_coding(headers: &Headers) -> Option<bool> {
    let last = values(headers, "transfer-encoding")
        .flat_map(|value| value.split(','))
        .last()?;
    Some(last.trim().eq_ignore_ascii_case("chunked"))
}

fn content_length(headers: &Headers) -> Result<Option<u64>, Unreadable> {
    let mut length = None;
    for value in values(headers, "content-length").flat_map(|value| value.split(',')) {
        let value = value.trim();
        let digits = value.bytes().all(|byte| byte.is_ascii_digit());
        let found = value.parse::<u64>().ok().filter(|_| digits);
        let found = found.ok_or(Unreadable("a Content-Length that is no number"))?;
        if length.is_some_and(|length| length != found) {
            return Err(Unreadable("two different Content-Lengths"));
        }
        length = Some(found);
    }
    Ok(length)
}
