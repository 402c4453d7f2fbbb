//! What proves to the authority that the hosts are ours: a page by HTTP (RFC 8555 8.3), or a certificate of a TLS
//! handshake (RFC 8737).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

/// Where the authority asks for a page.
const PATH: &str = "/.well-known/acme-challenge/";

/// The protocol that the authority names in its handshake, alone (RFC 8737 6.2).
pub(crate) const PROTOCOL: &[u8] = b"acme-tls/1";

/// What is asked for now; mostly nothing.
#[derive(Default)]
pub(crate) struct Challenges(Mutex<Shown>);

#[derive(Default)]
struct Shown {
    /// By the token.
    pages: HashMap<String, String>,
    /// By the host.
    certificates: HashMap<String, Arc<CertifiedKey>>,
}

/// A challenge that can be answered, until this is dropped.
pub(super) struct Showing<'a> {
    challenges: &'a Challenges,
    what: What,
}

enum What {
    Page(String),
    Certificate(String),
}

impl Challenges {
    /// What the authority reads at this path, if it is one of its own. All others are the site's.
    pub(crate) fn page(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix(PATH)?;
        self.shown().pages.get(token).cloned()
    }

    /// What it is shown that asks by [`PROTOCOL`].
    pub(crate) fn certificate(&self, host: &str) -> Option<Arc<CertifiedKey>> {
        self.shown().certificates.get(host).cloned()
    }

    pub(super) fn show_page(&self, token: &str, page: &str) -> Showing<'_> {
        self.shown().pages.insert(token.to_owned(), page.to_owned());
        Showing {
            challenges: self,
            what: What::Page(token.to_owned()),
        }
    }

    /// `digest` is SHA-256 of what the page would be.
    pub(super) fn show_certificate(
        &self,
        host: &str,
        digest: &[u8],
    ) -> Result<Showing<'_>, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::new([host.to_owned()])?;
        parameters.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let certificate = parameters.self_signed(&key)?;
        let certified = certified(certificate.der(), &key);
        let certified = certified.ok_or(rcgen::Error::RemoteKeyError)?;
        let certificates = &mut self.shown().certificates;
        certificates.insert(host.to_owned(), Arc::new(certified));
        Ok(Showing {
            challenges: self,
            what: What::Certificate(host.to_owned()),
        })
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Showing<'_> {
    fn drop(&mut self) {
        let mut shown = self.challenges.shown();
        match &self.what {
            What::Page(token) => shown.pages.remove(token).is_some(),
            What::Certificate(host) => shown.certificates.remove(host).is_some(),
        };
    }
}

/// A certificate that was made here, with its key.
pub(super) fn certified(certificate: &CertificateDer<'_>, key: &KeyPair) -> Option<CertifiedKey> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = any_supported_type(&key).ok()?;
    Some(CertifiedKey::new(
        vec![certificate.clone().into_owned()],
        key,
    ))
}
