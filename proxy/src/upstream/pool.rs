//! Connections to the site, kept for reuse. Each core has a pool of its own.

use std::io;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http::Response;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{self, timeout, timeout_at};

use crate::body::lease::{Idle, Lease};
use crate::body::request::{RequestBody, Upload};
use crate::config::{Origin, Upstream};
use crate::error::Error;
use crate::net::Stream;

/// Lines in the head of a response: hyper takes 100 by itself, and a site may set more cookies.
const MAX_HEADERS: usize = 256;

type Sent = Result<Response<Incoming>, TrySendError<http::Request<RequestBody>>>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    config: Upstream,
    idle: Arc<Idle>,
}

impl Pool {
    pub(crate) fn new(config: Upstream) -> Self {
        Self {
            config,
            idle: Arc::default(),
        }
    }

    /// The connection used last, if one is still fresh.
    pub(crate) fn idle(&self) -> Option<Lease> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((since, sender)) = idle.pop() {
            if since.elapsed() > self.config.idle_timeout {
                idle.clear();
                return None;
            }
            if sender.is_ready() {
                return Some(self.lease(sender));
            }
        }
        None
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> Result<Lease, Error> {
        let stream = self.open().await?;
        let (sender, connection) = http1::Builder::new()
            .title_case_headers(true)
            .max_headers(MAX_HEADERS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(Error::Upstream)?;
        tokio::spawn(async move {
            // What goes wrong here, the request under way is told.
            let _ = connection.with_upgrades().await;
        });
        Ok(self.lease(sender))
    }

    /// Waits for an answer as long as the site may take: from the last piece of the request's body on, and never
    /// while it is the client that keeps us waiting for the next one.
    pub(crate) async fn answer(
        &self,
        sent: impl Future<Output = Sent>,
        upload: Option<&Upload>,
    ) -> Result<Sent, Error> {
        let longest = self.config.response_timeout;
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

    pub(crate) fn response_timeout(&self) -> Duration {
        self.config.response_timeout
    }

    pub(crate) fn tunnel_timeout(&self) -> Duration {
        self.config.tunnel_timeout
    }

    /// What stands in `Host` for a client that sent none (HTTP/1.0).
    pub(crate) fn host(&self) -> String {
        match &self.config.origin {
            Origin::Tcp { host, .. } => host.clone(),
            Origin::Unix(_) => "localhost".to_owned(),
        }
    }

    async fn open(&self) -> Result<Stream, Error> {
        let wait = self.config.connect_timeout;
        let opened: io::Result<Stream> = match &self.config.origin {
            Origin::Tcp { host, port } => timeout(wait, TcpStream::connect((host.as_str(), *port)))
                .await
                .map_err(|_| Error::ConnectTimeout(wait))?
                .and_then(|stream| stream.set_nodelay(true).map(|()| Stream::Tcp(stream))),
            Origin::Unix(path) => timeout(wait, UnixStream::connect(path))
                .await
                .map_err(|_| Error::ConnectTimeout(wait))?
                .map(Stream::Unix),
        };
        match opened {
            Ok(stream) if stream.is_reserved() => Err(Error::Descriptors),
            Ok(stream) => Ok(stream),
            Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::MFILE | Errno::NFILE) => Err(Error::Descriptors),
                Some(_) | None => Err(Error::Connect(error)),
            },
        }
    }

    fn lease(&self, sender: SendRequest<RequestBody>) -> Lease {
        Lease::new(sender, self.config.max_idle, &self.idle)
    }
}
