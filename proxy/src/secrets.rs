//! The two secrets of a site: as configured, or generated once into its state directory.

use std::path::Path;

use pullgate_compat::guest::GuestKeys;
use pullgate_compat::signature::SignatureKey;

use crate::config::Site;
use crate::state;

type Failure = Box<dyn std::error::Error>;

/// What to do about a secret that is neither configured nor generated yet.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Missing {
    /// Generate it: the server, which runs as the user who is to own it.
    Generate,
    /// Fail: every other command, which may be run by anybody.
    Refuse,
}

/// Signs and verifies channels.
pub(crate) fn signature_key(
    site: &Site,
    directory: &Path,
    missing: Missing,
) -> Result<SignatureKey, Failure> {
    let key = match &site.push.signature_key {
        Some(key) => key.0.clone(),
        None => generated(directory, "signature.key", "push.signature_key", missing)?,
    };
    Ok(SignatureKey::new(site.push.signature_algo, &key))
}

/// One that is kept nowhere: nobody else has it.
pub(crate) fn unkept_signature_key(site: &Site) -> Result<SignatureKey, Failure> {
    let key = state::random_secret()?;
    Ok(SignatureKey::new(site.push.signature_algo, &key))
}

/// Sign and verify guests' cookies and tokens.
pub(crate) fn guest_keys(
    site: &Site,
    directory: &Path,
    missing: Missing,
) -> Result<GuestKeys, Failure> {
    let secrets = site.guest.secrets.iter();
    let mut secrets: Vec<String> = secrets.map(|secret| secret.0.clone()).collect();
    if secrets.is_empty() {
        let secret = generated(directory, "guest.secret", "guest.secrets", missing)?;
        secrets.push(secret);
    }
    Ok(GuestKeys::derive(&secrets, site.label())?)
}

/// `key` is where the secret could be configured.
fn generated(directory: &Path, file: &str, key: &str, missing: Missing) -> Result<String, Failure> {
    if let Some(secret) = state::stored_secret(directory, file)? {
        return Ok(secret);
    }
    let path = directory.join(file);
    let path = path.display();
    match missing {
        Missing::Generate => {
            let secret = state::generate_secret(directory, file)?;
            tracing::warn!("no {key}: one was generated in {path}");
            Ok(secret)
        }
        Missing::Refuse => Err(format!(
            "{key} is not set, and there is no {path} yet: pullgate run generates it when it first starts"
        )
        .into()),
    }
}
