//! What an administrator decides, with defaults filled in.
//!
//! [`mod@file`] reads `pullgate.toml` into these types and reports every error at once; from here on
//! nothing is text any more: durations are durations, sizes are bytes, secrets are read.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::history::disk::Durability;
use crate::history::redis::address::Place as RedisPlace;
pub(crate) use acme::{Acme, Challenge};
pub(crate) use guest::{Adopt, Guest, GuestPush, SameSite, SharedCache};
pub(crate) use health::{Check, Health};
use hosts::HostPattern;
pub(crate) use limits::SiteLimits;
pub(crate) use listener::{Address, Listener, Role};
pub(crate) use pages::{ErrorPages, Pages};
pub(crate) use path::{SitePath, Terms};
pub(crate) use push::{Limits, Paths, Push};
pub(crate) use tls::{Certificate, Certified, Tls};
pub(crate) use upstream::{Origin, Sticky, Upstream};
pub(crate) use validity::validity;

mod acme;
pub(crate) mod file;
mod guest;
mod health;
pub(crate) mod hosts;
mod limits;
mod listener;
pub(crate) mod pages;
mod path;
mod push;
mod tls;
mod upstream;
mod validity;

/// Everything `pullgate.toml` says.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) server: Server,
    pub(crate) listeners: Vec<Listener>,
    /// At least one.
    pub(crate) sites: Vec<Site>,
    pub(crate) history: History,
    pub(crate) acme: Acme,
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
    /// Default none.
    pub(crate) paths: Vec<SitePath>,
    pub(crate) pages: Pages,
    pub(crate) guest: Guest,
    pub(crate) push: Push,
    pub(crate) limits: SiteLimits,
    /// Where its messages are, with `history.engine = "redis"`.
    pub(crate) redis: RedisPlace,
}

impl Site {
    /// The first host that is one name.
    pub(crate) fn first_host(&self) -> Option<&str> {
        self.hosts.iter().find_map(|host| match host {
            HostPattern::Exact(name) => Some(name.as_str()),
            HostPattern::Below(_) => None,
        })
    }

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
    /// Connections at a time of one address (IPv6: per /64) that is no trusted proxy. Default 0: a quarter of all.
    pub(crate) max_connections_per_address: usize,
    /// Largest request head, bytes. Default 64 KiB: Bitrix cookies are big.
    pub(crate) max_head: usize,
    /// Lines in a request head. Default 256.
    pub(crate) max_headers: usize,
    /// Longest path and query, bytes. Default 16 KiB.
    pub(crate) max_target: usize,
    /// How long a client may take for a request head, and how long an idle connection is kept. Default 60 s.
    pub(crate) header_timeout: Duration,
    /// Longest silence within a request body. Default 60 s.
    pub(crate) body_timeout: Duration,
    /// Bytes of a request body that are to come per second on an average, beyond the first `body_timeout`; time in which the
    /// site keeps the client waiting does not count. Default 500, 0: none.
    pub(crate) min_body_rate: usize,
    /// What all request bodies that are read before a site is asked may take together, bytes; beyond it they stream.
    /// Default 64 MiB.
    pub(crate) buffer_memory: usize,
    /// Longest time without the client taking any byte of an answer. Default 60 s.
    pub(crate) send_timeout: Duration,
    /// How long requests under way may go on after SIGTERM. Default 30 s.
    pub(crate) drain_timeout: Duration,
    /// What all that waits for subscribers may take in memory, of all sites together, bytes: what is shared counts once.
    /// Default 512 MiB.
    pub(crate) queues_memory: usize,
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
