//! `pullgate.toml`: text in, [`Config`] out, or every error in it at once.
//!
//! The functions from [`config`] on are the file's table of contents: a line a key, with its
//! default. How a line is read and reported is in the modules below; `docs/configuration.md` is the
//! same table for administrators.

use std::borrow::Cow;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use http::HeaderName;
use ipnet::IpNet;
use pullgate_compat::signature::Algorithm;
use sha2::{Digest, Sha256};

use self::reading::Reading;
pub(crate) use self::report::{Errors, Mismatch, Warning};
use self::report::{Finding, Problem, expected};
use self::section::Section;
use self::units::{days, hours, mib, seconds};
use self::value::Value;
use super::{
    Address, Config, Engine, Guest, GuestPush, History, Limits, Listener, Log, LogFormat, Origin,
    Paths, Push, Role, SameSite, Server, SharedCache, Upstream,
};
use crate::history::disk::Durability;
use crate::history::redis::address::{Address as RedisAddress, Place as RedisPlace};
use crate::history::redis::names::Names as RedisNames;

mod address;
mod adopt;
mod checks;
mod excerpt;
mod names;
mod outside;
mod reading;
mod report;
mod secret;
mod section;
mod sites;
mod units;
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
        site.upstream.origin = upstream.clone();
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
    let listeners = listeners(file);
    let (history, redis) = file.section("history", |s| (history(s), redis(s, true)));
    let sites = sites::sites(file, &listeners, history.engine, redis);
    sites::listeners_say_whose(file, &listeners, &sites);
    let config = Config {
        server,
        listeners,
        sites,
        history,
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
        header_timeout: s.duration("header_timeout", seconds(60)),
        body_timeout: s.duration("body_timeout", seconds(60)),
        send_timeout: s.duration("send_timeout", seconds(60)),
        drain_timeout: s.duration_or_zero("drain_timeout", seconds(30)),
    }
}

fn listeners(file: &mut Section<'_>) -> Vec<Listener> {
    let mut taken = Vec::new();
    let written = file.sections("listener", |s| listener(s, &mut taken));
    match written {
        Some(listeners) => listeners.into_iter().flatten().collect(),
        None => default_listeners(),
    }
}

fn default_listeners() -> Vec<Listener> {
    let tcp = |ip, port, role| Listener {
        address: Address::Tcp(SocketAddr::new(IpAddr::V4(ip), port)),
        role,
        site: None,
    };
    vec![
        tcp(Ipv4Addr::UNSPECIFIED, 80, Role::Site),
        tcp(Ipv4Addr::LOCALHOST, 8895, Role::Publish),
        tcp(Ipv4Addr::LOCALHOST, 8899, Role::Admin),
    ]
}

/// `None` after an error.
fn listener(s: &mut Section<'_>, taken: &mut Vec<(Address, String)>) -> Option<Listener> {
    let address = s.required("address", address::ADDRESS, address::address);
    let role = s.one_of("role", Role::Site, &ROLES);
    let site = s.read("site", None, |value| {
        value
            .text("the name of a [[site]]")
            .map(|name| Some(name.to_owned()))
    });
    checks::no_tls_yet(s);
    let address = address?;
    checks::own_address(s, &address, taken);
    checks::exposure(s, &address, role);
    Some(Listener {
        address,
        role,
        site,
    })
}

fn upstream(s: &mut Section<'_>, listeners: &[Listener], required: bool) -> Upstream {
    let origin = match required {
        true => s.required("url", address::ORIGIN, address::origin),
        false => s.read("url", None, |value| address::origin(value).map(Some)),
    };
    if let Some(origin) = &origin {
        checks::no_loop(s, origin, listeners);
        outside::origin(s, origin);
    }
    Upstream {
        origin: origin.unwrap_or_else(nowhere),
        connect_timeout: s.duration("connect_timeout", seconds(5)),
        response_timeout: s.duration("response_timeout", seconds(300)),
        tunnel_timeout: s.duration("tunnel_timeout", hours(1)),
        idle_timeout: s.duration("idle_timeout", seconds(4)),
        max_idle: s.number("max_idle", 64, 0..=MANY),
    }
}

/// Stands in where an error keeps the configuration from being used.
fn nowhere() -> Origin {
    Origin::Unix(PathBuf::new())
}

