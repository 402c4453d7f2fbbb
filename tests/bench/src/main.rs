//! Measures pullgate beside its peers, each on the same work and in turn, and says which goals are reached. `scripts/bench` is
//! how to run it; docs/benchmarks is what it writes.
//!
//! | module | what it has |
//! |---|---|
//! | [`plan`] | the table of cases: who is measured at which work |
//! | [`goals`] | the table of goals |
//! | [`servers`] | how each server is started, with which configuration |
//! | [`process`] | a server's processes: CPU, memory, their end |
//! | [`load`] | the work: what is sent, and that everything comes back |
//! | [`run`] | one run: everybody in turn, medians |
//! | [`report`], [`plot`] | what is written of it |

#![allow(
    clippy::print_stdout,
    reason = "what was measured goes to standard output"
)]

mod figures;
mod goals;
mod load;
mod plan;
mod plot;
mod process;
mod report;
mod run;
mod servers;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// What went wrong, in words: whatever it is, it ends the run.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Measures pullgate beside nginx, HAProxy and nchan.
#[derive(Parser)]
struct Arguments {
    /// One short round of each, to see whether everything runs: its figures mean nothing
    #[arg(long)]
    quick: bool,
    /// How often each is measured; medians are taken
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Which pullgate
    #[arg(long, value_name = "FILE", default_value = "target/release/pullgate")]
    pullgate: PathBuf,
    /// Where the report goes
    #[arg(long, value_name = "FOLDER", default_value = "docs/benchmarks")]
    into: PathBuf,
    /// These cases alone; without any, all
    case: Vec<String>,
}

fn main() -> ExitCode {
    match bench(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(arguments: &Arguments) -> Result<()> {
    process::raise_limit()?;
    let cases = plan::cases(&arguments.case)?;
    let rounds = if arguments.quick { 1 } else { arguments.rounds };
    let length = run::Length::of(arguments.quick);
    let measured = run::measure(&cases, rounds, &length, &arguments.pullgate)?;
    let judged = goals::judge(&cases, &measured);
    println!("{}", goals::text(&judged));
    // A glance, or a part, is no report.
    if !arguments.quick && arguments.case.is_empty() {
        report::write(&arguments.into, &cases, &measured, &judged, rounds)?;
    }
    let failed = measured.iter().filter(|one| one.figures.is_err()).count();
    if failed > 0 {
        return Err(format!("{failed} entries could not be measured").into());
    }
    Ok(())
}
