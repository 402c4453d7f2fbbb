//! Away from http: a listener that redirects, and HSTS (RFC 6797).

use std::time::Duration;

use http::header::{HeaderMap, HeaderValue, LOCATION, STRICT_TRANSPORT_SECURITY};
use http::{Method, Request, Response, StatusCode};

use super::head;
use crate::body::Body;

/// Sends to the same address by https, at its usual port. What has a body must come with it again (308).
pub(super) fn to_https<B>(request: &Request<B>) -> Response<Body> {
    let host = head::without_port(head::host(request).as_bytes());
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let path = if path == "*" { "/" } else { path };
    let location = [b"https://", host, path.as_bytes()].concat();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = match *request.method() {
        Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
        _ => StatusCode::PERMANENT_REDIRECT,
    };
    if let Ok(location) = HeaderValue::from_bytes(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Unless the site says it itself.
pub(super) fn add_hsts(headers: &mut HeaderMap, long: Duration) {
    let entry = headers.entry(STRICT_TRANSPORT_SECURITY);
    if let Ok(value) = HeaderValue::try_from(format!("max-age={}", long.as_secs())) {
        entry.or_insert(value);
    }
}
