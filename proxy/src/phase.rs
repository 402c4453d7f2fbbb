//! How far the process is on the way from serving to its end.

use std::sync::Arc;

use tokio::sync::watch;

/// Each goes further than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Everything is served.
    Serving,
    /// The same, but every response ends its connection: another process is about to take over.
    Leaving,
    /// Nothing is accepted: connections wait for the other process, or for this one to go on.
    Paused,
    /// Nobody listens any more, what is under way is let end: SIGTERM or SIGINT, or the other process has taken over.
    Draining,
    /// Nothing is waited for: the second of these signals.
    Ending,
}

/// The phase, which everybody can wait for.
#[derive(Debug, Clone)]
pub(crate) struct Phases(Arc<watch::Sender<Phase>>);

/// Who waits for a phase.
#[derive(Debug, Clone)]
pub(crate) struct Watching(watch::Receiver<Phase>);

impl Default for Phases {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Phase::Serving)))
    }
}

impl Phases {
    /// Goes on to `phase`, or stays where it is further on.
    pub(crate) fn reach(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let is_further = *now < phase;
            *now = phase.max(*now);
            is_further
        });
    }

    /// Serves again after a pause. It does not come back from a drain.
    pub(crate) fn go_on(&self) {
        self.0.send_if_modified(|now| {
            let is_paused = *now < Phase::Draining;
            if is_paused {
                *now = Phase::Serving;
            }
            is_paused
        });
    }

    pub(crate) fn watch(&self) -> Watching {
        Watching(self.0.subscribe())
    }
}

impl Watching {
    /// Waits until `phase`, or one behind it, is reached.
    pub(crate) async fn reached(&mut self, phase: Phase) {
        // An error means that nobody can change it any more, which is the end too.
        let _ = self.0.wait_for(|now| *now >= phase).await;
    }

    /// Waits out a pause; false if a drain follows.
    pub(crate) async fn resumed(&mut self) -> bool {
        let ended = self.0.wait_for(|now| *now != Phase::Paused).await;
        ended.is_ok_and(|now| *now < Phase::Paused)
    }

    pub(crate) fn now(&self) -> Phase {
        *self.0.borrow()
    }
}
