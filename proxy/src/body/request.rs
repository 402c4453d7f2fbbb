//! A request's body on its way to the site, and who keeps the other waiting.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::vec;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::buffer::Buffer;
use super::{BodyError, Streamed};
use crate::config::Terms;

/// A request's body; trailers end here, PHP cannot see them.
#[derive(Debug)]
pub(crate) enum RequestBody {
    Empty,
    Whole(Option<Bytes>),
    /// What has come already goes first.
    Streamed(vec::IntoIter<Bytes>, Streamed, Arc<Upload>),
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
        Self::Streamed(Vec::new().into_iter(), body, Arc::new(upload))
    }

    /// Reads it to its end, if the terms say so: the site is not asked before, however slow the client is. What turns
    /// out to be larger, or finds no memory, goes on as it comes.
    pub(crate) async fn buffered(self, terms: &Terms) -> Result<Self, BodyError> {
        let Self::Streamed(ahead, mut body, upload) = self else {
            return Ok(self);
        };
        let most = terms.buffer_requests as u64;
        if most == 0 || body.size_hint().lower() > most {
            return Ok(Self::Streamed(ahead, body, upload));
        }
        let mut buffer = Buffer::default();
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame?.into_data() else {
                break;
            };
            if !buffer.push(&piece, terms) {
                let mut ahead = vec![buffer.into(), piece];
                ahead.retain(|piece: &Bytes| !piece.is_empty());
                return Ok(Self::Streamed(ahead.into_iter(), body, upload));
            }
        }
        Ok(Self::whole(buffer.into()))
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
            Self::Streamed(_, _, upload) => Some(Arc::clone(upload)),
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
        let (ahead, body, upload) = match &mut *self {
            Self::Empty => return Poll::Ready(None),
            Self::Whole(bytes) => {
                return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))));
            }
            Self::Streamed(ahead, body, upload) => (ahead, body, upload),
        };
        let frame = match ahead.next() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None => Pin::new(body).poll_frame(cx),
        };
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
            Self::Streamed(ahead, body, _) => ahead.len() == 0 && body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Streamed(ahead, body, _) => {
                let ahead = ahead.as_slice().iter().map(Bytes::len).sum::<usize>() as u64;
                let mut hint = body.size_hint();
                if let Some(upper) = hint.upper() {
                    hint.set_upper(upper.saturating_add(ahead));
                }
                hint.set_lower(hint.lower().saturating_add(ahead));
                hint
            }
        }
    }
}
