//! `[upstream]`: the site behind pullgate.

use std::path::PathBuf;
use std::time::Duration;

/// Where the site is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `http://host:port`; a name is looked up at every new connection.
    Tcp { host: String, port: u16 },
    /// `unix:/path`, HTTP over a unix socket.
    Unix(PathBuf),
}

/// `[upstream]`: the site behind pullgate.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Upstream {
    /// The only key without a default.
    pub(crate) origin: Origin,
    /// Default 5 s.
    pub(crate) connect_timeout: Duration,
    /// Longest silence of the site: before its response head, and within a body. Default 300 s.
    pub(crate) response_timeout: Duration,
    /// Longest silence of both sides of a websocket of the site. Default 1 h.
    pub(crate) tunnel_timeout: Duration,
    /// How long an idle connection is kept for reuse. Default 4 s, less than Apache's 5 s.
    pub(crate) idle_timeout: Duration,
    /// Idle connections kept for reuse, per thread. Default 64.
    pub(crate) max_idle: usize,
}
