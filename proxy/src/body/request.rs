//! A request's body on its way to the site, and who keeps the other waiting.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use super::{BodyError, Streamed};

/// A request's body; trailers end here, PHP cannot see them.
#[derive(Debug)]
pub(crate) enum RequestBody {
    Empty,
    Whole(Option<Bytes>),
    Streamed(Streamed, Arc<Upload>),
}

/// A streamed body as seen from beside it: hyper's own task carries it.
#[derive(Debug)]
pub(crate) struct Upload(Mutex<Turn>);

/// Whose silence it is that we hear.
#[derive(Debug)]
enum Turn {
    /// The site has had nothing to do but read since then.
    Site(Instant),
    /// The next piece of the body is for the client to send.
    Client,
    /// The client's body broke off, so the request to the site did, too.
    Over(Option<BodyError>),
}

impl Upload {
    /// Since when the site is silent, if it is the site's turn.
    pub(crate) fn site_since(&self) -> Option<Instant> {
        match *self.turn() {
            Turn::Site(since) => Some(since),
            Turn::Client | Turn::Over(_) => None,
        }
    }

    /// Why the body broke off, once.
    pub(crate) fn error(&self) -> Option<BodyError> {
        match &mut *self.turn() {
            Turn::Over(error) => error.take(),
            Turn::Site(_) | Turn::Client => None,
        }
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RequestBody {
    /// What comes from the client.
    pub(crate) fn of(body: Streamed) -> Self {
        if body.is_end_stream() {
            return Self::Empty;
        }
        let upload = Upload(Mutex::new(Turn::Site(Instant::now())));
        Self::Streamed(body, Arc::new(upload))
    }

    /// What was read already.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        match bytes.is_empty() {
            true => Self::Empty,
            false => Self::Whole(Some(bytes)),
        }
    }

    pub(crate) fn upload(&self) -> Option<Arc<Upload>> {
        match self {
            Self::Empty | Self::Whole(_) => None,
            Self::Streamed(_, upload) => Some(Arc::clone(upload)),
        }
    }
}

/// What the site is told of a body that broke off: nothing, its connection ends.
#[derive(Debug, thiserror::Error)]
#[error("the client's body broke off")]
pub(crate) struct BrokenOff;

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let (body, upload) = match &mut *self {
            Self::Empty => return Poll::Ready(None),
            Self::Whole(bytes) => {
                return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))));
            }
            Self::Streamed(body, upload) => (body, upload),
        };
        let frame = Pin::new(body).poll_frame(cx);
        let mut turn = upload.turn();
        if frame.is_pending() {
            *turn = Turn::Client;
        }
        let frame = ready!(frame);
        *turn = Turn::Site(Instant::now());
        Poll::Ready(match frame {
            Some(Ok(frame)) => (!frame.is_trailers()).then_some(Ok(frame)),
            Some(Err(error)) => {
                *turn = Turn::Over(Some(error));
                Some(Err(BrokenOff))
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes) => bytes.is_none(),
            Self::Streamed(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Streamed(body, _) => body.size_hint(),
        }
    }
}
