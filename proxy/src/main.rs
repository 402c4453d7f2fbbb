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
mod config;
mod error;
mod guest;
mod history;
mod hub;
mod layers;
mod log;
mod php_hook;
mod push;
mod route;
mod secrets;
mod server;
mod signals;
mod state;
mod upstream;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use clap::Parser;

use cli::{Cli, Command, ConfigFile};
use config::{Config, Engine, Role, file};
use guest::Guests;
use guest::ids::Ids;
use history::Archive;
use history::disk::{Bounds, Disk};
use history::redis::{Audience, Redis, Settings};
use hub::{Hub, Limits, unix_time};
use push::statistics::Statistics;
use secrets::Missing;
use server::App;
use state::State;

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
            let mut config = file::defaults(upstream);
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
        Command::PhpHook { config, file } => {
            print!("{}", php_hook::text(file, &config)?);
            Ok(())
        }
        Command::Sign { config, channels } => {
            let key = secrets::signature_key(&load(&config)?, Missing::Refuse)?;
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
    let state = Arc::new(State::open(&config.server.state_dir)?);
    let signature = match secrets::signature_key(&config, Missing::Generate) {
        Ok(key) => key,
        Err(why) => {
            tracing::error!(%why, "no signature key can be kept: no signature is good after a restart");
            secrets::unkept_signature_key(&config)?
        }
    };
    let archive = archive(&config)?;
    let shared = match &archive {
        Archive::None | Archive::Disk(_) => None,
        Archive::Redis(redis) => Some(Arc::clone(redis)),
    };
    let guests = match config
        .guest
        .enabled
        .then(|| secrets::guest_keys(&config, Missing::Generate))
    {
        None => None,
        Some(Ok(keys)) => {
            let ids = Ids::start(Arc::clone(&state), config.guest.first_id, shared.clone())?;
            Some(Guests::new(config.guest.clone(), keys, ids))
        }
        Some(Err(why)) => {
            tracing::error!(%why, "guests are not served before the next start: their secret cannot be used");
            None
        }
    };
    // Ids of messages never repeat: each start takes a second that none took before.
    let start = state.message_start(unix_time().as_secs());
    let cores = match config.server.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let limits = Limits {
        connections_per_channel: config.push.limits.max_connections_per_channel,
        message_ttl: config
            .push
            .limits
            .message_ttl
            .as_secs()
            .try_into()
            .unwrap_or(u32::MAX),
        subscriber_queue: config.push.limits.subscriber_queue,
    };
    let hub = Arc::new(Hub::new(
        cores,
        start.try_into()?,
        config.history.max_memory,
        archive,
        limits,
    ));
    if let Some(redis) = shared {
        redis.start(Arc::clone(&hub) as Arc<dyn Audience>)?;
    }
    let app = App {
        hub,
        signature,
        guests,
        statistics: Statistics::default(),
        state,
        connections: AtomicUsize::new(0),
        config,
    };
    let app = Arc::new(app);
    server::run(&app, cores, &stop)?;
    app.hub.archive().close();
    tracing::info!("stopped");
    Ok(())
}

/// Where messages are kept, as configured.
fn archive(config: &Config) -> Result<Archive, Failure> {
    Ok(match config.history.engine {
        Engine::Memory => Archive::None,
        Engine::Disk => Archive::Disk(Disk::open(
            &config.server.state_dir.join("history"),
            Bounds {
                max_bytes: config.history.max_disk,
                message_ttl: config.push.limits.message_ttl,
            },
            config.history.durability,
        )?),
        Engine::Redis => Archive::Redis(Arc::new(Redis::new(Settings {
            address: config.history.redis.clone(),
            channel_ttl: config.push.limits.channel_ttl,
            ping_interval: config.push.ping_interval,
        })?)),
    })
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
