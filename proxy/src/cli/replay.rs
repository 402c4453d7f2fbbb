//! `pullgate replay`: recordings are played again, and what differs is printed.

use std::path::PathBuf;

use clap::Args;
use pullgate_recording::client::Target;
use pullgate_recording::replay::{Options, replay};

use super::Failure;

/// Play recordings again against a running push server and report what differs.
///
/// Each step is played as it was recorded and not earlier, so a recording takes as long as it did. Statuses,
/// bodies, websocket frames, close codes and the headers that clients depend on are compared, timers of at least
/// 10 s too; ids and times must have their form. The exit status is 1 if a difference is not allowed.
///
/// The target needs the recorded site's signature key, the recorded server's limits and timers
/// (`push.poll_timeout`, `push.ping_interval`), a history without these channels, and a listener that may publish.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Recordings (*.json), and folders of them
    #[arg(required = true)]
    recordings: Vec<PathBuf>,
    /// The server, as http://host:port
    #[arg(long, value_name = "URL")]
    target: Target,
    /// A reviewed list of differences (TOML), each `[[difference]]` with recording, steps (from 0) and line, the
    /// number of the reason in docs/compatibility.md; what is listed and does not show is a failure too
    #[arg(long, value_name = "FILE")]
    allow: Option<PathBuf>,
    /// How many recordings to play at the same time; only one where they share channels
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    jobs: u16,
}

/// Plays them all.
///
/// # Errors
/// When a recording cannot be read, or does not come out as recorded or as allowed.
pub(crate) fn run(arguments: Replay) -> Result<(), Failure> {
    let options = Options {
        recordings: arguments.recordings,
        target: arguments.target,
        allow: arguments.allow,
        jobs: arguments.jobs.into(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let totals = runtime.block_on(replay(&options, |outcome| {
        if !outcome.is_equal() {
            println!("{outcome}");
        }
    }))?;
    println!("{totals}");
    match totals.failed {
        0 => Ok(()),
        _ => Err("what came is not what was recorded".into()),
    }
}
