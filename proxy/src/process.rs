//! What there is once in a process: the sites that are served, and the count of open connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;

use crate::config;
use crate::site::Sites;

/// See the module.
#[derive(Debug)]
pub(crate) struct Process {
    /// What a request sees is one of these, from its beginning to its end; a reload puts another in its place.
    serving: ArcSwap<Serving>,
    pub(crate) connections: Connections,
}

/// What is served now, and how.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) server: Arc<config::Server>,
    /// Whether every request leaves a line in the log.
    pub(crate) access_log: bool,
    pub(crate) sites: Sites,
}

impl Process {
    pub(crate) fn new(serving: Serving, connections: Connections) -> Self {
        Self {
            serving: ArcSwap::from_pointee(serving),
            connections,
        }
    }

    /// What is served now.
    pub(crate) fn serving(&self) -> Arc<Serving> {
        self.serving.load_full()
    }
}

/// Open connections of clients, websockets among them: a limit looks at it, and a stop waits for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connections(Arc<AtomicUsize>);

/// One of them, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Connections {
    pub(crate) fn count(&self) -> Counted {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(&self.0))
    }

    pub(crate) fn open(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
