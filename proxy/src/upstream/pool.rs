//! Connections to the site, kept for reuse. Each core has a pool of its own.

use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http::{Response, request};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::SendRequest;
use pullgate_compat::guest::GuestId;
use tokio::time::{self, timeout_at};

use super::back_ends::{BackEnd, BackEnds, Chosen};
use super::connect::connect;
use crate::body::lease::{Idle, Lease};
use crate::body::request::{RequestBody, Upload};
use crate::config::{Origin, Upstream};
use crate::error::Error;

type Sent = Result<Response<Incoming>, TrySendError<http::Request<RequestBody>>>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    config: Upstream,
    /// Those of the site, which all cores share.
    back_ends: Arc<BackEnds>,
    /// This core's connections that nobody uses, by back end.
    idle: Vec<Arc<Idle>>,
}

/// Where one request has gone so far.
#[derive(Debug)]
pub(crate) struct Attempts {
    /// The back ends to which a new connection was made, or could not be: each is asked for one once.
    tried: Vec<usize>,
    /// Whose request it is.
    guest: Option<GuestId>,
}

impl Attempts {
    /// None yet, of a request whose guest is among its extensions, if it is a guest's.
    pub(crate) fn of(parts: &request::Parts) -> Self {
        Self {
            tried: Vec::new(),
            guest: parts.extensions.get().copied(),
        }
    }
}

impl Pool {
    pub(crate) fn new(config: Upstream, back_ends: &Arc<BackEnds>) -> Self {
        Self {
            config,
            back_ends: Arc::clone(back_ends),
            idle: back_ends.all().iter().map(|_| Arc::default()).collect(),
        }
    }

    /// A connection to the back end that is next, one that was used or a new one.
    pub(crate) async fn lease(&self, attempts: &mut Attempts) -> Result<Lease, Error> {
        let chosen = self.choose(attempts).ok_or(Error::NoBackEnd)?;
        match self.idle(&chosen) {
            Some(lease) => Ok(lease),
            None => self.connect_from(chosen, attempts).await,
        }
    }

    /// A new connection to the back end that is next.
    pub(crate) async fn connect(&self, attempts: &mut Attempts) -> Result<Lease, Error> {
        let chosen = self.choose(attempts).ok_or(Error::NoBackEnd)?;
        self.connect_from(chosen, attempts).await
    }

    /// Whether no back end is left that was not tried.
    pub(crate) fn all_tried(&self, attempts: &Attempts) -> bool {
        attempts.tried.len() >= self.back_ends.all().len()
    }

    fn choose(&self, attempts: &Attempts) -> Option<Chosen> {
        self.back_ends.choose(&attempts.tried, attempts.guest)
    }

    /// To this back end, or else to another.
    async fn connect_from(
        &self,
        mut chosen: Chosen,
        attempts: &mut Attempts,
    ) -> Result<Lease, Error> {
        let health = &self.config.health;
        loop {
            attempts.tried.push(chosen.index);
            let error = match self.connect_to(&chosen).await {
                Ok(lease) => {
                    chosen.reached();
                    return Ok(lease);
                }
                Err(error @ Error::ConnectTimeout(_)) => {
                    chosen.unreachable(true, health);
                    error
                }
                Err(error @ Error::Connect(_)) => {
                    chosen.unreachable(false, health);
                    error
                }
                // It is not the back end's.
                Err(error) => return Err(error),
            };
            chosen = self.choose(attempts).ok_or(error)?;
        }
    }

    /// The connection to a back end used last, if one is still fresh.
    fn idle(&self, chosen: &Chosen) -> Option<Lease> {
        let home = self.idle.get(chosen.index).filter(|_| !chosen.is_probe)?;
        let mut idle = home.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((since, sender)) = idle.pop() {
            if since.elapsed() > self.config.idle_timeout {
                idle.clear();
                return None;
            }
            if sender.is_ready() {
                return Some(Lease {
                    is_kept: true,
                    ..self.leased(sender, chosen, home)
                });
            }
        }
        None
    }

    async fn connect_to(&self, chosen: &Chosen) -> Result<Lease, Error> {
        let home = self.idle.get(chosen.index).ok_or(Error::NoBackEnd)?;
        let sender = connect(&chosen.origin, self.config.connect_timeout).await?;
        Ok(self.leased(sender, chosen, home))
    }

    /// Waits for an answer as long as the site may take: from the last piece of the request's body on, and never
    /// while it is the client that keeps us waiting for the next one.
    pub(crate) async fn answer(
        &self,
        sent: impl Future<Output = Sent>,
        upload: Option<&Upload>,
        longest: Duration,
    ) -> Result<Sent, Error> {
        let mut sent = pin!(sent);
        let mut until = time::Instant::now() + longest;
        loop {
            if let Ok(sent) = timeout_at(until, sent.as_mut()).await {
                return Ok(sent);
            }
            let now = time::Instant::now();
            until = match upload {
                Some(upload) => upload.site_since().unwrap_or(now) + longest,
                None => now,
            };
            if until <= now {
                return Err(Error::ResponseTimeout(longest));
            }
        }
    }

    pub(crate) fn tunnel_timeout(&self) -> Duration {
        self.config.tunnel_timeout
    }

    /// What stands in `Host` for a client that sent none (HTTP/1.0).
    pub(crate) fn host(&self) -> String {
        let first = self.config.origins.first();
        first.map(Origin::host).unwrap_or_default()
    }

    fn leased(
        &self,
        sender: SendRequest<RequestBody>,
        back_end: &BackEnd,
        home: &Arc<Idle>,
    ) -> Lease {
        Lease {
            sender,
            is_kept: false,
            counted: back_end.count(),
            max_idle: self.config.max_idle,
            home: Arc::clone(home),
        }
    }
}
