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
    /// Play recordings again against a running push server and report what differs.
    ///
    /// Each step is played as it was recorded and not earlier; a recording takes as long as it took then. The target
    /// needs the recorded site's signature key and limits, the recorded server's timers (`push.poll_timeout`,
    /// `push.ping_interval`), nothing in its history, and a listener that may publish. Recordings that share channels
    /// must not be played at the same time.
    Replay {
        /// Recordings (*.json), and folders of them
        #[arg(required = true)]
        recordings: Vec<PathBuf>,
        /// The server: http://host:port
        #[arg(long)]
        target: pullgate_recording::client::Target,
        /// A reviewed list of differences that are no failures (TOML); steps count from 0
        #[arg(long)]
        allow: Option<PathBuf>,
        /// How many recordings are played at the same time
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
        jobs: u16,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// The config file
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
}
