//! Bodies: what we answer ourselves, and what streams through.

pub(crate) mod buffer;
pub(crate) mod lease;
mod pace;
pub(crate) mod request;

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use crate::config::Terms;
use crate::limits::{Place, Reason};
use lease::Lease;
pub(crate) use pace::Pace;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A response body.
pub(crate) struct Body {
    content: Content,
    /// Of its request, which counts until all of it has been taken.
    _place: Option<Place>,
}

enum Content {
    /// Ours, whole.
    Full(Option<Bytes>),
    /// The site's; its connection goes back to the pool behind the last byte.
    Upstream(Streamed, Option<Lease>),
    /// Ours, as it comes.
    Pieces(Pin<Box<dyn Stream<Item = Bytes> + Send>>),
    /// Any of them, from within [`crate::layers`].
    Layered(UnsyncBoxBody<Bytes, BoxError>),
}

impl Body {
    pub(crate) fn empty() -> Self {
        Content::Full(None).into()
    }

    /// The site's. What was leased goes back to the pool behind the last byte.
    pub(crate) fn upstream(body: Streamed, lease: Lease) -> Self {
        Content::Upstream(body, Some(lease)).into()
    }

    /// Ours, as it comes.
    pub(crate) fn pieces(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Content::Pieces(Box::pin(pieces)).into()
    }

    /// What [`crate::layers`] have made of one.
    pub(crate) fn layered(body: UnsyncBoxBody<Bytes, BoxError>) -> Self {
        Content::Layered(body).into()
    }

    /// The same, holding the place of its request until all of it has been taken.
    pub(crate) fn counted(self, place: Option<Place>) -> Self {
        Self {
            _place: place,
            ..self
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<Content> for Body {
    fn from(content: Content) -> Self {
        Self {
            content,
            _place: None,
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Content::Full((!bytes.is_empty()).then_some(bytes)).into()
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.content {
            Content::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Upstream(body, lease) => {
                let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
                if (frame.is_none() || body.is_end_stream())
                    && let Some(lease) = lease.take()
                {
                    lease.give_back();
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Content::Pieces(pieces) => {
                let piece = ready!(pieces.as_mut().poll_next(cx));
                Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
            }
            Content::Layered(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Full(bytes) => bytes.is_none(),
            Content::Upstream(body, _) => body.is_end_stream(),
            Content::Pieces(_) => false,
            Content::Layered(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Content::Upstream(body, _) => body.size_hint(),
            Content::Pieces(_) => SizeHint::default(),
            Content::Layered(body) => body.size_hint(),
        }
    }
}

/// A peer's body that may not fall silent: the time runs only while somebody waits for a frame.
#[derive(Debug)]
pub(crate) struct Streamed {
    body: Incoming,
    pace: Pace,
    /// Bytes; more are an error. 0: any.
    max: usize,
    silence: Option<Pin<Box<Sleep>>>,
}

/// Why a peer's body did not come whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("no byte of it came for {0:?}")]
    Silent(Duration),
    #[error("it came slower than {0} bytes a second")]
    Slow(usize),
    #[error("it is larger than {0} bytes")]
    TooLarge(usize),
    #[error("it is broken: {}", cause(.0))]
    Broken(hyper::Error),
    #[error("the peer broke it off: {}", cause(.0))]
    Aborted(hyper::Error),
}

impl BodyError {
    /// The limit by which it was refused, if it was one.
    pub(crate) fn limit(&self) -> Option<Reason> {
        match self {
            Self::TooLarge(_) => Some(Reason::Body),
            Self::Slow(_) => Some(Reason::BodyRate),
            Self::Silent(_) | Self::Broken(_) | Self::Aborted(_) => None,
        }
    }
}

/// What hyper's error is about: by itself it says "error reading a body".
fn cause(error: &hyper::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

impl From<hyper::Error> for BodyError {
    fn from(error: hyper::Error) -> Self {
        let kind = error
            .source()
            .and_then(|source| source.downcast_ref::<io::Error>())
            .map(io::Error::kind);
        match kind {
            // hyper's decoder: chunks and trailers that are none.
            Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => Self::Broken(error),
            Some(_) | None => Self::Aborted(error),
        }
    }
}

impl Streamed {
    pub(crate) fn new(body: Incoming, pace: Pace) -> Self {
        Self {
            body,
            pace,
            max: 0,
            silence: None,
        }
    }

    /// The same, and more than so many bytes are an error. 0: any.
    pub(crate) fn at_most(self, max: usize) -> Self {
        Self { max, ..self }
    }

    /// A client's, on its way to the site.
    ///
    /// # Errors
    ///
    /// When its head says already that it is too large.
    pub(crate) fn of_client(body: Incoming, terms: &Terms) -> Result<Self, BodyError> {
        let pace = Pace::new(terms.body_timeout, terms.min_body_rate);
        let length = body.size_hint().lower();
        let body = Self::new(body, pace).at_most(terms.max_body);
        match body.is_too_large(length.try_into().unwrap_or(usize::MAX)) {
            true => Err(BodyError::TooLarge(body.max)),
            false => Ok(body),
        }
    }

    fn is_too_large(&self, bytes: usize) -> bool {
        self.max != 0 && bytes > self.max
    }
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.silence = None;
            if let Some(Ok(frame)) = &frame {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                self.pace.came(bytes, Instant::now());
                if self.is_too_large(self.pace.received()) {
                    return Poll::Ready(Some(Err(BodyError::TooLarge(self.max))));
                }
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)));
        }
        let this = &mut *self;
        let silence = this.silence.get_or_insert_with(|| {
            let patience = this.pace.wait(Instant::now());
            Box::pin(tokio::time::sleep(patience))
        });
        ready!(silence.as_mut().poll(cx));
        Poll::Ready(Some(Err(self.pace.too_slow())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
