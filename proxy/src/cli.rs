//! The command line.

#[cfg(feature = "recording")]
pub(crate) mod record;
#[cfg(feature = "recording")]
pub(crate) mod replay;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use pullgate_compat::channel::{ChannelId, PublicId};

use crate::config::{Address, Origin};

/// A reverse proxy and push server for PHP sites.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve.
    Run {
        #[command(flatten)]
        config: ConfigFile,
        /// Where the site is, http://host:port or unix:/path: to serve it, and nothing else, without a config file
        #[arg(long, value_name = "URL", conflicts_with = "config")]
        upstream: Option<Origin>,
        /// Address of the only listener, with --upstream; default: 0.0.0.0:80
        #[arg(long, value_name = "ADDRESS", requires = "upstream")]
        listen: Option<Address>,
        /// State directory, with --upstream; default: /var/lib/pullgate
        #[arg(long, value_name = "FOLDER", requires = "upstream")]
        state_dir: Option<PathBuf>,
    },
    /// Check a config file and what it names, and report every error.
    Check {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Print a PHP file for the site: the hook that defines PULL_USER_ID, with this site's keys, or a class.
    PhpHook {
        #[command(flatten)]
        config: ConfigFile,
        /// Whose; required where there are several [[site]]
        #[arg(long, value_name = "NAME")]
        site: Option<String>,
        /// Which one
        #[arg(value_enum, default_value = "pull_hit.php")]
        file: PhpFile,
    },
    /// Sign channels: prints CHANNEL_ID values for subscribers.
    Sign {
        #[command(flatten)]
        config: ConfigFile,
        /// Whose; required where there are several [[site]]
        #[arg(long, value_name = "NAME")]
        site: Option<String>,
        /// A private id of 32 lower-case hex digits, private:public, or the word public: and a public id
        #[arg(required = true, value_parser = channel)]
        channels: Vec<String>,
    },
    #[cfg(feature = "recording")]
    Replay(replay::Replay),
    #[cfg(feature = "recording")]
    Record(record::Record),
}

/// What a site installs; see compat/php.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PhpFile {
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

/// Which config file; found in the same way by every command.
#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// The config file; default: what the variable PULLGATE_CONFIG names, or pullgate.toml in the current folder
    #[arg(long = "config", id = "config", value_name = "FILE")]
    named: Option<PathBuf>,
}

impl ConfigFile {
    pub(crate) fn path(&self) -> PathBuf {
        self.named().unwrap_or_else(|| "pullgate.toml".into())
    }

    /// Whether one is named, or lies in the current folder.
    pub(crate) fn is_there(&self) -> bool {
        self.named().is_some() || Path::new("pullgate.toml").exists()
    }

    fn named(&self) -> Option<PathBuf> {
        let variable = || std::env::var_os("PULLGATE_CONFIG");
        let named = self.named.clone().or_else(|| variable().map(PathBuf::from));
        named.filter(|path| path.as_os_str() != OsStr::new(""))
    }
}

/// What sites sign: channels, and for protobuf a public id alone.
fn channel(text: &str) -> Result<String, String> {
    let is_public = |id| PublicId::parse(id).is_some();
    let is_private = |id| ChannelId::parse(id).is_some();
    let is_channel = match text.split_once(':') {
        Some(("public", public)) => is_public(public),
        Some((private, public)) => is_private(private) && is_public(public),
        None => is_private(text),
    };
    let form = "expected an id of 32 lower-case hex digits, two joined by \":\", or one behind \"public:\"";
    is_channel
        .then(|| text.to_owned())
        .ok_or_else(|| form.to_owned())
}
