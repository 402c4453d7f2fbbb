//! The files: the account with each authority, and each certificate with its key. For their owner alone.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use instant_acme::AccountCredentials;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};

use super::Failure;
use crate::config;
use crate::files::write_whole;

/// As the authority sent it, and its key; PEM.
pub(super) struct Ordered {
    pub(super) chain: String,
    pub(super) key: String,
}

/// The same, read. Unix seconds.
pub(super) struct Kept {
    pub(super) certified: CertifiedKey,
    pub(super) begins: u64,
    pub(super) ends: u64,
}

/// The folder.
pub(super) struct Store(PathBuf);

impl Store {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    /// The account with the authority of this directory.
    pub(super) fn account(&self, directory: &str) -> Result<Option<AccountCredentials>, Failure> {
        let path = self.account_file(directory);
        let Some(text) = read(&path)? else {
            return Ok(None);
        };
        let account = serde_json::from_str(&text);
        let why = |error: serde_json::Error| Failure::File {
            path,
            why: error.into(),
        };
        account.map(Some).map_err(why)
    }

    pub(super) fn keep_account(
        &self,
        directory: &str,
        account: &AccountCredentials,
    ) -> Result<(), Failure> {
        let path = self.account_file(directory);
        let text = serde_json::to_string(account).map_err(instant_acme::Error::from)?;
        self.write(&path, &text)
    }

    /// The next order begins with a new one.
    pub(super) fn forget_account(&self, directory: &str) -> Result<(), Failure> {
        let path = self.account_file(directory);
        fs::remove_file(&path).map_err(|why| Failure::File { path, why })
    }

    /// The certificate for all of these hosts.
    pub(super) fn certificate(&self, hosts: &[String]) -> Result<Option<Kept>, Failure> {
        let path = self.certificate_file(hosts);
        let Some(text) = read(&path)? else {
            return Ok(None);
        };
        let nonsense = || Failure::File {
            path: path.clone(),
            why: io::ErrorKind::InvalidData.into(),
        };
        let (chain, key) = (text.clone(), text);
        Kept::read(&Ordered { chain, key })
            .ok_or_else(nonsense)
            .map(Some)
    }

    pub(super) fn keep(&self, hosts: &[String], ordered: &Ordered) -> Result<(), Failure> {
        let text = format!("{}{}", ordered.key, ordered.chain);
        self.write(&self.certificate_file(hosts), &text)
    }

    fn account_file(&self, directory: &str) -> PathBuf {
        self.0.join(format!("account-{}.json", short(directory)))
    }

    /// Other hosts are another certificate.
    fn certificate_file(&self, hosts: &[String]) -> PathBuf {
        let first = hosts.first().map_or("", String::as_str);
        self.0
            .join(format!("{first}-{}.pem", short(&hosts.join(","))))
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), Failure> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .and_then(|()| write_whole(path, text.as_bytes(), 0o600))
            .map_err(|why| Failure::File {
                path: path.to_owned(),
                why,
            })
    }
}

impl Kept {
    /// `None` if it is no certificate with its key.
    pub(super) fn read(ordered: &Ordered) -> Option<Self> {
        let chain = CertificateDer::pem_slice_iter(ordered.chain.as_bytes());
        let chain: Vec<_> = chain.collect::<Result<_, _>>().ok()?;
        let key = PrivateKeyDer::from_pem_slice(ordered.key.as_bytes()).ok()?;
        let validity = config::validity(chain.first()?)?;
        let certified = CertifiedKey::new(chain, any_supported_type(&key).ok()?);
        certified.keys_match().ok()?;
        Some(Self {
            certified,
            begins: seconds(validity.start),
            ends: seconds(validity.end),
        })
    }
}

/// Part of a file's name, for what may not be one.
fn short(text: &str) -> String {
    let mut name = HEXLOWER.encode(&Sha256::digest(text));
    name.truncate(16);
    name
}

fn seconds(time: jiff::Timestamp) -> u64 {
    u64::try_from(time.as_second()).unwrap_or(0)
}

fn read(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(Failure::File {
            path: path.to_owned(),
            why,
        }),
    }
}
