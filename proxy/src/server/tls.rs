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

use crate::config::{Listener, Tls};
use crate::net::watched::Watched;

/// What a session may hold encrypted that the socket has not taken, bytes: one record.
const MAX_UNSENT: usize = 16 << 10;

/// The protocols that a client may choose from by ALPN (RFC 7301), the first being preferred.
const PROTOCOLS: [&[u8]; 2] = [HTTP2, b"http/1.1"];

const HTTP2: &[u8] = b"h2";

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
    /// When the system has no randomness to make keys of.
    pub(crate) fn new(listener: Arc<Listener>) -> Result<Self, rustls::Error> {
        let tls = listener.tls.as_ref().map(server_config).transpose()?;
        Ok(Self { listener, tls })
    }
}

/// TLS 1.2 and 1.3. No early data, which could be sent again by somebody else; no client certificates.
fn server_config(tls: &Tls) -> Result<Arc<ServerConfig>, rustls::Error> {
    let certificates = Arc::new(Certificates::new(tls));
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

/// Whether the client chose HTTP/2.
pub(super) fn is_http2(stream: &TlsStream<Watched>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP2)
}

/// The certificates of a listener by the names that they are for.
struct Certificates {
    by_name: HashMap<String, Arc<CertifiedKey>>,
    /// The first.
    default: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    fn new(tls: &Tls) -> Self {
        let mut by_name = HashMap::new();
        for certificate in &tls.certificates {
            for name in &certificate.names {
                let certified = || Arc::clone(&certificate.certified);
                by_name.entry(name.clone()).or_insert_with(certified);
            }
        }
        let first = tls.certificates.first();
        Self {
            by_name,
            default: first.map(|first| Arc::clone(&first.certified)),
        }
    }

    /// That of the very name, or else the one for all beside it (RFC 6125 6.4.3), or else the first.
    fn find(&self, name: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let exact = |name: &str| self.by_name.get(name);
        let wildcard = |name: &str| exact(&format!("*.{}", name.split_once('.')?.1));
        let found = name.and_then(|name| exact(name).or_else(|| wildcard(name)));
        found.or(self.default.as_ref())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        self.find(name.as_deref()).cloned()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}
