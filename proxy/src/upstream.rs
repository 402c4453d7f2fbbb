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
    Streamed(Streamed),
}

/// Sends one prepared request. `parts` already carries the headers for the site.
pub(crate) async fn forward(
    pool: &Pool,
    mut parts: request::Parts,
    body: Incoming,
    body_timeout: Duration,
) -> Result<Response<Body>, Error> {
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = path.parse::<Uri>().unwrap_or_default();
    parts.version = Version::HTTP_11;
    parts.extensions.clear();

    let bodiless = body.is_end_stream();
    let mut body = if bodiless {
        RequestBody::Empty
    } else {
        RequestBody::Streamed(Streamed::new(body, body_timeout))
    };
    // An idle connection may close just as we write to it. What is idempotent and bodiless goes again.
    let repeatable =
        bodiless && matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
    while let Some(mut lease) = pool.idle() {
        let again = repeatable.then(|| parts.clone());
        match pool
            .answer(
                lease
                    .sender
                    .try_send_request(Request::from_parts(parts, body)),
            )
            .await?
        {
            Ok(response) => return Ok(streamed(pool, response, lease)),
            Err(mut failed) => match (failed.take_message(), again) {
                (Some(unsent), _) => (parts, body) = unsent.into_parts(),
                (None, Some(again)) => (parts, body) = (again, RequestBody::Empty),
                (None, None) => return Err(Error::Upstream(failed.into_error())),
            },
        }
    }
    let mut lease = pool.connect().await?;
    match pool
        .answer(
            lease
                .sender
                .try_send_request(Request::from_parts(parts, body)),
        )
        .await?
    {
        Ok(response) => Ok(streamed(pool, response, lease)),
        Err(failed) => Err(Error::Upstream(failed.into_error())),
    }
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
            Self::Streamed(body) => Pin::new(body).poll_frame(cx).map(|frame| match frame {
                Some(Ok(frame)) if frame.is_trailers() => None,
                other => other,
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed(body) => body.size_hint(),
        }
    }
}
