//! The site's own websockets: the upgrade goes through, then bytes flow both ways.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version, request};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use super::RequestBody;
use super::pool::Pool;
use crate::body::{Body, Streamed};
use crate::error::Error;

/// Whether a request asks for a websocket in the way of RFC 6455: no body, both headers.
pub(crate) fn wants_websocket(parts: &request::Parts) -> bool {
    parts.method == Method::GET
        && parts.version == Version::HTTP_11
        && !parts.headers.contains_key(header::TRANSFER_ENCODING)
        && parts
            .headers
            .get(header::CONTENT_LENGTH)
            .is_none_or(|length| length == "0")
        && has_token(&parts.headers, header::CONNECTION, "upgrade")
        && has_token(&parts.headers, header::UPGRADE, "websocket")
}

/// Forwards an upgrade on a connection of its own. An answer other than 101 is an ordinary one.
pub(crate) async fn forward(
    pool: &Pool,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Error> {
    let downstream = hyper::upgrade::on(&mut request);
    let (mut parts, _) = request.into_parts();
    super::in_origin_form(&mut parts);
    add_upgrade(&mut parts.headers);

    let mut lease = pool.connect().await?;
    let sent = lease
        .sender
        .try_send_request(Request::from_parts(parts, RequestBody::Empty));
    let mut response = pool
        .answer(sent)
        .await?
        .map_err(|failed| Error::Upstream(failed.into_error()))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        super::headers::remove_hop_by_hop(response.headers_mut());
        return Ok(response.map(|body| {
            Body::Upstream(Streamed::new(body, pool.response_timeout()), Some(lease))
        }));
    }
    let upstream = hyper::upgrade::on(&mut response);
    tokio::spawn(async move {
        if let (Ok(downstream), Ok(upstream)) = tokio::join!(downstream, upstream) {
            // Either side going away ends both.
            let _ = copy_bidirectional(&mut TokioIo::new(downstream), &mut TokioIo::new(upstream))
                .await;
        }
    });
    super::headers::remove_hop_by_hop(response.headers_mut());
    add_upgrade(response.headers_mut());
    Ok(response.map(|_| Body::empty()))
}

fn add_upgrade(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(token))
}
