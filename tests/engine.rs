//! The engines of history, and tests that run on each.

use std::sync::Arc;

use tempfile::TempDir;

use crate::cluster::redis_server::RedisServer;
use crate::harness::{Server, wait_for};

/// Makes a test of each function on each engine: `on_memory::NAME`, `on_disk::NAME` and `on_redis::NAME`.
macro_rules! on_every_engine {
    ($($name:ident),+ $(,)?) => {
        mod on_memory {
            $(#[test] fn $name() { super::$name(&crate::engine::Engine::Memory); })+
        }
        mod on_disk {
            $(#[test] fn $name() { super::$name(&crate::engine::Engine::Disk); })+
        }
        mod on_redis {
            $(#[test] fn $name() { super::$name(&crate::engine::Engine::redis()); })+
        }
    };
}
pub(crate) use on_every_engine;

/// An engine, with what it needs.
pub(crate) enum Engine {
    Memory,
    Disk,
    /// All servers of a test are nodes of this one.
    Redis(RedisServer),
}

impl Engine {
    pub(crate) fn redis() -> Self {
        Self::Redis(RedisServer::start())
    }

    /// `[history]` for it.
    pub(crate) fn history(&self) -> String {
        match self {
            Self::Memory => "[history]\nengine = \"memory\"\n".to_owned(),
            Self::Disk => "[history]\nengine = \"disk\"\n".to_owned(),
            Self::Redis(redis) => redis.history(),
        }
    }

    /// pullgate on it, in front of `upstream`, with more lines of configuration, which continue `[history]`; takes
    /// messages and gives numbers to guests at once.
    pub(crate) fn start(&self, upstream: &str, more: &str) -> Server {
        self.start_in(Arc::new(tempfile::tempdir().unwrap()), upstream, more)
    }

    /// The same on an existing state directory.
    pub(crate) fn start_in(&self, directory: Arc<TempDir>, upstream: &str, more: &str) -> Server {
        let server = Server::start_in(directory, upstream, &format!("{}{more}", self.history()));
        self.wait_for(&server);
        server
    }

    /// Waits until a server that was started on it takes messages and gives numbers.
    pub(crate) fn wait_for(&self, server: &Server) {
        if matches!(self, Self::Redis(_)) {
            wait_for(|| server.log().contains("connected to Redis"));
            wait_for(|| server.log().contains("guest ids reserved"));
        }
    }
}
