//! What there is once in a process: the sites that are served, the count of open connections, and the certificates that
//! it gets by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::acme::Acme;
use crate::clock::unix_time;
use crate::config::{self, Config};
use crate::connections::Connections;
use crate::hub::memory::Queues;
use crate::site::{Site, Sites};

/// See the module.
#[derive(Debug)]
pub(crate) struct Process {
    /// What a request sees is one of these, from its beginning to its end; a reload puts another in its place.
    serving: ArcSwap<Serving>,
    pub(crate) connections: Connections,
    /// Those of them that no request has come on yet.
    pub(crate) unasked: Connections,
    /// Publishes under way, whether their clients wait or not.
    pub(crate) publishing: Connections,
    /// What waits for subscribers, of all sites.
    pub(crate) queues: Arc<Queues>,
    pub(crate) last_read: LastRead,
    pub(crate) acme: Arc<Acme>,
}

/// What is served now, and how.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) server: Arc<config::Server>,
    /// Whether every request leaves a line in the log.
    pub(crate) access_log: bool,
    pub(crate) sites: Sites,
    /// Of the configuration file, hex.
    pub(crate) config_hash: String,
}

/// The last time that the configuration was read, at the start or for a reload.
#[derive(Debug)]
pub(crate) struct LastRead {
    /// Unix seconds.
    at: AtomicU64,
    /// Whether it could be used.
    succeeded: AtomicBool,
}

impl LastRead {
    pub(crate) fn set(&self, succeeded: bool) {
        self.at.store(unix_time().as_secs(), Ordering::Relaxed);
        self.succeeded.store(succeeded, Ordering::Relaxed);
    }

    pub(crate) fn at(&self) -> u64 {
        self.at.load(Ordering::Relaxed)
    }

    pub(crate) fn succeeded(&self) -> bool {
        self.succeeded.load(Ordering::Relaxed)
    }
}

impl Default for LastRead {
    fn default() -> Self {
        Self {
            at: AtomicU64::new(unix_time().as_secs()),
            succeeded: AtomicBool::new(true),
        }
    }
}

impl Serving {
    /// Opens the sites of a configuration.
    ///
    /// # Errors
    ///
    /// When one of them cannot be opened.
    pub(crate) fn open(
        config: &Config,
        cores: usize,
        connections: &Connections,
        queues: &Arc<Queues>,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let server = Arc::new(config.server.clone());
        let open = |site: &config::Site| {
            let history = &config.history;
            Site::open(site.clone(), &server, history, cores, connections, queues).map(Arc::new)
        };
        let sites = config.sites.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self {
            access_log: config.log.access,
            sites: Sites::new(sites),
            config_hash: config.hash.clone(),
            server,
        })
    }
}

impl Process {
    pub(crate) fn new(
        serving: Serving,
        connections: Connections,
        queues: Arc<Queues>,
        acme: Acme,
    ) -> Self {
        Self {
            serving: ArcSwap::from_pointee(serving),
            connections,
            unasked: Connections::default(),
            publishing: Connections::default(),
            queues,
            last_read: LastRead::default(),
            acme: Arc::new(acme),
        }
    }

    /// Serves in another way from the next request on.
    pub(crate) fn serve(&self, serving: Serving) {
        self.serving.store(Arc::new(serving));
    }

    /// What is served now.
    pub(crate) fn serving(&self) -> Arc<Serving> {
        self.serving.load_full()
    }
}
