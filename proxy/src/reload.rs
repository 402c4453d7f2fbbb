//! SIGHUP: the configuration is read again, and what can change does, while everybody stays connected.
//!
//! All that may go wrong is done first: the file read, addresses bound, new sites opened. Then everything changes at once,
//! and no request sees half of it.

mod changes;
mod handing_over;

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::config::{self, Config, Listener, file};
use crate::phase::Phases;
use crate::process::{Process, Serving};
use crate::server::listen::Bound;
use crate::server::tls::Serves;
use crate::server::{Delivering, Open, Server};
use crate::signals::Order;
use crate::site::{Site, Sites};
use crate::upgrade::Program;
use crate::{log, notify};

/// Over so long the subscribers of a site that is gone are sent away.
const FAREWELL: Duration = Duration::from_secs(1);

type Failure = Box<dyn std::error::Error>;

/// What runs, and the configuration that it runs by.
#[derive(Debug)]
pub(crate) struct Running {
    /// `None`: there is no file to read again.
    file: Option<PathBuf>,
    config: Config,
    process: Arc<Process>,
    server: Arc<Server>,
    phases: Phases,
    program: Program,
    listeners: Vec<Open>,
    delivering: Vec<Delivering>,
}

/// Listeners, and what was bound for those that were not open.
type Listening = Vec<(Arc<Serves>, Vec<Bound>)>;

/// What a new configuration needs, made but not yet used.
struct Prepared {
    config: Config,
    serving: Serving,
    bound: Listening,
}

impl Running {
    /// Opens all that the configuration says.
    ///
    /// # Errors
    ///
    /// When a site cannot be opened, or an address cannot be bound.
    pub(crate) fn start(
        file: Option<PathBuf>,
        config: Config,
        process: &Arc<Process>,
        server: &Arc<Server>,
        phases: &Phases,
    ) -> Result<Self, Failure> {
        let mut running = Self {
            file,
            process: Arc::clone(process),
            server: Arc::clone(server),
            phases: phases.clone(),
            program: Program::of_this_process()?,
            listeners: Vec::new(),
            delivering: Vec::new(),
            config,
        };
        let bound = running.bind(&running.config.listeners)?;
        running.serve_at(bound);
        running.deliver();
        for address in server.inherited().left() {
            tracing::warn!(address, "a socket was handed over that no listener has");
        }
        Ok(running)
    }

    /// Reads the file again, or lets another process take over, at each order, until the process ends.
    pub(crate) fn follow(mut self, orders: &mpsc::Receiver<Order>) {
        for order in orders {
            match order {
                Order::Reload => {
                    notify::reloading();
                    self.reload_and_tell();
                    notify::ready();
                }
                Order::Upgrade => {
                    if let Err(why) = self.hand_over() {
                        tracing::error!(%why, "no other process takes over: this one goes on");
                    }
                }
            }
        }
    }

    fn reload_and_tell(&mut self) {
        let reloaded = self.reload();
        self.process.last_read.set(reloaded.is_ok());
        match reloaded {
            Err(why) => {
                tracing::error!(%why, "the configuration cannot be used: nothing was changed");
            }
            Ok(changes) if changes.is_empty() => {
                tracing::info!("the configuration was read again: nothing has changed");
            }
            Ok(changes) => {
                let changes = changes.join(", ");
                tracing::info!(changes, "the configuration was read again");
            }
        }
    }

    /// What has changed.
    fn reload(&mut self) -> Result<Vec<String>, Failure> {
        let file = self.file.as_ref().ok_or("there is no config file")?;
        let config = match file::load(file) {
            Ok((config, warnings)) => {
                for warning in warnings {
                    tracing::warn!("{warning:#}");
                }
                config
            }
            Err(errors) => {
                for error in &errors.found {
                    tracing::error!("{error:#}");
                }
                return Err("the file has errors".into());
            }
        };
        let prepared = self.prepare(config)?;
        Ok(self.change_to(prepared))
    }

    /// Does all that may fail.
    fn prepare(&self, mut config: Config) -> Result<Prepared, Failure> {
        for key in changes::keep_what_cannot_change(&self.config, &mut config) {
            tracing::warn!("{key} keeps its value until the next start");
        }
        let server = match config.server == self.config.server {
            true => Arc::clone(&self.process.serving().server),
            false => Arc::new(config.server.clone()),
        };
        let bound = self.bind(&config.listeners)?;
        let sites = self.sites(&config, &server)?;
        Ok(Prepared {
            bound,
            serving: Serving {
                config_hash: config.hash.clone(),
                access_log: config.log.access,
                sites: Sites::new(sites),
                server,
            },
            config,
        })
    }

