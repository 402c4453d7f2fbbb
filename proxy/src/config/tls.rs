//! `listener.tls`: by which certificates a listener speaks TLS.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::sign::CertifiedKey;

/// `tls = { … }` of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    /// At least one. The first is for clients that name no host, or one that no certificate is for.
    pub(crate) certificates: Vec<Certificate>,
    /// For so long browsers are to come by https alone (RFC 6797). Default none: they are not told.
    pub(crate) hsts: Option<Duration>,
}

/// Where a certificate is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Certificate {
    File(Certified),
    /// One for these hosts, which pullgate gets and renews by itself (`[acme]`).
    Acme(Vec<String>),
}

/// A certificate with its chain and key, as it was when the configuration was read.
#[derive(Clone)]
pub(crate) struct Certified {
    /// The hosts that it is for, in lower case; `*.` stands for one label.
    pub(crate) names: Vec<String>,
    /// With the OCSP response to staple, if there is one (RFC 6066 8).
    pub(crate) certified: Arc<CertifiedKey>,
}

/// A key belongs to one certificate, so that is what is compared.
impl PartialEq for Certified {
    fn eq(&self, other: &Self) -> bool {
        let (this, other) = (&self.certified, &other.certified);
        this.cert == other.cert && this.ocsp == other.ocsp
    }
}

impl Eq for Certified {}

impl fmt::Debug for Certified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certified").field(&self.names).finish()
    }
}
