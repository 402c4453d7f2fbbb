//! `pullgate.toml`: text in, [`Config`] out, or every error in it at once.
//!
//! The functions from [`config`] on, and those of [`listener`], [`upstream`], [`path`], [`pages`], [`guest`] and [`push`], are the
//! file's table of contents: a line a key, with its default. How a line is read and reported is in the
//! other modules below; `docs/configuration.md` is the same table for administrators.

use std::borrow::Cow;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use data_encoding::HEXLOWER;
use ipnet::IpNet;
use sha2::{Digest, Sha256};

use self::reading::Reading;
pub(crate) use self::report::{Errors, Mismatch, Warning};
use self::report::{Finding, Problem};
use self::section::Section;
use self::units::{kib, mib, seconds};
use super::{Config, Engine, History, Log, LogFormat, Origin, Server};
use crate::history::disk::Durability;
use crate::history::redis::address::{Address as RedisAddress, Place as RedisPlace};
use crate::history::redis::names::Names as RedisNames;

mod acme;
mod address;
mod adopt;
mod checks;
mod excerpt;
mod guest;
mod health;
mod limits;
mod listener;
mod names;
mod outside;
mod pages;
mod path;
mod push;
mod reading;
mod report;
mod secret;
mod section;
mod sites;
mod tls;
mod units;
mod upstream;
mod value;

/// A configuration and what is odd about it.
pub(crate) type Outcome = Result<(Config, Vec<Warning>), Errors>;

const LOOPBACK: [IpNet; 2] = [
    IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
    IpNet::new_assert(IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
];

/// Reads a file; relative paths in it start at its folder.
pub(crate) fn load(path: &Path) -> Outcome {
    load_as(path, |reading| reading)
}

/// The same, and looks at what it names: whether it would work here and now.
pub(crate) fn check(path: &Path) -> Outcome {
    load_as(path, |reading| reading.looking_outside())
}

fn load_as(path: &Path, how: impl for<'a> FnOnce(Reading<'a>) -> Reading<'a>) -> Outcome {
    let bytes = std::fs::read(path).map_err(|error| unreadable(path, error))?;
    let text = String::from_utf8_lossy(&bytes);
    let reading = how(Reading::new(&text, path, &variable));
    if let Cow::Owned(_) = text {
        reading.report_bytes();
    }
    let (mut config, warnings) = read(reading)?;
    config.hash = HEXLOWER.encode(&Sha256::digest(&bytes));
    Ok((config, warnings))
}

/// A duration of the command line.
#[cfg(feature = "recording")]
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, Mismatch> {
    units::duration(text, "a duration with a unit, such as \"10m\"".to_owned())
}

/// A size of the command line.
#[cfg(feature = "recording")]
pub(crate) fn size(text: &str) -> Result<usize, Mismatch> {
    units::size(text, "a size with a unit, such as \"64MiB\"".to_owned())
}

/// What holds without a file.
pub(crate) fn defaults(upstream: &Origin) -> Config {
    let mut defaults = nothing_said();
    for site in &mut defaults.sites {
        site.upstream.origins = vec![upstream.clone()];
    }
    defaults
}

fn nothing_said() -> Config {
    let reading = Reading::new("", Path::new(""), &variable);
    Section::file(&reading, &reading.table(), config)
}

fn read(reading: Reading<'_>) -> Outcome {
    let config = Section::file(&reading, &reading.table(), config);
    match reading.outcome() {
        Ok(warnings) => Ok((config, warnings)),
        Err(found) => Err(Errors {
            found,
            log: config.log,
        }),
    }
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn unreadable(path: &Path, error: std::io::Error) -> Errors {
    Errors {
        found: vec![Finding {
            file: path.to_owned(),
            place: None,
            key: String::new(),
            problem: Problem::Unreadable(error),
        }],
        log: nothing_said().log,
    }
}

fn config(file: &mut Section<'_>) -> Config {
    let server = file.section("server", server);
    let listeners = listener::listeners(file);
    let (history, redis) = file.section("history", |s| (history(s), redis(s, true)));
    let sites = sites::sites(file, &listeners, history.engine, redis);
    sites::listeners_say_whose(file, &listeners, &sites);
    let config = Config {
        server,
        listeners,
        sites,
        history,
        acme: file.section("acme", acme::acme),
        log: file.section("log", log),
        hash: String::new(),
    };
    checks::nodes_agree(file, &config);
    config
}

fn server(s: &mut Section<'_>) -> Server {
    let state_dir = s.path("state_dir", "/var/lib/pullgate");
    outside::state_dir(s, &state_dir);
    Server {
        state_dir,
        threads: s.number("threads", 0, 0..=1024),
        trusted_proxies: s.list("trusted_proxies", LOOPBACK.to_vec(), names::network),
        max_connections: s.number("max_connections", 0, 0..=10 * MANY),
        max_connections_per_address: s.number("max_connections_per_address", 0, 0..=10 * MANY),
        max_head: s.size_within("max_head", kib(64), kib(8)..=mib(1)),
        max_headers: s.number("max_headers", 256, 16..=10_000),
        max_target: s.size_within("max_target", kib(16), kib(1)..=kib(60)),
        header_timeout: s.duration("header_timeout", seconds(60)),
        body_timeout: s.duration("body_timeout", seconds(60)),
        min_body_rate: s.size_or_zero("min_body_rate", 500),
        buffer_memory: s.size("buffer_memory", mib(64)),
        send_timeout: s.duration("send_timeout", seconds(60)),
        drain_timeout: s.duration_or_zero("drain_timeout", seconds(30)),
        queues_memory: s.size_within("queues_memory", mib(512), mib(16)..=mib(1 << 20)),
    }
}

fn history(s: &mut Section<'_>) -> History {
    History {
        engine: s.one_of("engine", Engine::Disk, &ENGINES),
        max_memory: s.size("max_memory", mib(256)),
        max_disk: s.size("max_disk", mib(4096)).try_into().unwrap_or(u64::MAX),
        durability: s.one_of("durability", Durability::Interval, &DURABILITIES),
    }
}

/// The part of `[history]` that a site may have of its own.
fn redis(s: &mut Section<'_>, is_original: bool) -> RedisPlace {
    let address = secret::redis_url(s, "redis_url").unwrap_or(RedisAddress::Local);
    let prefix = s.read("redis_prefix", String::new(), names::redis_prefix);
    RedisPlace {
        names: RedisNames::new(&prefix, address.database(), is_original),
        address,
    }
}

fn log(s: &mut Section<'_>) -> Log {
    Log {
        level: s.read("level", "info".to_owned(), names::log_filter),
        format: s.one_of("format", LogFormat::Text, &LOG_FORMATS),
        access: s.flag("access", true),
    }
}

/// More of anything that is counted would be a slip, and nothing overflows below it.
const MANY: u64 = 1_000_000;

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

const LOG_FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

const ENGINES: [(&str, Engine); 3] = [
    ("memory", Engine::Memory),
    ("disk", Engine::Disk),
    ("redis", Engine::Redis),
];

const DURABILITIES: [(&str, Durability); 2] = [
    ("interval", Durability::Interval),
    ("always", Durability::Always),
];

#[cfg(test)]
mod tests;
