//! Ends a response that its client does not take, at the word of somebody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

/// Shared by what writes a response, which waits for the client, and by whoever may end it. Who takes what is written
/// never looks at it.
#[derive(Debug, Default, Clone)]
pub(crate) struct CutOff(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_cut: AtomicBool,
    /// Of the task that waits for the client.
    waiting: AtomicWaker,
}

impl CutOff {
    /// The connection ends, or the stream of HTTP/2, if its client has not taken all.
    pub(crate) fn cut(&self) {
        self.0.is_cut.store(true, Ordering::Release);
        self.0.waiting.wake();
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.0.is_cut.load(Ordering::Acquire)
    }

    /// Ready when it is cut off.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        self.0.waiting.register(cx.waker());
        match self.is_cut() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}
