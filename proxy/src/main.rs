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
mod error;
mod guest;
mod history;
mod hub;
mod layers;
mod log;
mod net;
mod php_hook;
mod process;
mod push;
mod route;
mod secrets;
mod server;
mod signals;
mod site;
mod state;
mod statistics;
mod upstream;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use cli::{Cli, Command, ConfigFile};
use config::{Config, Role, file};
use process::{Connections, Process, Serving};
use secrets::Missing;
use server::Server;
use site::{Site, Sites};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn Error>;

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
        Command::Run {
            config,
            upstream: None,
            ..
        } => run(logged(&config)?),
        Command::Run {
            upstream: Some(upstream),
            listen,
            state_dir,
            ..
        } => {
            let mut config = file::defaults(&upstream);
            // No port is opened that nobody asked for.
            config
                .listeners
                .retain(|listener| listener.role == Role::Site);
            if let (Some(listen), Some(site)) = (listen, config.listeners.first_mut()) {
                site.address = listen;
            }
            if let Some(state_dir) = state_dir {
                config.server.state_dir = state_dir;
            }
            log::start(&config.log);
            tracing::info!(
                "without a config file the site alone is served: no publishing, no metrics"
            );
            run(config)
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
        Command::PhpHook { config, site, file } => {
            print!("{}", php_hook::text(file, &config, site.as_deref())?);
            Ok(())
        }
        Command::Sign {
            config,
            site,
            channels,
        } => {
            let (site, directory) = load(&config)?.site(site.as_deref())?;
            let key = secrets::signature_key(&site, &directory, Missing::Refuse)?;
            for channel in channels {
                println!("{channel}.{}", key.sign(&channel));
            }
            Ok(())
        }
        #[cfg(feature = "recording")]
        Command::Replay(arguments) => cli::replay::run(arguments),
        #[cfg(feature = "recording")]
        Command::Record(arguments) => {
            log::start(&config::Log {
                level: "info".to_owned(),
                format: config::LogFormat::Text,
                access: false,
            });
            raise_file_limit();
            cli::record::run(arguments, signals::stop()?)
        }
    }
}

/// The configuration; what is odd about it goes to standard error.
fn load(config: &ConfigFile) -> Result<Config, Failure> {
    let (config, warnings) = file::load(&config.path())?;
    for warning in warnings {
        eprintln!("{warning}");
    }
    Ok(config)
}

/// The same, and the log is started; what is odd or wrong goes there.
fn logged(config: &ConfigFile) -> Result<Config, Failure> {
    match file::load(&config.path()) {
        Ok((config, warnings)) => {
            log::start(&config.log);
            for warning in warnings {
                tracing::warn!("{warning:#}");
            }
            Ok(config)
        }
        Err(errors) => {
            log::start(&errors.log);
            for error in &errors.found {
                tracing::error!("{error:#}");
            }
            Err("the configuration cannot be used; pullgate check shows where".into())
        }
    }
}

fn run(config: Config) -> Result<(), Failure> {
    let stop = signals::stop()?;
    raise_file_limit();
    let cores = match config.server.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let connections = Connections::default();
    let server = Arc::new(config.server);
    let open = |site| Site::open(site, &server, &config.history, cores, &connections).map(Arc::new);
    let sites: Vec<Arc<Site>> = config
        .sites
        .into_iter()
        .map(open)
        .collect::<Result<_, _>>()?;
    let serving = Serving {
        server: Arc::clone(&server),
        access_log: config.log.access,
        sites: Sites::new(sites),
    };
    let process = Arc::new(Process::new(serving, connections));
    let (server, runtimes) = Server::new(&process, cores, stop)?;
    let listeners = config.listeners.into_iter().map(Arc::new);
    let _open: Vec<_> = listeners
        .map(|listener| server.listen(&listener))
        .collect::<Result<_, _>>()?;
    for site in process.serving().sites.all() {
        server.start(site);
    }
    server.run(runtimes);
    for site in process.serving().sites.all() {
        site.hub.archive().close();
    }
    tracing::info!("stopped");
    Ok(())
}

/// A file descriptor per connection: as many as the system allows.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if setrlimit(Resource::Nofile, raised).is_err() {
        tracing::warn!(
            limit = limit.current,
            "the limit on open files could not be raised"
        );
    }
}
