//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::record::Record;

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
    /// Check a config file and report every error.
    Check {
        /// The config file
        #[arg(long, default_value = "pullgate.toml")]
        config: PathBuf,
    },
    /// Print a PHP file for the site: the hook that defines PULL_USER_ID, with this site's keys, or a class.
    PhpHook {
        #[command(flatten)]
        settings: Settings,
        /// Which one
        #[arg(value_enum, default_value = "pull_hit.php")]
        file: PhpFile,
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
    /// Each step is played as it was recorded and not earlier, so a recording takes as long as it did. Statuses,
    /// bodies, websocket frames, close codes and the headers that clients depend on are compared, timers of at least
    /// 10 s too; ids and times must have their form. The exit status is 1 if a difference is not allowed.
    ///
    /// The target needs the recorded site's signature key, the recorded server's limits and timers
    /// (`push.poll_timeout`, `push.ping_interval`), a history without these channels, and a listener that may publish.
    Replay {
        /// Recordings (*.json), and folders of them
        #[arg(required = true)]
        recordings: Vec<PathBuf>,
        /// The server, as http://host:port
        #[arg(long, value_name = "URL")]
        target: pullgate_recording::client::Target,
        /// A reviewed list of differences (TOML), each `[[difference]]` with recording, steps (from 0) and line, the
        /// number of the reason in docs/compatibility.md; what is listed and does not show is a failure too
        #[arg(long, value_name = "FILE")]
        allow: Option<PathBuf>,
        /// How many recordings to play at the same time; only one where they share channels
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
        jobs: u16,
    },
    /// Stand in front of a push server and write down what passes, for `pullgate replay`.
    Record(Record),
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

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// The config file
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
}