    /// Sites that are new are opened; those that change keep who listens to them.
    fn sites(
        &self,
        config: &Config,
        server: &Arc<config::Server>,
    ) -> Result<Vec<Arc<Site>>, Failure> {
        let serving = self.process.serving();
        let (cores, process) = (self.server.cores(), &self.process);
        let (connections, queues) = (&process.connections, &process.queues);
        let (mut sites, mut opened) = (Vec::new(), Vec::new());
        for new in &config.sites {
            let old = serving.sites.all().iter();
            let mut old = old.filter(|old| old.directory() == new.state_dir(server));
            let site = match old.next() {
                Some(old) if old.config == *new && Arc::ptr_eq(&old.server, server) => {
                    Ok(Arc::clone(old))
                }
                Some(old) => old.changed(new.clone(), server).map(Arc::new),
                None => Site::open(
                    new.clone(),
                    server,
                    &config.history,
                    cores,
                    connections,
                    queues,
                )
                .map(Arc::new)
                .inspect(|site| opened.push(Arc::clone(site))),
            };
            match site {
                Ok(site) => sites.push(site),
                Err(why) => {
                    // Nobody has them yet, and nobody will.
                    opened.iter().for_each(|site| site.hub.archive().close());
                    return Err(why);
                }
            }
        }
        Ok(sites)
    }

    /// Binds the addresses that are not open yet.
    fn bind(&self, listeners: &[Listener]) -> Result<Listening, Failure> {
        let mut open: Vec<&Open> = self.listeners.iter().collect();
        let mut bound = Vec::new();
        for listener in listeners {
            let listener = Arc::new(listener.clone());
            let there = |open: &&Open| *open.address() == listener.address;
            let sockets = match open.iter().position(there) {
                Some(at) => {
                    open.remove(at);
                    Vec::new()
                }
                None => self.server.bind(&listener)?,
            };
            bound.push((
                Arc::new(Serves::new(listener, &self.process.acme)?),
                sockets,
            ));
        }
        Ok(bound)
    }

    /// Changes everything, and lists it.
    fn change_to(&mut self, prepared: Prepared) -> Vec<String> {
        let Prepared {
            config,
            serving,
            bound,
        } = prepared;
        let before = self.process.serving();
        self.process.serve(serving);
        self.deliver();
        self.serve_at(bound);
        self.apply_limits(&before, &config);
        self.process.acme.set(config.acme.clone());
        self.close_what_is_gone(&before);
        log::set_level(&config.log);
        let changes = changes::list(&self.config, &config);
        self.config = config;
        changes
    }

    /// Starts delivery where there is none yet.
    fn deliver(&mut self) {
        for site in self.process.serving().sites.all() {
            let mut delivering = self.delivering.iter_mut();
            match delivering.find(|delivering| delivering.is_for(site)) {
                Some(delivering) => delivering.begin_anew(&self.server, site),
                None => self.delivering.push(self.server.deliver(site)),
            }
        }
    }

    /// These listeners are open from now on, and no others. One whose address stays accepts on, for whom it is now.
    fn serve_at(&mut self, bound: Listening) {
        let mut before = std::mem::take(&mut self.listeners);
        for (serves, sockets) in bound {
            let same = |open: &Open| *open.address() == serves.listener.address;
            let open = match before.iter().position(same) {
                Some(at) if sockets.is_empty() => {
                    let open = before.remove(at);
                    open.serve(serves);
                    open
                }
                Some(_) | None => self.server.accept(serves, sockets),
            };
            self.listeners.push(open);
        }
    }

    fn apply_limits(&self, before: &Serving, config: &Config) {
        self.server.set_max_connections(&config.server);
        self.process.queues.set_max(config.server.queues_memory);
        for site in self.process.serving().sites.all() {
            site.apply_limits(config.history.max_memory);
            let is_same = |old: &&Arc<Site>| Arc::ptr_eq(&old.hub, &site.hub);
            let old = before.sites.all().iter().find(is_same);
            if old.is_some_and(|old| old.key() != site.key()) {
                // Who came by an older key is let go; who comes by the new one stays.
                site.hub.close_proven_before(site.key());
            }
        }
    }

    /// Sites that are no more lose their subscribers, and let go of their files when the last of them has gone.
    fn close_what_is_gone(&mut self, before: &Serving) {
        let serving = self.process.serving();
        let now = serving.sites.all();
        let stays = |hub: &dyn Fn(&Site) -> bool| now.iter().any(|site| hub(site));
        self.delivering
            .retain(|delivering| stays(&|site| delivering.is_for(site)));
        for gone in before.sites.all() {
            if stays(&|site| Arc::ptr_eq(&site.hub, &gone.hub)) {
                continue;
            }
            let gone = Arc::clone(gone);
            self.server.spawn(async move {
                gone.hub.close_all(FAREWELL).await;
                // Waits for a disk.
                let closing = spawn_blocking(move || gone.hub.archive().close());
                let _ = closing.await;
            });
        }
    }
}
