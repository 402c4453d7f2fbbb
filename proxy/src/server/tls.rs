//! TLS of a listener (RFC 8446, and 5246 for those that know nothing newer), and which certificate a client is shown.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::acme::challenge;
use crate::acme::{Acme, Managed};
use crate::config::{Certificate, Listener, Tls};
use crate::net::watched::Watched;

/// What a session may hold encrypted that the socket has not taken, bytes: one record.
const MAX_UNSENT: usize = 16 << 10;

/// The protocols that a client may choose from by ALPN (RFC 7301), the first being preferred.
const PROTOCOLS: [&[u8]; 3] = [HTTP2, b"http/1.1", challenge::PROTOCOL];

const HTTP2: &[u8] = b"h2";

type Failure = Box<dyn std::error::Error>;

/// A listener, and how its connections are secured.
#[derive(Debug)]
pub(crate) struct Serves {
    pub(crate) listener: Arc<Listener>,
    /// `None`: not at all.
    pub(super) tls: Option<Arc<ServerConfig>>,
}

impl Serves {
    /// # Errors
    ///
    /// When the system has no randomness to make keys of, or no certificate can stand in for one that is still to come.
    pub(crate) fn new(listener: Arc<Listener>, acme: &Arc<Acme>) -> Result<Self, Failure> {
        let tls = listener.tls.as_ref();
        let tls = tls.map(|tls| server_config(tls, acme)).transpose()?;
        Ok(Self { listener, tls })
    }
}

/// TLS 1.2 and 1.3. No early data, which could be sent again by somebody else; no client certificates.
fn server_config(tls: &Tls, acme: &Arc<Acme>) -> Result<Arc<ServerConfig>, Failure> {
    let certificates = Arc::new(Certificates::new(tls, acme)?);
    let provider = Arc::new(ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.ticketer = ring::Ticketer::new()?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(Arc::new(config))
}

/// Carries a handshake out. It takes as long as the client does.
pub(super) async fn accept(
    config: Arc<ServerConfig>,
    stream: Watched,
) -> io::Result<Box<TlsStream<Watched>>> {
    let limited = |session: &mut rustls::ServerConnection| {
        session.set_buffer_limit(Some(MAX_UNSENT));
    };
    let accepted = TlsAcceptor::from(config)
        .accept_with(stream, limited)
        .await?;
    Ok(Box::new(accepted))
}

/// Whether the client only looked at the answer to a challenge: nothing is said (RFC 8737 3).
pub(super) fn is_challenge(stream: &TlsStream<Watched>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(challenge::PROTOCOL)
}

/// Whether the client chose HTTP/2.
pub(super) fn is_http2(stream: &TlsStream<Watched>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP2)
}

/// The certificates of a listener by the names that they are for.
struct Certificates {
    by_name: HashMap<String, Shown>,
    /// The first.
    default: Option<Shown>,
    acme: Arc<Acme>,
}

/// What a client is shown.
#[derive(Clone)]
enum Shown {
    Read(Arc<CertifiedKey>),
    Managed(Arc<Managed>),
}

impl Shown {
    fn certified(&self) -> Arc<CertifiedKey> {
        match self {
            Self::Read(certified) => Arc::clone(certified),
            Self::Managed(managed) => managed.certified(),
        }
    }
}

impl Certificates {
    fn new(tls: &Tls, acme: &Arc<Acme>) -> Result<Self, Failure> {
        let mut by_name = HashMap::new();
        let mut default = None;
        for certificate in &tls.certificates {
            let (names, shown) = match certificate {
                Certificate::File(file) => (&file.names, Shown::Read(Arc::clone(&file.certified))),
                Certificate::Acme(hosts) => (hosts, Shown::Managed(acme.certificate(hosts)?)),
            };
            for name in names {
                let entry = by_name.entry(name.clone());
                entry.or_insert_with(|| shown.clone());
            }
            default.get_or_insert(shown);
        }
        Ok(Self {
            by_name,
            default,
            acme: Arc::clone(acme),
        })
    }

    /// That of the very name, or else the one for all beside it (RFC 6125 6.4.3), or else the first.
    fn find(&self, name: Option<&str>) -> Option<&Shown> {
        let exact = |name: &str| self.by_name.get(name);
        let wildcard = |name: &str| exact(&format!("*.{}", name.split_once('.')?.1));
        let found = name.and_then(|name| exact(name).or_else(|| wildcard(name)));
        found.or(self.default.as_ref())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let mut protocols = hello.alpn().into_iter().flatten();
        // The authority names no other, and is shown its challenge or nothing (RFC 8737 3).
        if protocols.next() == Some(challenge::PROTOCOL) && protocols.next().is_none() {
            return self.acme.challenges.certificate(&name?);
        }
        self.find(name.as_deref()).map(Shown::certified)
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}
