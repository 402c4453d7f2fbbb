//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

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
        settings: Settings,
        /// Where the site is, without a config file: http://host:port or unix:/path
        #[arg(long, required_unless_present = "config", conflicts_with = "config")]
        upstream: Option<String>,
        /// Address of the site listener, without a config file
        #[arg(long, conflicts_with = "config")]
        listen: Option<String>,
        /// State directory, without a config file
        #[arg(long, conflicts_with = "config")]
        state_dir: Option<PathBuf>,
    },
    /// Check a config file and report every fault.
    Check {
        /// The config file
        #[arg(long, default_value = "pullgate.toml")]
        config: PathBuf,
    },
    /// Print the PHP hook that defines PULL_USER_ID, with this site's keys.
    PhpHook {
        #[command(flatten)]
        settings: Settings,
    },
    /// Sign channels: prints CHANNEL_ID values for subscribers.
    Sign {
        /// The config file
        #[arg(long, default_value = "pullgate.toml")]
        config: PathBuf,
        /// `private` or `private:public`, 32 lower-case hex digits each
        #[arg(required = true)]
        channels: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// The config file
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
}
