//! `pullgate record`: reads its command line and leaves the rest to `pullgate-recording`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use pullgate_compat::signature::Algorithm;
use pullgate_recording::record::{self, Limits, Options, PushPaths, Upstream, Way};

use super::Failure;
use crate::config::{Address, Log, LogFormat, Origin, file};
use crate::phase::Phase;
use crate::{connections, log, signals};

/// Stand in front of a push server and write down what passes, for `pullgate replay`.
#[derive(Debug, Args)]
pub(crate) struct Record {
    /// Where clients connect to: IP:port. With several, the first goes with the first --upstream, and so on
    #[arg(long, required = true)]
    listen: Vec<Address>,
    /// The server to record: http://host:port or unix:/path
    #[arg(long, required = true)]
    upstream: Vec<Origin>,
    /// Folder for the recording
    #[arg(long)]
    out: PathBuf,
    /// Name of the recording; default: recording-YYYYMMDD-HHMMSS
    #[arg(long)]
    name: Option<String>,
    /// Replace ids, signatures, message bodies, cookies and addresses by substitutes of the same length
    #[arg(long, requires = "signature_key_file")]
    mask: bool,
    /// File with the site's signature key
    #[arg(long)]
    signature_key_file: Option<PathBuf>,
    /// Hash under the signatures
    #[arg(long, default_value = "sha1")]
    signature_algo: Algorithm,
    /// Stop after that long, such as 10m; default: at Ctrl-C or SIGTERM
    #[arg(long = "for", value_parser = file::duration)]
    how_long: Option<Duration>,
    /// Record no more than that many steps
    #[arg(long, default_value_t = Limits::default().steps)]
    max_steps: u64,
    /// Record no more than that much, such as 64MiB
    #[arg(long, default_value = "64MiB", value_parser = file::size)]
    max_size: usize,
    /// Path prefix of publishing, instead of /bitrix/pub/; may be repeated, as those below
    #[arg(long = "pub")]
    publish: Vec<String>,
    /// Path prefix of subscribing, instead of /bitrix/sub/ and /bitrix/subws/
    #[arg(long = "sub")]
    subscribe: Vec<String>,
    /// Path prefix of publishing by browsers, instead of /bitrix/rest/ and /bitrix/pubweb/
    #[arg(long)]
    rest: Vec<String>,
    /// Path prefix of the statistics, instead of /server-stat/
    #[arg(long)]
    stat: Vec<String>,
}

/// Records until the process is told to stop.
pub(crate) fn run(arguments: Record) -> Result<(), Failure> {
    log::start(&Log {
        level: "info".to_owned(),
        format: LogFormat::Text,
        access: false,
    });
    connections::raise_limit();
    let mut phase = signals::catch()?.phases.watch();
    let how_long = arguments.how_long;
    let options = options(arguments)?;
    record::record(options, async move {
        let signal = phase.reached(Phase::Draining);
        match how_long {
            Some(how_long) => drop(tokio::time::timeout(how_long, signal).await),
            None => signal.await,
        }
    })?;
    Ok(())
}

fn options(arguments: Record) -> Result<Options, Failure> {
    if arguments.listen.len() != arguments.upstream.len() {
        return Err("each --listen needs its --upstream".into());
    }
    let ways = arguments
        .listen
        .into_iter()
        .zip(arguments.upstream)
        .map(|(listen, upstream)| {
            Ok(Way {
                listen: tcp(&listen)?,
                upstream: server(upstream),
            })
        })
        .collect::<Result<_, Failure>>()?;
    let key = match &arguments.signature_key_file {
        Some(path) => {
            let key = std::fs::read_to_string(path)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            let key = key.strip_suffix('\n').unwrap_or(&key);
            Some(key.strip_suffix('\r').unwrap_or(key).to_owned())
        }
        None => None,
    };
    let defaults = PushPaths::default();
    let or = |given: Vec<String>, default| if given.is_empty() { default } else { given };
    Ok(Options {
        ways,
        directory: arguments.out,
        name: arguments.name,
        paths: PushPaths {
            publish: or(arguments.publish, defaults.publish),
            subscribe: or(arguments.subscribe, defaults.subscribe),
            rest: or(arguments.rest, defaults.rest),
            stat: or(arguments.stat, defaults.stat),
        },
        limits: Limits {
            steps: arguments.max_steps,
            bytes: arguments.max_size as u64,
        },
        key,
        algorithm: arguments.signature_algo,
        mask: arguments.mask,
    })
}

fn tcp(address: &Address) -> Result<SocketAddr, Failure> {
    match address {
        Address::Tcp(address) => Ok(*address),
        Address::Unix(_) => Err("--listen takes an IP address with a port only".into()),
    }
}

fn server(origin: Origin) -> Upstream {
    match origin {
        Origin::Tcp { host, port } if host.contains(':') => {
            Upstream::Tcp(format!("[{host}]:{port}"))
        }
        Origin::Tcp { host, port } => Upstream::Tcp(format!("{host}:{port}")),
        Origin::Unix(path) => Upstream::Unix(path),
    }
}
