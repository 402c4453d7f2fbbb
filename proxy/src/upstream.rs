//! Forwards a request to the site and streams its answer back.

pub(crate) mod back_ends;
pub(crate) mod check;
mod connect;
pub(crate) mod headers;
pub(crate) mod pool;
pub(crate) mod tunnel;
pub(crate) mod visitor;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, Version, request};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::body::lease::Lease;
use crate::body::request::{RequestBody, Upload};
use crate::body::{Body, Pace, Streamed};
use crate::config::Terms;
use crate::error::Error;
use pool::{Attempts, Pool};

/// Sends one prepared request, its body read before if the terms say so. `parts` already carries the headers for the site.
pub(crate) async fn forward(
    pool: &Pool,
    terms: &Terms,
    mut parts: request::Parts,
    body: RequestBody,
) -> Result<Response<Body>, Error> {
    let had_length = body.size_hint().exact().is_some();
    let mut body = body.buffered(terms).await.map_err(Error::Upload)?;
    let mut attempts = Attempts::of(&parts);
    in_origin_form(&mut parts);
    if !had_length {
        let (name, value) = match body.size_hint().exact() {
            // For back ends that take no chunks.
            Some(length) => (header::CONTENT_LENGTH, HeaderValue::from(length)),
            // hyper would leave out the body of a GET.
            None => (
                header::TRANSFER_ENCODING,
                HeaderValue::from_static("chunked"),
            ),
        };
        parts.headers.insert(name, value);
    }
    // An idle connection may close just as we write to it, and a back end may break off. What was not sent goes again,
    // and so does what is idempotent and bodiless: to each back end once, when no connection is left from before.
    let repeatable = matches!(body, RequestBody::Empty)
        && matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
    let upload = body.upload();
    let upload = upload.as_deref();
    loop {
        let mut lease = pool.lease(&mut attempts).await?;
        let is_last = !lease.is_kept && pool.all_tried(&attempts);
        let again = (!is_last && repeatable).then(|| parts.clone());
        let request = Request::from_parts(parts, body);
        let sent = lease.sender.try_send_request(request);
        match pool.answer(sent, upload, terms.response_timeout).await? {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return Err(Error::UnaskedUpgrade);
            }
            Ok(response) => return streamed(response, lease, terms),
            Err(mut failed) if !is_last => match (failed.take_message(), again) {
                (Some(unsent), _) => (parts, body) = unsent.into_parts(),
                (None, Some(again)) => (parts, body) = (again, RequestBody::Empty),
                (None, None) => return Err(failure(failed.into_error(), upload)),
            },
            Err(failed) => return Err(failure(failed.into_error(), upload)),
        }
    }
}

/// Path and query alone, as a server gets them (RFC 9112 3.2.1).
fn in_origin_form(parts: &mut request::Parts) {
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = match path.strip_prefix('?') {
        // Of `http://host?query`.
        Some(query) => format!("/?{query}").parse::<Uri>().unwrap_or_default(),
        None => path.parse::<Uri>().unwrap_or_default(),
    };
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
}

/// Whose error it is when there is no response.
fn failure(error: hyper::Error, upload: Option<&Upload>) -> Error {
    let upload = upload.and_then(Upload::error);
    upload.map_or(Error::Upstream(error), Error::Upload)
}

/// The site's response, its body to come. The connection goes back to the pool behind it.
fn streamed(
    response: Response<Incoming>,
    lease: Lease,
    terms: &Terms,
) -> Result<Response<Body>, Error> {
    if !is_framed(response.headers()) {
        return Err(Error::Framing);
    }
    Ok(response.map(|body| {
        if body.is_end_stream() {
            lease.give_back();
            return Body::empty();
        }
        let pace = Pace::unhurried(terms.response_timeout);
        Body::upstream(Streamed::new(body, pace), lease)
    }))
}

/// Whether a response says once how long it is (RFC 9112 6.3): two opinions are how responses are smuggled. A coding
/// other than `chunked` is one that nobody asked for (`TE` stays here), and hyper leaves it in.
fn is_framed(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (codings.next(), lengths.next()) {
        (None, None) => true,
        (None, Some(length)) => {
            lengths.next().is_none() && length.as_bytes().iter().all(u8::is_ascii_digit)
        }
        (Some(coding), None) => {
            codings.next().is_none() && coding.as_bytes().eq_ignore_ascii_case(b"chunked")
        }
        (Some(_), Some(_)) => false,
    }
}
