//! The push endpoints: decode with `compat`, ask the hub, encode with `compat`.

pub(crate) mod binary;
pub(crate) mod events;
pub(crate) mod login;
mod numbers;
pub(crate) mod publish;
pub(crate) mod statistics;
pub(crate) mod subscribe;
pub(crate) mod websocket;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CONTENT_TYPE, HeaderValue,
};
use http::{Request, Response, StatusCode};
use pullgate_compat::channel::{ChannelList, Role};
use pullgate_compat::query::Query;
use pullgate_compat::signature::SignatureKey;
use pullgate_compat::status::Status;

use crate::body::Body;

/// The header of a long poll's answer that tells where to go on.
pub(crate) const LAST_MESSAGE_ID: &str = "last-message-id";

/// The parameters of a request.
pub(crate) fn query<B>(request: &Request<B>) -> Query<'_> {
    let target = request.uri().path_and_query();
    Query::of_target(target.map_or("", |target| target.as_str()))
}

/// The channels it names, as far as `role` may name them.
pub(crate) fn channels(query: Query<'_>, key: &SignatureKey, role: Role) -> ChannelList {
    query
        .first("CHANNEL_ID")
        .map(|value| ChannelList::parse(&value, key, role))
        .unwrap_or_default()
}

/// An answer as push servers give it: plain text, open to every origin.
pub(crate) fn answer(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

/// The same with protobuf in it.
pub(crate) fn binary_answer(body: impl Into<Bytes>) -> Response<Body> {
    let mut response = answer(StatusCode::OK, body);
    let octets = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(CONTENT_TYPE, octets);
    response
}

/// A refusal over HTTP.
pub(crate) fn refusal(status: Status) -> Response<Body> {
    answer(
        StatusCode::from_u16(status.http()).unwrap_or(StatusCode::BAD_REQUEST),
        status.reason(),
    )
}

/// The same for a subscriber, whose scripts may read `Last-Message-Id`.
pub(crate) fn poll_refusal(status: Status) -> Response<Body> {
    let mut response = refusal(status);
    expose_last_id(&mut response);
    response
}

pub(crate) fn expose_last_id(response: &mut Response<Body>) {
    response.headers_mut().insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("Last-Message-Id"),
    );
}

/// The answer where ours broke off: a bug, which the log of the panic names.
pub(crate) fn broken() -> Response<Body> {
    answer(StatusCode::INTERNAL_SERVER_ERROR, "")
}
