//! The command line.

mod config_file;
pub(crate) mod php_hook;
#[cfg(feature = "recording")]
pub(crate) mod record;
#[cfg(feature = "recording")]
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod sign;

use std::error::Error;

use clap::{Parser, Subcommand};

pub(crate) use config_file::ConfigFile;

/// Why a command ends without having done what it was asked for.
pub(crate) type Failure = Box<dyn Error>;

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
    Run(run::Run),
    /// Check a config file and what it names, and report every error.
    Check {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Print a PHP file for the site: the hook that defines PULL_USER_ID, with this site's keys, or a class.
    PhpHook(php_hook::PhpHook),
    /// Sign channels: prints CHANNEL_ID values for subscribers.
    Sign(sign::Sign),
    #[cfg(feature = "recording")]
    Replay(replay::Replay),
    #[cfg(feature = "recording")]
    Record(record::Record),
}
