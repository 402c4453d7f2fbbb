//! What this process does for another to take over. See [`crate::upgrade`].

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::{Failure, Running};
use crate::notify;
use crate::phase::Phase;
use crate::process::Serving;
use crate::server::Open;
use crate::upgrade::{Step, Successor};

/// For so long responses end their connections before nothing is accepted any more: who comes again meanwhile does so
/// over a new one, and does not write to one that is about to be closed.
const ANNOUNCED: Duration = Duration::from_secs(1);

/// Over so long subscribers are sent away. Their connections wait, so it is short.
const FAREWELL: Duration = Duration::from_secs(1);

impl Running {
    /// Lets the program's file take over, and drains. If that fails, this process serves as before.
    pub(super) fn hand_over(&mut self) -> Result<(), Failure> {
        let sockets = self.listeners.iter().map(Open::sockets);
        let sockets: Vec<Vec<OwnedFd>> = sockets.collect::<Result<_, _>>()?;
        let sockets: Vec<OwnedFd> = sockets.into_iter().flatten().collect();
        let mut successor = Successor::start(&self.program, &sockets)?;
        tracing::info!("another process is started, to take over");
        successor.wait_for(Step::Prepared)?;
        self.phases.reach(Phase::Leaving);
        std::thread::sleep(ANNOUNCED);
        self.phases.reach(Phase::Paused);
        self.settle();
        for site in self.process.serving().sites.all() {
            site.release();
        }
        let taken = successor.tell(Step::Released);
        match taken.and_then(|()| successor.wait_for(Step::Ready)) {
            Ok(()) => {
                notify::fall_silent();
                let pid = successor.let_go();
                tracing::info!(pid, "another process has taken over");
                self.phases.reach(Phase::Draining);
                Ok(())
            }
            Err(why) => {
                drop(successor);
                self.take_back()?;
                Err(why.into())
            }
        }
    }

    /// Sends the subscribers away, and waits for what has to be done here: requests that are on their way on connections
    /// that were accepted, and publishes. What does not come in time is answered without what is stored.
    fn settle(&self) {
        let process = &self.process;
        let serving = process.serving();
        let until = Instant::now() + serving.server.drain_timeout / 10;
        self.server.wait_for(async {
            let sites = serving.sites.all().iter();
            let closing = sites.map(|site| site.hub.close_all(FAREWELL));
            futures_util::future::join_all(closing).await;
            while process.unasked.open() + process.publishing.open() > 0 && Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }

    /// Opens what was released, and goes on.
    fn take_back(&mut self) -> Result<(), Failure> {
        let cores = self.server.cores();
        let serving = Serving::open(
            &self.config,
            cores,
            &self.process.connections,
            &self.process.queues,
        );
        let opened = serving.map(|serving| {
            self.process.serve(serving);
            self.delivering.clear();
            self.deliver();
        });
        // Without what is stored the site itself can be served still.
        self.phases.go_on();
        opened
    }
}
