//! The command line.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use pullgate_compat::channel::{ChannelId, PublicId};

use crate::config::{Address, Origin};
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
        /// Which one
        #[arg(value_enum, default_value = "pull_hit.php")]
        file: PhpFile,
    },
    /// Sign channels: prints CHANNEL_ID values for subscribers.
    Sign {
        #[command(flatten)]
        config: ConfigFile,
        /// `private` or `private:public`, 32 lower-case hex digits each
        #[arg(required = true, value_parser = channel)]
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

fn channel(text: &str) -> Result<String, String> {
    let (private, public) = match text.split_once(':') {
        Some((private, public)) => (private, Some(public)),
        None => (text, None),
    };
    let is_channel = ChannelId::parse(private).is_some()
        && public.is_none_or(|public| PublicId::parse(public).is_some());
    is_channel.then(|| text.to_owned()).ok_or_else(|| {
        "expected 32 lower-case hex digits, or two such ids joined by \":\"".to_owned()
    })
}
