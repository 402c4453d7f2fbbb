//! `tls` of a `[[listener]]`: certificates are read with the file that names them, so that one that cannot be used is
//! an error of that file, and a reload reads them again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::report::{Mismatch, expected};
use super::section::Section;
use super::units::days;
use super::value::{Value, quoted};
use super::{acme, outside};
use crate::clock::unix_time;
use crate::config::{Certificate, Certified, Tls, validity};

/// So long before its end a certificate should have been renewed.
const RENEWED_BEFORE: u64 = 14;

const CHAIN: &str =
    "a PEM file of a certificate and those that signed it, such as \"fullchain.pem\"";
const KEY: &str = "a PEM file of the certificate's key, such as \"privkey.pem\"";
const OCSP: &str = "a file of an OCSP response";

/// `None`: the listener speaks without, or nothing of it can be used.
pub(super) fn tls(listener: &mut Section<'_>) -> Option<Tls> {
    if !listener.has("tls") {
        // The key is known all the same.
        let _ = listener.value("tls");
        return None;
    }
    listener.section("tls", |s| {
        let hsts = s.duration_or_zero("hsts", Duration::ZERO);
        let certificates = match s.has("certificates") {
            true => several(s),
            false => {
                let _ = s.value("certificates");
                certificate(s).into_iter().collect()
            }
        };
        Some(Tls {
            certificates,
            hsts: (!hsts.is_zero()).then_some(hsts),
        })
    })
}

fn several(s: &mut Section<'_>) -> Vec<Certificate> {
    for key in ["cert", "key", "ocsp", "acme"] {
        if let Some(value) = s.value(key) {
            value.error(expected("it among certificates, as there are several"));
        }
    }
    let certificates = s.sections("certificates", certificate);
    certificates.into_iter().flatten().flatten().collect()
}

/// `None` after an error.
fn certificate(s: &mut Section<'_>) -> Option<Certificate> {
    if s.has("acme") {
        for key in ["cert", "key", "ocsp"] {
            if let Some(value) = s.value(key) {
                value.error(expected("it or acme, not both"));
            }
        }
        let hosts = s.filled_list("acme", Vec::new(), acme::host);
        return (!hosts.is_empty()).then_some(Certificate::Acme(hosts));
    }
    let _ = s.value("acme");
    let chain = s.required("cert", CHAIN, chain);
    let key = s.required("key", KEY, key);
    let beside = s
        .value("cert")
        .and_then(|value| beside(&path(&value).ok()?));
    let ocsp = s.read("ocsp", beside, |value| read(value, OCSP).map(Some));
    let (chain, key) = (chain?, key?);
    let mut certified = CertifiedKey::new(chain, any_supported_type(&key).ok()?);
    if certified.keys_match().is_err() {
        let found = "a key of another certificate";
        s.error(
            "key",
            Mismatch::new(found, "the key of the first one in cert"),
        );
        return None;
    }
    certified.ocsp = ocsp;
    let names = names(certified.cert.first()?);
    Some(Certificate::File(Certified {
        names,
        certified: Arc::new(certified),
    }))
}

/// The certificate comes first, as clients get them.
fn chain(value: &Value<'_>) -> Result<Vec<CertificateDer<'static>>, Mismatch> {
    let path = path(value)?;
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).and_then(|certificates| certificates.collect());
    let chain = chain.map_err(|error| unreadable(value, &error, CHAIN))?;
    let first = chain
        .first()
        .ok_or_else(|| unreadable(value, &pem::Error::NoItemsFound, CHAIN))?;
    let validity = validity(first).ok_or_else(|| {
        let found = format!("{}: not a certificate", value.found());
        Mismatch::new(found, CHAIN)
    })?;
    warn_of_its_end(value, validity.end);
    Ok(chain)
}

fn warn_of_its_end(value: &Value<'_>, end: jiff::Timestamp) {
    let now = i64::try_from(unix_time().as_secs()).unwrap_or(i64::MAX);
    let left = u64::try_from(end.as_second().saturating_sub(now));
    match left {
        Err(_) => value.warn(format!("this certificate has ended at {end}")),
        Ok(left) if left < days(RENEWED_BEFORE).as_secs() => {
            value.warn(format!("this certificate ends at {end}"));
        }
        Ok(_) => {}
    }
}

fn key(value: &Value<'_>) -> Result<PrivateKeyDer<'static>, Mismatch> {
    let path = path(value)?;
    outside::secret_file(value, &path);
    let key = PrivateKeyDer::from_pem_file(path);
    let key = key.map_err(|error| unreadable(value, &error, KEY))?;
    match any_supported_type(&key) {
        Ok(_) => Ok(key),
        Err(_) => {
            let found = format!("{}: a key of another kind", value.found());
            Err(Mismatch::new(found, "a key of RSA, ECDSA or Ed25519"))
        }
    }
}

/// What renewing tools leave beside a certificate.
fn beside(certificate: &Path) -> Option<Vec<u8>> {
    let mut path = certificate.as_os_str().to_owned();
    path.push(".ocsp");
    std::fs::read(path).ok()
}

fn read(value: &Value<'_>, form: &str) -> Result<Vec<u8>, Mismatch> {
    let path = path(value)?;
    std::fs::read(path).map_err(|error| unreadable(value, &pem::Error::Io(error), form))
}

fn path(value: &Value<'_>) -> Result<PathBuf, Mismatch> {
    Ok(value.reading().path(value.text("a path")?))
}

fn unreadable(value: &Value<'_>, error: &pem::Error, form: &str) -> Mismatch {
    let why = match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "nothing of the kind is in it".to_owned(),
        pem::Error::MissingSectionEnd { .. }
        | pem::Error::IllegalSectionStart { .. }
        | pem::Error::Base64Decode(_)
        | pem::Error::SectionTooLarge
        | _ => error.to_string(),
    };
    let name = value.node.as_str().map(quoted).unwrap_or_default();
    Mismatch::new(format!("{name}: {why}"), form)
}

/// The hosts that a certificate is for. One without any can only be the first.
fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else {
        return Vec::new();
    };
    let names = certificate.valid_dns_names();
    names.map(str::to_ascii_lowercase).collect()
}