fn guest(s: &mut Section<'_>) -> Guest {
    let cookie = s.read("cookie", "PULL_GUEST".to_owned(), names::cookie);
    let guest = Guest {
        enabled: s.flag("enabled", true),
        secrets: secret::secrets(s, "secrets"),
        cookie_domain: s.read("cookie_domain", None, names::domain),
        cookie_max_age: s.duration("cookie_max_age", days(365)),
        cookie_same_site: s.one_of("cookie_same_site", SameSite::Lax, &SAME_SITES),
        header: s.read("header", PULL_USER_ID, names::header),
        token_header: s.read("token_header", PULL_USER_TOKEN, names::header),
        exclude: s.list("exclude", excluded(), names::path_prefix),
        new_per_minute: s.number("new_per_minute", 60, 1..=MANY),
        shared_cache: s.one_of("shared_cache", SharedCache::Private, &SHARED_CACHES),
        push: s.section("push", guest_push),
        first_id: adopt::first_id(s),
        adopt: adopt::adopt(s, &cookie),
        cookie,
    };
    checks::headers_differ(s, &guest);
    checks::cookie_is_kept(s, &guest);
    guest
}

fn excluded() -> Vec<String> {
    strings(&["/bitrix/admin/", "/upload/"])
}

fn guest_push(s: &mut Section<'_>) -> GuestPush {
    let config_ttl = s.duration("config_ttl", hours(12));
    checks::within_an_epoch(s, config_ttl);
    GuestPush {
        enabled: s.flag("enabled", true),
        version: s.number("version", 4, 3..=4),
        config_ttl,
    }
}

fn push(s: &mut Section<'_>) -> Push {
    Push {
        signature_key: secret::secret(s, "signature_key"),
        signature_algo: s.read("signature_algo", Algorithm::default(), algorithm),
        publish_allow: s.list("publish_allow", vec![], names::network),
        ping_interval: s.duration("ping_interval", seconds(40)),
        poll_timeout: s.duration("poll_timeout", seconds(40)),
        paths: s.section("paths", paths),
        limits: s.section("limits", limits),
    }
}

fn algorithm(value: &Value<'_>) -> Result<Algorithm, Mismatch> {
    let form = || value::alternatives(Algorithm::NAMES.iter().copied());
    let name = value.text(&form())?;
    name.parse().map_err(|_| expected(form()))
}

fn paths(s: &mut Section<'_>) -> Paths {
    let mut list = |key, default: &[&str]| s.filled_list(key, strings(default), names::push_prefix);
    let paths = Paths {
        publish: list("pub", &["/bitrix/pub/"]),
        subscribe: list("sub", &["/bitrix/sub/", "/bitrix/subws/"]),
        rest: list("rest", &["/bitrix/rest/", "/bitrix/pubweb/"]),
        stat: list("stat", &["/server-stat/"]),
    };
    checks::paths_differ(s, &paths);
    paths
}

fn limits(s: &mut Section<'_>) -> Limits {
    Limits {
        max_payload: s.size("max_payload", mib(1)),
        max_connections_per_channel: s.number("max_connections_per_channel", 100, 1..=MANY),
        max_messages_per_request: s.number("max_messages_per_request", 100, 1..=MANY),
        max_channels_per_request: s.number("max_channels_per_request", 100, 1..=MANY),
        message_ttl: s.duration("message_ttl", hours(24)),
        channel_ttl: s.duration("channel_ttl", hours(24)),
        subscriber_queue: s.size("subscriber_queue", mib(4)),
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

const PULL_USER_ID: HeaderName = HeaderName::from_static("pull-user-id");
const PULL_USER_TOKEN: HeaderName = HeaderName::from_static("pull-user-token");

const ROLES: [(&str, Role); 3] = [
    ("site", Role::Site),
    ("publish", Role::Publish),
    ("admin", Role::Admin),
];

const SAME_SITES: [(&str, SameSite); 3] = [
    ("Lax", SameSite::Lax),
    ("Strict", SameSite::Strict),
    ("None", SameSite::None),
];

const SHARED_CACHES: [(&str, SharedCache); 2] = [
    ("private", SharedCache::Private),
    ("defer", SharedCache::Defer),
];

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
