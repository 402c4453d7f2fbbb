//! How far the process is on the way from serving to its end.

use std::sync::Arc;

use tokio::sync::watch;

/// Each goes further than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Everything is served.
    Serving,
    /// Nothing is accepted, what is under way is let end: SIGTERM or SIGINT.
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
}
