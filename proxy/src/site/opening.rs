//! Opens what a site keeps, and makes a site of it.

use std::path::Path;
use std::sync::Arc;

use pullgate_compat::signature::SignatureKey;

use super::Site;
use crate::clock::unix_time;
use crate::config::{self, Engine, History, Server};
use crate::connections::Connections;
use crate::guest::Guests;
use crate::guest::ids::Ids;
use crate::history::Archive;
use crate::history::disk::{Bounds, Disk};
use crate::history::redis::{Audience, Redis, Settings};
use crate::hub::memory::Queues;
use crate::hub::{Hub, Limits};
use crate::limits::Visitors;
use crate::secrets::{self, Missing};
use crate::state::State;
use crate::upstream::back_ends::BackEnds;
use crate::upstream::pool::Pool;

/// Why a site cannot be opened: another process has its files.
type Failure = Box<dyn std::error::Error>;

impl Site {
    /// Opens a site for `cores` cores.
    ///
    /// # Errors
    ///
    /// When another process has its state directory. All else is logged, and the site is served without.
    pub(crate) fn open(
        config: config::Site,
        server: &Arc<Server>,
        history: &History,
        cores: usize,
        connections: &Connections,
        queues: &Arc<Queues>,
    ) -> Result<Self, Failure> {
        let directory = config.state_dir(server);
        let state = Arc::new(State::open(&directory)?);
        let signature = signature(&config, &directory)?;
        let archive = archive(&config, history, &directory)?;
        let redis = match &archive {
            Archive::None | Archive::Disk(_) => None,
            Archive::Redis(redis) => Some(Arc::clone(redis)),
        };
        let guests = guests(&config, &directory, &state, redis.clone())?;
        // Ids of messages never repeat: each start takes a second that none took before.
        let start = state.message_start(unix_time().as_secs());
        let hub = Arc::new(Hub::new(
            cores,
            start.try_into()?,
            history.max_memory,
            archive,
            limits(&config),
            queues,
        ));
        queues.watch(&hub);
        if let Some(redis) = redis {
            redis.start(Arc::clone(&hub) as Arc<dyn Audience>)?;
        }
        let back_ends = Arc::new(BackEnds::new(&config.upstream));
        let pools = (0..cores).map(|_| Pool::new(config.upstream.clone(), &back_ends));
        Ok(Self {
            pools: pools.collect(),
            back_ends,
            server: Arc::clone(server),
            signature,
            key: 0,
            directory,
            guests,
            hub,
            state,
            visitors: Visitors::new(config.limits.clone()),
            statistics: Arc::default(),
            connections: connections.clone(),
            config,
        })
    }

    /// The same site with another configuration: whoever listens to it listens on, and all that it keeps stays open.
    ///
    /// # Errors
    ///
    /// When no key can be made.
    pub(crate) fn changed(
        &self,
        config: config::Site,
        server: &Arc<Server>,
    ) -> Result<Self, Failure> {
        let (before, now) = (&self.config.push, &config.push);
        let same_key = (&before.signature_key, before.signature_algo)
            == (&now.signature_key, now.signature_algo);
        let (signature, key) = match same_key {
            true => (self.signature.clone(), self.key),
            false => (signature(&config, &self.directory)?, self.key + 1),
        };
        let (back_ends, pools) = match self.config.upstream == config.upstream {
            true => (Arc::clone(&self.back_ends), Arc::clone(&self.pools)),
            false => {
                let back_ends = Arc::new(self.back_ends.changed(&config.upstream));
                let pool = || Pool::new(config.upstream.clone(), &back_ends);
                let pools = self.pools.iter().map(|_| pool()).collect();
                (back_ends, pools)
            }
        };
        Ok(Self {
            back_ends,
            pools,
            server: Arc::clone(server),
            signature,
            key,
            directory: self.directory.clone(),
            guests: self.changed_guests(&config)?,
            hub: Arc::clone(&self.hub),
            state: Arc::clone(&self.state),
            visitors: self.visitors.changed(config.limits.clone()),
            statistics: Arc::clone(&self.statistics),
            connections: self.connections.clone(),
            config,
        })
    }

    /// Guests keep their numbers, and the counter goes on.
    fn changed_guests(&self, config: &config::Site) -> Result<Option<Guests>, Failure> {
        let redis = match self.hub.archive() {
            Archive::None | Archive::Disk(_) => None,
            Archive::Redis(redis) => Some(Arc::clone(redis)),
        };
        match &self.guests {
            Some(guests)
                if config.guest.enabled && config.guest.first_id == self.config.guest.first_id =>
            {
                let keys = secrets::guest_keys(config, &self.directory, Missing::Generate)?;
                Ok(Some(guests.changed(config.guest.clone(), keys)))
            }
            Some(_) | None => guests(config, &self.directory, &self.state, redis),
        }
    }

    /// What the hub and history go by.
    pub(crate) fn apply_limits(&self, max_memory: usize) {
        self.hub.set_limits(limits(&self.config), max_memory);
    }
}

fn signature(config: &config::Site, directory: &Path) -> Result<SignatureKey, Failure> {
    secrets::signature_key(config, directory, Missing::Generate).or_else(|why| {
        tracing::error!(%why, "no signature key can be kept: no signature is good after a restart");
        secrets::unkept_signature_key(config)
    })
}

fn guests(
    config: &config::Site,
    directory: &Path,
    state: &Arc<State>,
    redis: Option<Arc<Redis>>,
) -> Result<Option<Guests>, Failure> {
    if !config.guest.enabled {
        return Ok(None);
    }
    match secrets::guest_keys(config, directory, Missing::Generate) {
        Ok(keys) => {
            let ids = Ids::start(Arc::clone(state), config.guest.first_id, redis)?;
            Ok(Some(Guests::new(config.guest.clone(), keys, ids)))
        }
        Err(why) => {
            tracing::error!(%why, "guests are not served before the next start: their secret cannot be used");
            Ok(None)
        }
    }
}

fn limits(config: &config::Site) -> Limits {
    let limits = &config.push.limits;
    Limits {
        connections_per_channel: limits.max_connections_per_channel,
        message_ttl: limits.message_ttl.as_secs().try_into().unwrap_or(u32::MAX),
        subscriber_queue: limits.subscriber_queue,
    }
}

/// Where messages are kept, as configured.
fn archive(config: &config::Site, history: &History, directory: &Path) -> Result<Archive, Failure> {
    let limits = &config.push.limits;
    Ok(match history.engine {
        Engine::Memory => Archive::None,
        Engine::Disk => {
            let bounds = Bounds {
                max_bytes: history.max_disk,
                message_ttl: limits.message_ttl,
            };
            Archive::Disk(Disk::open(
                &directory.join("history"),
                bounds,
                history.durability,
            )?)
        }
        Engine::Redis => Archive::Redis(Arc::new(Redis::new(Settings {
            place: config.redis.clone(),
            channel_ttl: limits.channel_ttl,
            ping_interval: config.push.ping_interval,
        })?)),
    })
}
