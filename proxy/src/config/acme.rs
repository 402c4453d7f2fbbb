//! `[acme]`: the authority from which certificates are got (RFC 8555).

use std::path::PathBuf;

/// `[acme]`: for listeners with `tls = { acme = [ … ] }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acme {
    /// Where the authority says what it offers. Default Let's Encrypt's.
    pub(crate) directory: String,
    /// Whom the authority may write to. Default nobody.
    pub(crate) contact: Option<String>,
    /// A PEM file of the authority by which the directory's own certificate is believed. Default: the system's.
    pub(crate) authorities: Option<PathBuf>,
    /// How it is proved that a host is ours. Default `http-01`.
    pub(crate) challenge: Challenge,
}

/// `acme.challenge`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// By a page below `/.well-known/acme-challenge/`, at port 80.
    Http,
    /// By a certificate in a handshake, at port 443 (RFC 8737).
    TlsAlpn,
}
