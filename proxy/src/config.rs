//! What an administrator decides, with defaults filled in.
//!
//! [`mod@file`] reads `pullgate.toml` into these types and reports every error at once; from here on
//! nothing is text any more: durations are durations, sizes are bytes, secrets are read.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use pullgate_compat::guest::adopt::SiteCookie;
use pullgate_compat::signature::Algorithm;

use crate::history::disk::Durability;
use crate::history::redis::address::Place as RedisPlace;
use hosts::HostPattern;

pub(crate) mod file;
pub(crate) mod hosts;

/// Everything `pullgate.toml` says.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) server: Server,
    pub(crate) listeners: Vec<Listener>,
    /// At least one.
    pub(crate) sites: Vec<Site>,
    pub(crate) history: History,
    pub(crate) log: Log,
    /// SHA-256 of the file, hex; empty without one.
    pub(crate) hash: String,
}

/// One `[[site]]`, or what the file itself says where there is none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Site {
    /// In logs, metrics and state. Empty for the one site of a file without `[[site]]`.
    pub(crate) name: String,
    /// Which requests are its own. Default none, for the default site.
    pub(crate) hosts: Vec<HostPattern>,
    /// Takes the hosts that nobody claims. Default false.
    pub(crate) is_default: bool,
    /// It was the only one before there was any `[[site]]`: its guests, messages and files go on.
    /// Default false.
    pub(crate) is_original: bool,
    pub(crate) upstream: Upstream,
    pub(crate) guest: Guest,
    pub(crate) push: Push,
    /// Where its messages are, with `history.engine = "redis"`.
    pub(crate) redis: RedisPlace,
}

impl Site {
    /// Where the site keeps what must survive. That of the one site, or of the one that was there before the others,
    /// is the process's own.
    pub(crate) fn state_dir(&self, server: &Server) -> PathBuf {
        match self.is_original {
            true => server.state_dir.clone(),
            false => server.state_dir.join("sites").join(&self.name),
        }
    }

    /// What keys are derived for, so that equal secrets of two sites make different ones.
    pub(crate) fn label(&self) -> &str {
        match self.is_original {
            true => "",
            false => &self.name,
        }
    }
}

impl Config {
    /// A site by its name, and where it keeps its state; without a name the only one.
    ///
    /// # Errors
    ///
    /// When there is no such site, or when there are several and no name.
    pub(crate) fn site(mut self, name: Option<&str>) -> Result<(Site, PathBuf), WhichSite> {
        let found = match name {
            Some(name) => self.sites.iter().position(|site| site.name == name),
            None => (self.sites.len() == 1).then_some(0),
        };
        let Some(found) = found else {
            let named = self.sites.iter().filter(|site| !site.name.is_empty());
            return Err(WhichSite {
                asked: name.map(str::to_owned),
                names: named.map(|site| site.name.clone()).collect(),
            });
        };
        let site = self.sites.swap_remove(found);
        let directory = site.state_dir(&self.server);
        Ok((site, directory))
    }
}

/// A command is for one site, and does not say which of those that there are.
#[derive(Debug)]
pub(crate) struct WhichSite {
    asked: Option<String>,
    /// Empty where the file has no `[[site]]`.
    names: Vec<String>,
}

impl std::error::Error for WhichSite {}

impl fmt::Display for WhichSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names.join(", ");
        match &self.asked {
            None => write!(f, "--site is needed, one of: {names}"),
            Some(asked) if self.names.is_empty() => {
                write!(f, "there is no site {asked:?}: the file has no [[site]]")
            }
            Some(asked) => write!(f, "there is no site {asked:?}; --site is one of: {names}"),
        }
    }
}

