//! The opening handshake (RFC 6455 4.2), refused in the words of the reference's websocket library.

use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Version};
use pullgate_compat::websocket::accept_key;

use crate::body::Body;

/// What goes into the 101.
pub(crate) struct Accepted {
    key: HeaderValue,
    protocol: Option<HeaderValue>,
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No websocket is served on this path.
    Path,
    /// HTTP/1.0 knows no upgrade.
    Http,
    Method,
    /// What stands behind the request's head is the websocket's.
    Body,
    Upgrade,
    Key,
    Version,
    Protocol,
}

/// Whether the head asks for an upgrade; to what, and how, is checked by [`check`].
pub(crate) fn is_handshake(headers: &HeaderMap) -> bool {
    let upgrades = |value: &HeaderValue| {
        value
            .to_str()
            .is_ok_and(|value| value.to_ascii_lowercase().contains("upgrade"))
    };
    headers.contains_key(UPGRADE) && headers.get_all(CONNECTION).iter().any(upgrades)
}

/// The answer to the client's key, and the first of the subprotocols that it offers.
pub(crate) fn check<B>(request: &Request<B>) -> Result<Accepted, Refused> {
    let text = |name: HeaderName| request.headers().get(name)?.to_str().ok();
    if request.version() < Version::HTTP_11 {
        return Err(Refused::Http);
    }
    if request.method() != Method::GET {
        return Err(Refused::Method);
    }
    if has_body(request.headers()) {
        return Err(Refused::Body);
    }
    if !text(UPGRADE).is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket")) {
        return Err(Refused::Upgrade);
    }
    let key = text(SEC_WEBSOCKET_KEY)
        .filter(|key| key.len() == 24 && data_encoding::BASE64.decode(key.as_bytes()).is_ok())
        .ok_or(Refused::Key)?;
    if !matches!(text(SEC_WEBSOCKET_VERSION), Some("13" | "8")) {
        return Err(Refused::Version);
    }
    let protocol = match request.headers().get(SEC_WEBSOCKET_PROTOCOL) {
        Some(offered) => Some(first_protocol(offered).ok_or(Refused::Protocol)?),
        None => None,
    };
    let key = accept_key(key).try_into().map_err(|_| Refused::Key)?;
    Ok(Accepted { key, protocol })
}

fn has_body(headers: &HeaderMap) -> bool {
    let is_empty = |length: &HeaderValue| length == "0";
    headers.contains_key(TRANSFER_ENCODING) || !headers.get_all(CONTENT_LENGTH).iter().all(is_empty)
}

/// The first of a list of different tokens.
fn first_protocol(offered: &HeaderValue) -> Option<HeaderValue> {
    let offered: Vec<&str> = offered
        .to_str()
        .ok()?
        .split(',')
        .map(|token| token.trim_matches([' ', '\t']))
        .collect();
    let well_formed = offered.iter().enumerate().all(|(at, token)| {
        // A header's name is a token too (RFC 9110 5.1).
        HeaderName::from_bytes(token.as_bytes()).is_ok()
            && !offered.iter().take(at).any(|earlier| earlier == token)
    });
    HeaderValue::from_str(offered.first().filter(|_| well_formed)?).ok()
}

impl From<Accepted> for Response<Body> {
    fn from(accepted: Accepted) -> Self {
        let mut response = Self::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, accepted.key);
        if let Some(protocol) = accepted.protocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        response
    }
}

impl From<Refused> for Response<Body> {
    fn from(refused: Refused) -> Self {
        let (status, why) = match refused {
            Refused::Path => (StatusCode::BAD_REQUEST, "Bad Request"),
            Refused::Http => (StatusCode::BAD_REQUEST, "Websockets need HTTP/1.1"),
            Refused::Method => (StatusCode::METHOD_NOT_ALLOWED, "Invalid HTTP method"),
            Refused::Body => (
                StatusCode::BAD_REQUEST,
                "Websockets need a request without a body",
            ),
            Refused::Upgrade => (StatusCode::BAD_REQUEST, "Invalid Upgrade header"),
            Refused::Key => (
                StatusCode::BAD_REQUEST,
                "Missing or invalid Sec-WebSocket-Key header",
            ),
            Refused::Version => (
                StatusCode::BAD_REQUEST,
                "Missing or invalid Sec-WebSocket-Version header",
            ),
            Refused::Protocol => (
                StatusCode::BAD_REQUEST,
                "Invalid Sec-WebSocket-Protocol header",
            ),
        };
        let mut response = Self::new(Body::from(bytes::Bytes::from_static(why.as_bytes())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_clean_list_of_protocols() {
        let first = |offered: &'static str| {
            first_protocol(&HeaderValue::from_static(offered))
                .map(|first| first.as_bytes().to_vec())
        };
        assert_eq!(first("one, two").as_deref(), Some(b"one".as_slice()));
        assert_eq!(first("One").as_deref(), Some(b"One".as_slice()));
        for bad in ["", "a,,b", "a,", "a b", "a,a", "a;b"] {
            assert_eq!(first(bad), None, "{bad}");
        }
    }
}
