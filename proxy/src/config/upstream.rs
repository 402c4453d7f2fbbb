//! `[upstream]`: the site behind pullgate.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::Health;

/// Where the site is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `http://host:port`; a name is looked up at every new connection.
    Tcp { host: String, port: u16 },
    /// `unix:/path`, HTTP over a unix socket.
    Unix(PathBuf),
}

impl Origin {
    /// What stands in `Host` where nobody says anything else.
    pub(crate) fn host(&self) -> String {
        match self {
            Self::Tcp { host, .. } if host.contains(':') => format!("[{host}]"),
            Self::Tcp { host, .. } => host.clone(),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }
}

/// As it is written.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "http://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "http://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `upstream.sticky`: who keeps to one back end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sticky {
    Nobody,
    /// Whoever has a guest's number.
    Guest,
}

/// `[upstream]`: the site behind pullgate.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Upstream {
    /// `url` or `urls`, the only key without a default: at least one, each another.
    pub(crate) origins: Vec<Origin>,
    /// Default 5 s.
    pub(crate) connect_timeout: Duration,
    /// Longest silence of the site: before its response head, and within a body. Default 300 s.
    pub(crate) response_timeout: Duration,
    /// Largest request body, bytes. Default 0: any.
    pub(crate) max_body: usize,
    /// Request bodies of up to so many bytes are read before the site is asked. Default 0: none.
    pub(crate) buffer_requests: usize,
    /// Longest silence of both sides of a websocket of the site. Default 1 h.
    pub(crate) tunnel_timeout: Duration,
    /// How long an idle connection is kept for reuse. Default 4 s, less than Apache's 5 s.
    pub(crate) idle_timeout: Duration,
    /// Idle connections kept for reuse, per thread. Default 64.
    pub(crate) max_idle: usize,
    /// Default: nobody.
    pub(crate) sticky: Sticky,
    pub(crate) health: Health,
}
