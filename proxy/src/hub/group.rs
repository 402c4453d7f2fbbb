//! The groups in which a core finds its own subscribers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::outgoing::Outgoing;
use super::subscriber::{Closed, Subscriber};

/// The subscribers of one channel on one core.
#[derive(Debug)]
pub(crate) struct Group {
    /// By number, so the oldest is first. A tree, because there may be 100,000 that all go at once.
    members: Mutex<BTreeMap<u64, Arc<Subscriber>>>,
    /// Whether there was no room for a message to them, and the core has yet to hear of it.
    behind: AtomicBool,
}

impl Group {
    pub(super) fn of(subscriber: &Arc<Subscriber>) -> Self {
        let first = (subscriber.number(), Arc::clone(subscriber));
        Self {
            members: Mutex::new(BTreeMap::from([first])),
            behind: AtomicBool::new(false),
        }
    }

    pub(super) fn add(&self, subscriber: &Arc<Subscriber>) {
        self.members()
            .insert(subscriber.number(), Arc::clone(subscriber));
    }

    /// Takes a member out; true when none is left.
    pub(super) fn remove(&self, subscriber: &Subscriber) -> bool {
        let mut members = self.members();
        members.remove(&subscriber.number());
        members.is_empty()
    }

    pub(super) fn push(&self, message: &Arc<Outgoing>) {
        for member in self.members().values() {
            member.push(message);
        }
    }

    pub(super) fn close(&self, why: Closed) {
        for member in self.members().values() {
            member.close(why);
        }
    }

    /// By number, as they are now.
    pub(super) fn subscribers(&self) -> BTreeMap<u64, Arc<Subscriber>> {
        self.members().clone()
    }

    /// See [`Subscriber::close_proven_before`].
    pub(super) fn close_proven_before(&self, key: u32) {
        for member in self.members().values() {
            member.close_proven_before(key);
        }
    }

    /// There is no room for a message to them; true when the core is to be told.
    pub(super) fn fall_behind(&self) -> bool {
        !self.behind.swap(true, Ordering::Relaxed)
    }

    /// The core has heard of it.
    pub(super) fn catch_up(&self) {
        self.behind.store(false, Ordering::Relaxed);
    }

    pub(super) fn open(&self) -> usize {
        self.members()
            .values()
            .filter(|member| member.is_open())
            .count()
    }

    pub(super) fn oldest_open(&self) -> Option<Arc<Subscriber>> {
        self.members()
            .values()
            .find(|member| member.is_open())
            .map(Arc::clone)
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Subscriber>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
