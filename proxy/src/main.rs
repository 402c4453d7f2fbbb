//! pullgate: a reverse proxy and push server for PHP sites.
//!
//! Read [`server::request`] for the way of a request, [`hub`] for the way of a message.

// What answers a request holds what holds what … the files of history, more than 128 types deep.
#![recursion_limit = "256"]
#![allow(
    clippy::print_stdout,
    reason = "what a command was asked for goes to standard output"
)]

mod acme;
mod admin;
mod body;
mod cli;
mod clock;
mod config;
mod connections;
mod error;
mod files;
mod guest;
mod health;
mod history;
mod hub;
mod layers;
mod limits;
mod log;
mod net;
mod notify;
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
mod upgrade;
mod upstream;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;

use acme::Acme;
use cli::{Cli, Command, Failure};
use config::{Config, file};
use connections::Connections;
use hub::memory::Queues;
use notify::MoreTime;
use process::{Process, Serving};
use reload::Running;
use server::Server;
use server::inherited::Inherited;
use upgrade::Predecessor;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long a store that was closed may still be held.
const HELD: Duration = Duration::from_secs(10);

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
            // Before there is a second thread: the environment is changed.
            let mut predecessor = Predecessor::of_this_process()?;
            let inherited = match &mut predecessor {
                Some(predecessor) => predecessor.sockets()?.into(),
                None => Inherited::from_service_manager(),
            };
            let (file, config) = arguments.config()?;
            run(file, config, inherited, predecessor)
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

/// Serves, and reads `file` again when it is told to. In the place of `predecessor`, if there is one.
fn run(
    file: Option<PathBuf>,
    config: Config,
    inherited: Inherited,
    mut predecessor: Option<Predecessor>,
) -> Result<(), Failure> {
    let signals = signals::catch()?;
    let limit = connections::raise_limit();
    tracing::info!(limit, "the limit on open files");
    let cores = match config.server.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let connections = Connections::default();
    let queues = Arc::new(Queues::new(config.server.queues_memory));
    let more_time = MoreTime::ask();
    let serving = match &mut predecessor {
        None => Serving::open(&config, cores, &connections, &queues)?,
        Some(predecessor) => {
            predecessor.wait_for_release();
            open_released(&config, cores, &connections, &queues)?
        }
    };
    let acme = Acme::new(config.acme.clone(), config.server.state_dir.join("acme"));
    let process = Arc::new(Process::new(serving, connections, queues, acme));
    let (server, runtimes) = Server::new(&process, cores, &signals.phases, inherited)?;
    let server = Arc::new(server);
    let running = Running::start(file, config, &process, &server, &signals.phases)?;
    std::thread::spawn(move || running.follow(&signals.orders));
    let acme = Arc::clone(&process.acme);
    server.spawn(async move { acme.keep().await });
    health::report(&process, &server);
    drop(more_time);
    if let Some(predecessor) = predecessor {
        predecessor.ready();
    }
    notify::ready();
    server.run(runtimes);
    let _more_time = MoreTime::ask();
    for site in process.serving().sites.all() {
        site.hub.archive().close();
    }
    tracing::info!("stopped");
    Ok(())
}

/// Opens what another process has closed just now: reads that were under way there may hold a store for a moment.
fn open_released(
    config: &Config,
    cores: usize,
    connections: &Connections,
    queues: &Arc<Queues>,
) -> Result<Serving, Failure> {
    let until = Instant::now() + HELD;
    loop {
        match Serving::open(config, cores, connections, queues) {
            Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
            opened => return opened,
        }
    }
}