/// `[server]`: the process and its clients' connections.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Server {
    /// Where guest ids, generated secrets and history are kept. Default `/var/lib/pullgate`.
    pub(crate) state_dir: PathBuf,
    /// Worker threads, one runtime each. Default 0: one per core.
    pub(crate) threads: usize,
    /// Whose `X-Forwarded-*` are believed. Default `127.0.0.0/8` and `::1`.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Connections at a time, all listeners together. Default 0, and at most: three of four file descriptors.
    pub(crate) max_connections: usize,
    /// How long a client may take for a request head, and how long an idle connection is kept. Default 60 s.
    pub(crate) header_timeout: Duration,
    /// Longest silence within a request body. Default 60 s.
    pub(crate) body_timeout: Duration,
    /// Longest time without the client taking any byte of an answer. Default 60 s.
    pub(crate) send_timeout: Duration,
    /// How long requests under way may go on after SIGTERM. Default 30 s.
    pub(crate) drain_timeout: Duration,
}

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The site, subscribing and client publishing; `pub` and `stat` for `publish_allow` only.
    Site,
    /// Every push endpoint, nothing of the site. Not for the internet.
    Publish,
    /// Metrics, health and the status page.
    Admin,
}

/// Where a listener binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// `host:port`; port 0 takes a free one, which the log names.
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

/// One `[[listener]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) address: Address,
    pub(crate) role: Role,
    /// The site that it is for, whatever `Host` says. Default none: `Host` decides, where it counts.
    pub(crate) site: Option<String>,
}

/// Where the site is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `http://host:port`; a name is looked up at every new connection.
    Tcp { host: String, port: u16 },
    /// `unix:/path`, HTTP over a unix socket.
    Unix(PathBuf),
}

/// `[upstream]`: the site behind pullgate.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Upstream {
    /// The only key without a default.
    pub(crate) origin: Origin,
    /// Default 5 s.
    pub(crate) connect_timeout: Duration,
    /// Longest silence of the site: before its response head, and within a body. Default 300 s.
    pub(crate) response_timeout: Duration,
    /// Longest silence of both sides of a websocket of the site. Default 1 h.
    pub(crate) tunnel_timeout: Duration,
    /// How long an idle connection is kept for reuse. Default 4 s, less than Apache's 5 s.
    pub(crate) idle_timeout: Duration,
    /// Idle connections kept for reuse, per thread. Default 64.
    pub(crate) max_idle: usize,
}

/// `[guest]`: who gets a number, and how PHP is told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Guest {
    /// Default true.
    pub(crate) enabled: bool,
    /// First signs, all verify; each at least 32 bytes. Empty: one is generated in `state_dir`.
    pub(crate) secrets: Vec<Secret>,
    /// The cookie's name. Default `PULL_GUEST`.
    pub(crate) cookie: String,
    /// `Domain` of the cookie. Default none: this host only.
    pub(crate) cookie_domain: Option<String>,
    /// How long a cookie is good; renewed when half of it has gone. Default 365 days.
    pub(crate) cookie_max_age: Duration,
    /// `SameSite` of the cookie. Default `Lax`.
    pub(crate) cookie_same_site: SameSite,
    /// The request header with the guest's number. Default `Pull-User-Id`.
    pub(crate) header: http::HeaderName,
    /// The request header that proves it. Default `Pull-User-Token`.
    pub(crate) token_header: http::HeaderName,
    /// Path prefixes under which nobody is made a guest. Default `/bitrix/admin/`, `/upload/`.
    pub(crate) exclude: Vec<String>,
    /// New ids per client address (IPv6: per /64) and minute. Default 60.
    pub(crate) new_per_minute: u32,
    /// What to do when a response that sets the cookie may be kept by shared caches.
    pub(crate) shared_cache: SharedCache,
    /// The least number that pullgate gives; those below are left to the site. Default 1.
    pub(crate) first_id: u32,
    /// Cookies of the site's whose guests keep their ids. Default none.
    pub(crate) adopt: Vec<Adopt>,
    pub(crate) push: GuestPush,
}

/// `[guest.push]`: pullgate's own channels for guests.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GuestPush {
    /// Whether a guest's `pull.config.get` is answered here. Default true; false leaves it to the site.
    pub(crate) enabled: bool,
    /// The protocol that the guest's client is told to speak: 3 (text) or 4 (protobuf). Default 4.
    pub(crate) version: u8,
    /// When the client asks again, at most half a day. Default 12 h.
    pub(crate) config_ttl: Duration,
}

