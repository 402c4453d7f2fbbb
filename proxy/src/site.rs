//! What each site has of its own: where it is, its keys, guests, limits, subscribers and messages.
//!
//! Two sites share nothing but the process: each has a hub, a history and a state directory. So what one of them
//! does, or has lost, is never seen at another.

mod hosts;
mod opening;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pullgate_compat::channel::ChannelList;
use pullgate_compat::message::MessageId;
use pullgate_compat::signature::SignatureKey;

use crate::config;
use crate::connections::Connections;
use crate::guest::Guests;
use crate::history::Unavailable;
use crate::hub::Hub;
use crate::hub::catch_up::Missed;
use crate::hub::subscriber::{Proof, Subscription};
use crate::limits::Visitors;
use crate::state::State;
use crate::statistics::Statistics;
use crate::upstream::back_ends::BackEnds;
use crate::upstream::check;
use crate::upstream::pool::Pool;
use hosts::Hosts;

/// See the module.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) config: config::Site,
    /// The process's settings, as they were when the site got its own.
    pub(crate) server: Arc<config::Server>,
    pub(crate) signature: SignatureKey,
    /// What the hub calls that key.
    key: u32,
    /// `None` if they are not wanted, or their secret cannot be used.
    pub(crate) guests: Option<Guests>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) state: Arc<State>,
    pub(crate) visitors: Visitors,
    pub(crate) statistics: Arc<Statistics>,
    /// Those of the process.
    pub(crate) connections: Connections,
    /// Where it keeps what must survive.
    directory: PathBuf,
    /// What all cores know of its back ends.
    pub(crate) back_ends: Arc<BackEnds>,
    /// By core.
    pools: Arc<[Pool]>,
}

impl Site {
    /// Lets another process have all that is kept. Who is a guest is told as before, and so are new numbers while some
    /// are reserved.
    pub(crate) fn release(&self) {
        self.hub.release();
        self.state.release();
    }

    /// The guests, if they have channels of pullgate's own.
    pub(crate) fn guest_push(&self) -> Option<&Guests> {
        self.guests
            .as_ref()
            .filter(|_| self.config.guest.push.enabled)
    }

    /// Subscribes whom a signature of the site's proves. See [`Hub::subscribe`].
    pub(crate) async fn subscribe(
        &self,
        core: usize,
        channels: &ChannelList,
        mid: Option<MessageId>,
    ) -> Result<(Subscription, Missed), Unavailable> {
        let proof = Proof::Key(self.key);
        self.hub.subscribe_by(proof, core, channels, mid).await
    }

    /// Asks its back ends whether they are well, for as long as it is polled.
    pub(crate) async fn keep_checking(&self) {
        check::keep_checking(&self.back_ends, self.config.first_host()).await;
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// What the hub calls the signature key. It is another number for another key.
    pub(crate) fn key(&self) -> u32 {
        self.key
    }

    /// A core's connections to the back end. There is one for every core that runs.
    #[allow(clippy::indexing_slicing, reason = "cores are numbered from 0")]
    pub(crate) fn pool(&self, core: usize) -> &Pool {
        &self.pools[core % self.pools.len()]
    }
}

/// All sites, and which request is whose.
#[derive(Debug)]
pub(crate) struct Sites {
    all: Vec<Arc<Site>>,
    hosts: Hosts<Arc<Site>>,
}

impl Sites {
    pub(crate) fn new(all: Vec<Arc<Site>>) -> Self {
        let of = |site: &Arc<Site>| {
            let hosts = site.config.hosts.clone().into_iter();
            let site = Arc::clone(site);
            hosts.map(move |host| (host, Arc::clone(&site)))
        };
        let default = all.iter().find(|site| site.config.is_default);
        Self {
            hosts: Hosts::new(all.iter().flat_map(of), default.cloned()),
            all,
        }
    }

    /// The site that a listener is for, or else the one whose host it is.
    pub(crate) fn find(&self, listener: Option<&str>, host: &str) -> Option<&Arc<Site>> {
        match listener {
            Some(name) => self.all.iter().find(|site| site.config.name == name),
            None => self.hosts.find(host),
        }
    }

    pub(crate) fn all(&self) -> &[Arc<Site>] {
        &self.all
    }
}
