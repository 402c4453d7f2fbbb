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
mod push;
mod record;
mod replay;
mod route;
mod server;
mod state;
mod upstream;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use clap::Parser;
use pullgate_compat::guest::GuestKeys;
use pullgate_compat::signature::SignatureKey;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use cli::{Cli, Command, PhpFile};
use config::{Address, Config, Engine, LogFormat, file};
use guest::Guests;
use guest::ids::Ids;
use history::Archive;
use history::disk::{Bounds, Disk};
use history::redis::{Audience, Redis, Settings};
use hub::{Hub, Limits, unix_time};
use push::statistics::Statistics;
use server::App;
use state::State;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn Error>;

/// The hook for the site, with a marker where its keys go.
const PHP_HOOK: &str = include_str!("../../compat/php/pull_hit.php");
const PHP_GUEST: &str = include_str!("../../compat/php/Guest.php");
const PHP_STACK: &str = include_str!("../../compat/php/Stack.php");
const KEYS_MARKER: &str = "/* pullgate:keys */";

fn main() -> ExitCode {
    match command(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn command(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run {
            settings,
            upstream,
            listen,
            state_dir,
        } => {
            let mut config = match (settings.config, upstream) {
                (Some(path), _) => load(&path)?,
                (None, Some(upstream)) => file::defaults(upstream.parse()?),
                (None, None) => return Err("either --config or --upstream is needed".into()),
            };
            if let (Some(listen), Some(site)) = (listen, config.listeners.first_mut()) {
                site.address = listen.parse::<Address>()?;
            }
            if let Some(state_dir) = state_dir {
                config.server.state_dir = state_dir;
            }
            run(config)
        }
        Command::Check { config } => {
            load(&config)?;
            println!("{}: no faults", config.display());
            Ok(())
        }
        Command::PhpHook { settings, file } => {
            let text = match file {
                PhpFile::Hook => php_hook(settings.config.as_deref())?,
                PhpFile::Guest => PHP_GUEST.to_owned(),
                PhpFile::Stack => PHP_STACK.to_owned(),
            };
            print!("{text}");
            Ok(())
        }
        Command::Sign { config, channels } => {
            let config = load(&config)?;
            let key = match &config.push.signature_key {
                Some(key) => key.0.clone(),
                None => state::secret(&config.server.state_dir, SIGNATURE_FILE)?.0,
            };
            let key = SignatureKey::new(config.push.signature_algo, &key);
            for channel in channels {
                println!("{channel}.{}", key.sign(&channel));
            }
            Ok(())
        }
        Command::Replay {
            recordings,
            target,
            allow,
            jobs,
        } => replay::run(&pullgate_recording::replay::Options {
            recordings,
            target,
            allow,
            jobs: jobs.into(),
        }),
        Command::Record(arguments) => {
            start_log("info", LogFormat::Text);
            raise_file_limit();
            record::run(arguments, stop_signal()?)
        }
    }
}

const SECRET_FILE: &str = "guest.secret";
const SIGNATURE_FILE: &str = "signature.key";

fn load(path: &Path) -> Result<Config, Failure> {
    let (config, warnings) = file::load(path).map_err(|faults| faults.to_string())?;
    for warning in warnings {
        eprintln!("{warning}");
    }
    Ok(config)
}

fn run(config: Config) -> Result<(), Failure> {
    start_log(&config.log.level, config.log.format);
    raise_file_limit();
    let state = Arc::new(State::open(&config.server.state_dir)?);
    let key = match signature_key(&config) {
        Ok(key) => key,
        Err(why) => {
            tracing::error!(%why, "no signature key can be kept: until it can, no signature is good after a restart");
            state::random_secret()?
        }
    };
    let archive = archive(&config)?;
    let shared = match &archive {
        Archive::None | Archive::Disk(_) => None,
        Archive::Redis(redis) => Some(Arc::clone(redis)),
    };
    let guests = match config.guest.enabled.then(|| guest_keys(&config)) {
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
    let signature = SignatureKey::new(config.push.signature_algo, &key);
    let app = App {
        hub,
        signature,
        guests,
        statistics: Statistics::default(),
        state,
        connections: AtomicUsize::new(0),
        config,
    };
    let stop = stop_signal()?;
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

fn signature_key(config: &Config) -> Result<String, Failure> {
    if let Some(key) = &config.push.signature_key {
        return Ok(key.0.clone());
    }
    let (key, fresh) = state::secret(&config.server.state_dir, SIGNATURE_FILE)?;
    if fresh {
        let directory = config.server.state_dir.display();
        tracing::warn!(
            "no push.signature_key: one was generated in {directory}/{SIGNATURE_FILE}; give it to the site"
        );
    }
    Ok(key)
}

fn guest_keys(config: &Config) -> Result<GuestKeys, Failure> {
    let mut secrets: Vec<String> = config
        .guest
        .secrets
        .iter()
        .map(|secret| secret.0.clone())
        .collect();
    if secrets.is_empty() {
        let (secret, fresh) = state::secret(&config.server.state_dir, SECRET_FILE)?;
        if fresh {
            tracing::warn!(
                "no guest.secrets: one was generated in {}/{SECRET_FILE}",
                config.server.state_dir.display()
            );
        }
        secrets.push(secret);
    }
    Ok(GuestKeys::derive(&secrets, "")?)
}

fn php_hook(config: Option<&Path>) -> Result<String, Failure> {
    let mut hook = PHP_HOOK.to_owned();
    if let Some(path) = config {
        let config = load(path)?;
        let keys: Vec<String> = guest_keys(&config)?
            .token_keys_hex()
            .iter()
            .map(|key| format!("'{key}'"))
            .collect();
        hook = hook
            .replace(KEYS_MARKER, &keys.join(", "))
            .replace("HTTP_PULL_USER_ID", &server_variable(&config.guest.header))
            .replace(
                "HTTP_PULL_USER_TOKEN",
                &server_variable(&config.guest.token_header),
            );
    }
    Ok(hook)
}

/// Where PHP shows a request header: `$_SERVER`'s key (RFC 3875 4.1.18).
fn server_variable(header: &http::HeaderName) -> String {
    format!("HTTP_{}", header.as_str().to_uppercase().replace('-', "_"))
}

/// Becomes true at SIGTERM or SIGINT.
fn stop_signal() -> Result<watch::Receiver<bool>, Failure> {
    let (stop, stopped) = watch::channel(false);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut signals = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        )
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = signals.0.recv() => {}
                _ = signals.1.recv() => {}
            }
        });
        tracing::info!("stopping");
        // Nobody listens any more only when the process has ended.
        let _ = stop.send(true);
    });
    Ok(stopped)
}

fn start_log(level: &str, format: LogFormat) {
    // The store tells every step; what the administrator asks for comes behind, and wins.
    let filter = format!("fjall=warn,lsm_tree=warn,{level}");
    let filter = tracing_subscriber::EnvFilter::try_new(filter).unwrap_or_default();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
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
