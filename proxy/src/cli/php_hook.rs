//! `pullgate php-hook`: the PHP files for the site, as in `compat/php`.

use clap::{Args, ValueEnum};
use http::HeaderName;

use super::{ConfigFile, Failure};
use crate::secrets::{self, Missing};

/// The hook, with a marker where its keys go.
const HOOK: &str = include_str!("../../../compat/php/pull_hit.php");
const GUEST: &str = include_str!("../../../compat/php/Guest.php");
const STACK: &str = include_str!("../../../compat/php/Stack.php");
const KEYS_MARKER: &str = "/* pullgate:keys */";
const PUSH_MARKER: &str = "true /* pullgate:push */";

/// Which file, for whom.
#[derive(Debug, Args)]
pub(crate) struct PhpHook {
    #[command(flatten)]
    config: ConfigFile,
    /// Name of the site; required where there are several
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// Which one
    #[arg(value_enum, default_value = "pull_hit.php")]
    file: PhpFile,
}

/// What a site installs; see compat/php.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum PhpFile {
    /// The hook: verifies the guest's number and defines PULL_USER_ID
    #[value(name = "pull_hit.php")]
    Hook,
    /// Sends messages to guests
    #[value(name = "Guest.php")]
    Guest,
    /// Lets calls of CPullStack reach guests; needs Guest.php beside it
    #[value(name = "Stack.php")]
    Stack,
}

/// Prints the file. The hook gets this site's keys, if there is a config file.
pub(crate) fn run(arguments: &PhpHook) -> Result<(), Failure> {
    let config = &arguments.config;
    match arguments.file {
        PhpFile::Hook if config.is_there() => {
            print!("{}", hook(config, arguments.site.as_deref())?);
        }
        PhpFile::Hook => print!("{HOOK}"),
        PhpFile::Guest => print!("{GUEST}"),
        PhpFile::Stack => print!("{STACK}"),
    }
    Ok(())
}

fn hook(config: &ConfigFile, site: Option<&str>) -> Result<String, Failure> {
    let (site, directory) = config.load()?.site(site)?;
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
