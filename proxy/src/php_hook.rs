//! `pullgate php-hook`: the PHP files for the site, as in `compat/php`.

use http::HeaderName;

use crate::Failure;
use crate::cli::{ConfigFile, PhpFile};
use crate::secrets::{self, Missing};

/// The hook, with a marker where its keys go.
const HOOK: &str = include_str!("../../compat/php/pull_hit.php");
const GUEST: &str = include_str!("../../compat/php/Guest.php");
const STACK: &str = include_str!("../../compat/php/Stack.php");
const KEYS_MARKER: &str = "/* pullgate:keys */";
const PUSH_MARKER: &str = "true /* pullgate:push */";

/// The text of a file. The hook gets this site's keys, if there is a config file.
pub(crate) fn text(
    file: PhpFile,
    config: &ConfigFile,
    site: Option<&str>,
) -> Result<String, Failure> {
    Ok(match file {
        PhpFile::Hook if config.is_there() => hook(config, site)?,
        PhpFile::Hook => HOOK.to_owned(),
        PhpFile::Guest => GUEST.to_owned(),
        PhpFile::Stack => STACK.to_owned(),
    })
}

fn hook(config: &ConfigFile, site: Option<&str>) -> Result<String, Failure> {
    let (site, directory) = crate::load(config)?.site(site)?;
    let keys: Vec<String> = secrets::guest_keys(&site, &directory, Missing::Refuse)?
        .token_keys_hex()
        .iter()
        .map(|key| format!("'{key}'"))
        .collect();
    let guest = &site.guest;
    Ok(HOOK
        .replace(KEYS_MARKER, &keys.join(", "))
        .replace(
            PUSH_MARKER,
            &(guest.enabled && guest.push.enabled).to_string(),
        )
        .replace("HTTP_PULL_USER_ID", &server_variable(&guest.header))
        .replace(
            "HTTP_PULL_USER_TOKEN",
            &server_variable(&guest.token_header),
        ))
}

/// Where PHP shows a request header: `$_SERVER`'s key (RFC 3875 4.1.18).
fn server_variable(header: &HeaderName) -> String {
    format!("HTTP_{}", header.as_str().to_uppercase().replace('-', "_"))
}
