//! A connection to the site while a response comes over it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hyper::client::conn::http1::SendRequest;

use super::request::RequestBody;
use crate::connections::Counted;

/// Connections nobody uses, the last used behind.
pub(crate) type Idle = Mutex<Vec<(Instant, SendRequest<RequestBody>)>>;

/// A connection in use; dropped without [`Lease::give_back`] it is closed.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) sender: SendRequest<RequestBody>,
    /// Whether it was used before: the site may be closing it.
    pub(crate) is_kept: bool,
    /// Makes its back end busier by one.
    pub(crate) counted: Counted,
    pub(crate) max_idle: usize,
    pub(crate) home: Arc<Idle>,
}

impl Lease {
    /// The answer was read to its end: the connection may serve another request. One that is still
    /// taking a request body, or was told to close, is not ready and goes.
    pub(crate) fn give_back(self) {
        if self.sender.is_ready() {
            let mut idle = self.home.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < self.max_idle {
                idle.push((Instant::now(), self.sender));
            }
        }
    }
}
