//! pullgate: a reverse proxy and push server for PHP sites.
//!
//! Read [`server::request`] for the way of a request, [`hub`] for the way of a message.

#![allow(
    clippy::print_stdout,
    reason = "what a command was asked for goes to standard output"
)]

mod admin;
mod aside;
mod body;
mod cli;
mod clock;
mod config;
mod connections;
mod error;
mod guest;
mod history;
mod hub;
mod layers;
mod log;
mod net;
mod phase;
mod process;
mod push;
mod reload;
mod route;
mod secrets;
mod server;
mod signals;
mod site;
mod state;
mod statistics;
mod upstream;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use cli::{Cli, Command, Failure};
use config::{Config, file};
use connections::Connections;
use process::{Process, Serving};
use reload::Running;
use server::Server;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let ended = match command(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            log::fatal(&failure);
            ExitCode::FAILURE
        }
    };
    log::flush();
    ended
}

fn command(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(arguments) => {
            let (file, config) = arguments.config()?;
            run(file, config)
        }
        Command::Check { config } => {
            let path = config.path();
            let (_, warnings) = file::check(&path)?;
            for warning in warnings {
                eprintln!("{warning}");
            }
            println!("{}: no errors", path.display());
            Ok(())
        }
        Command::PhpHook(arguments) => cli::php_hook::run(&arguments),
        Command::Sign(arguments) => cli::sign::run(&arguments),
        #[cfg(feature = "recording")]
        Command::Replay(arguments) => cli::replay::run(arguments),
        #[cfg(feature = "recording")]
        Command::Record(arguments) => cli::record::run(arguments),
    }
}

/// Serves, and reads `file` again when it is told to.
fn run(file: Option<PathBuf>, config: Config) -> Result<(), Failure> {
    let signals = signals::catch()?;
    connections::raise_limit();
    let cores = match config.server.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let connections = Connections::default();
    let serving = Serving::open(&config, cores, &connections)?;
    let process = Arc::new(Process::new(serving, connections));
    let (server, runtimes) = Server::new(&process, cores, &signals.phases)?;
    let server = Arc::new(server);
    let running = Running::start(file, config, &process, &server)?;
    std::thread::spawn(move || running.follow(&signals.hangups));
    server.run(runtimes);
    for site in process.serving().sites.all() {
        site.hub.archive().close();
    }
    tracing::info!("stopped");
    Ok(())
}
