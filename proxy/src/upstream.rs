//! Forwards a request to the site and streams its answer back.

pub(crate) mod headers;
pub(crate) mod pool;
pub(crate) mod tunnel;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, Uri, Version, request};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use crate::body::{Body, Streamed};
use crate::error::Error;
use pool::{Lease, Pool};

/// A request's body on its way to the site; trailers end here, PHP cannot see them.
#[derive(Debug)]
pub(crate) enum RequestBody {
    Empty,
    Whole(Option<Bytes>),
    Streamed(Streamed),
}

impl RequestBody {
    /// What comes from the client, which may not fall silent for longer than this.
    pub(crate) fn of(body: Incoming, longest_silence: Duration) -> Self {
        if body.is_end_stream() {
            Self::Empty
        } else {
            Self::Streamed(Streamed::new(body, longest_silence))
        }
    }

    /// What was read already.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        match bytes.is_empty() {
            true => Self::Empty,
            false => Self::Whole(Some(bytes)),
        }
    }
}

/// Sends one prepared request. `parts` already carries the headers for the site.
pub(crate) async fn forward(
    pool: &Pool,
    mut parts: request::Parts,
    mut body: RequestBody,
) -> Result<Response<Body>, Error> {
    in_origin_form(&mut parts);
    // An idle connection may close just as we write to it. What is idempotent and bodiless goes again.
    let repeatable = matches!(body, RequestBody::Empty)
        && matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
    loop {
        let (mut lease, kept) = match pool.idle() {
            Some(lease) => (lease, true),
            None => (pool.connect().await?, false),
        };
        let again = (kept && repeatable).then(|| parts.clone());
        let request = Request::from_parts(parts, body);
        let sent = lease.sender.try_send_request(request);
        match pool.answer(sent).await? {
            Ok(response) => return Ok(streamed(pool, response, lease)),
            Err(mut failed) if kept => match (failed.take_message(), again) {
                (Some(unsent), _) => (parts, body) = unsent.into_parts(),
                (None, Some(again)) => (parts, body) = (again, RequestBody::Empty),
                (None, None) => return Err(Error::Upstream(failed.into_error())),
            },
            Err(failed) => return Err(Error::Upstream(failed.into_error())),
        }
    }
}

/// Path and query alone, as a server gets them (RFC 9112 3.2.1).
fn in_origin_form(parts: &mut request::Parts) {
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = path.parse::<Uri>().unwrap_or_default();
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
}

fn streamed(pool: &Pool, response: Response<Incoming>, lease: Lease) -> Response<Body> {
    response.map(|body| {
        if body.is_end_stream() {
            lease.give_back();
            return Body::empty();
        }
        Body::Upstream(Streamed::new(body, pool.response_timeout()), Some(lease))
    })
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Streamed(body) => Pin::new(body).poll_frame(cx).map(|frame| match frame {
                Some(Ok(frame)) if frame.is_trailers() => None,
                other => other,
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes) => bytes.is_none(),
            Self::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Streamed(body) => body.size_hint(),
        }
    }
}