/// One `[[guest.adopt]]`.
#[derive(Debug, Clone)]
pub(crate) struct Adopt {
    /// The cookie's name.
    pub(crate) cookie: String,
    /// How it is written, and the key that proves it.
    pub(crate) form: SiteCookie,
    /// That key as it was read.
    pub(crate) key: Secret,
}

impl PartialEq for Adopt {
    fn eq(&self, other: &Self) -> bool {
        // What is shown of a form is all of it but the key.
        let form = |adopt: &Self| format!("{:?}", adopt.form);
        self.cookie == other.cookie && self.key == other.key && form(self) == form(other)
    }
}

/// `SameSite` of the guest cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SameSite {
    Lax,
    Strict,
    None,
}

/// `guest.shared_cache`: a page that shared caches may keep must not carry one guest's cookie to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SharedCache {
    /// Make the response `private`. The default: the cookie arrives with the first page.
    Private,
    /// Leave the response as it is; the cookie comes with the next page that may not be kept.
    Defer,
}

/// `[push]`: the push endpoints.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Push {
    /// The site's signature key. `None`: one is generated in `state_dir`.
    pub(crate) signature_key: Option<Secret>,
    /// Default SHA-1, as the module's.
    pub(crate) signature_algo: Algorithm,
    /// Who may publish through a site listener. Default nobody.
    pub(crate) publish_allow: Vec<IpNet>,
    /// Time between websocket pings. Default 40 s.
    pub(crate) ping_interval: Duration,
    /// How long a long poll waits. Default 40 s.
    pub(crate) poll_timeout: Duration,
    pub(crate) paths: Paths,
    pub(crate) limits: Limits,
}

/// `[push.paths]`: prefixes in lower case, compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paths {
    /// Default `/bitrix/pub/`.
    pub(crate) publish: Vec<String>,
    /// Default `/bitrix/sub/`, `/bitrix/subws/`.
    pub(crate) subscribe: Vec<String>,
    /// Default `/bitrix/rest/`, `/bitrix/pubweb/`.
    pub(crate) rest: Vec<String>,
    /// Default `/server-stat/`.
    pub(crate) stat: Vec<String>,
}

/// `[push.limits]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Limits {
    /// Largest published body or client frame, bytes. Default 1 MiB.
    pub(crate) max_payload: usize,
    /// Connections of one channel that has a public id; the oldest goes. Default 100.
    pub(crate) max_connections_per_channel: usize,
    /// Default 100.
    pub(crate) max_messages_per_request: usize,
    /// Default 100.
    pub(crate) max_channels_per_request: usize,
    /// Longest life of a stored message. Default 24 h.
    pub(crate) message_ttl: Duration,
    /// How long a channel's list of messages lives in Redis. Default 24 h.
    pub(crate) channel_ttl: Duration,
    /// What may wait for one slow subscriber, bytes, frames and places in the queue counted, before it is
    /// closed. Default 4 MiB.
    pub(crate) subscriber_queue: usize,
}

/// `[history]`: where messages are kept for catch-up.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct History {
    /// Default disk.
    pub(crate) engine: Engine,
    /// What history in memory takes, bytes, indexes counted; the oldest go first. Default 256 MiB.
    pub(crate) max_memory: usize,
    /// Bytes on disk, about; the oldest go first. Default 4 GiB.
    pub(crate) max_disk: u64,
    /// When a publish is answered. Default interval.
    pub(crate) durability: Durability,
}

/// `history.engine`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// Gone with the process.
    Memory,
    /// In the state directory.
    Disk,
    /// Shared by several nodes.
    Redis,
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Log {
    /// A tracing filter, e.g. `info` or `pullgate=debug`. Default `info`.
    pub(crate) level: String,
    /// Form of both logs. Default text.
    pub(crate) format: LogFormat,
    /// One line per request, with target `access`, behind the others. Default true.
    pub(crate) access: bool,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// A secret's bytes; never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}
