//! `[[listener]]`: where connections come in, and what for.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::Tls;

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The site, subscribing and client publishing; `pub` and `stat` for `publish_allow` only.
    Site,
    /// Every push endpoint, nothing of the site. Not for the internet.
    Publish,
    /// Metrics, health and the status page.
    Admin,
}

/// Where a listener binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// `host:port`; port 0 takes a free one, which the log names.
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

/// One `[[listener]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) address: Address,
    pub(crate) role: Role,
    /// The site that it is for, whatever `Host` says. Default none: `Host` decides, where it counts.
    pub(crate) site: Option<String>,
    /// Whether trusted proxies, and nobody else, come here, each connection with a PROXY header. Default false.
    pub(crate) proxy_protocol: bool,
    /// Default none: in the clear.
    pub(crate) tls: Option<Tls>,
    /// `redirect = "https"`: what comes in the clear is sent to the same address by https. Default none.
    pub(crate) redirects: bool,
}
