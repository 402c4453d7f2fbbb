//! The groups in which a core finds its own subscribers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::outgoing::Outgoing;
use super::subscriber::{Closed, Subscriber};

/// The subscribers of one channel on one core.
#[derive(Debug)]
pub(crate) struct Group {
    members: Mutex<Members>,
    /// Whether there was no room for a message to them, and the core has yet to hear of it.
    behind: AtomicBool,
}

/// By number, which only grows: the oldest is first.
#[derive(Debug, Clone)]
struct Members {
    /// Beside a tree, which would be larger than all the rest: most channels have one subscriber.
    first: Option<Arc<Subscriber>>,
    /// A tree, because there may be 100,000 that all go at once.
    others: BTreeMap<u64, Arc<Subscriber>>,
}

impl Members {
    fn add(&mut self, subscriber: Arc<Subscriber>) {
        if self.first.is_none() {
            self.first = Some(subscriber);
        } else {
            self.others.insert(subscriber.number(), subscriber);
        }
    }

    fn remove(&mut self, number: u64) {
        match &self.first {
            Some(first) if first.number() == number => {
                self.first = self.others.pop_first().map(|(_, next)| next);
            }
            Some(_) | None => {
                self.others.remove(&number);
            }
        }
    }

    /// The oldest first.
    fn all(&self) -> impl Iterator<Item = &Arc<Subscriber>> {
        self.first.iter().chain(self.others.values())
    }
}

impl Group {
    pub(super) fn of(subscriber: &Arc<Subscriber>) -> Self {
        Self {
            members: Mutex::new(Members {
                first: Some(Arc::clone(subscriber)),
                others: BTreeMap::new(),
            }),
            behind: AtomicBool::new(false),
        }
    }

    pub(super) fn add(&self, subscriber: &Arc<Subscriber>) {
        self.members().add(Arc::clone(subscriber));
    }

    /// Takes a member out; true when none is left.
    pub(super) fn remove(&self, subscriber: &Subscriber) -> bool {
        let mut members = self.members();
        members.remove(subscriber.number());
        members.first.is_none()
    }

    pub(super) fn push(&self, message: &Arc<Outgoing>) {
        for member in self.members().all() {
            member.push(message);
        }
    }

    pub(super) fn close(&self, why: Closed) {
        for member in self.members().all() {
            member.close(why);
        }
    }

    /// By number, as they are now.
    pub(super) fn subscribers(&self) -> impl Iterator<Item = (u64, Arc<Subscriber>)> + use<> {
        let Members { first, others } = self.members().clone();
        first
            .map(|first| (first.number(), first))
            .into_iter()
            .chain(others)
    }

    /// See [`Subscriber::close_proven_before`].
    pub(super) fn close_proven_before(&self, key: u32) {
        for member in self.members().all() {
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
            .all()
            .filter(|member| member.is_open())
            .count()
    }

    pub(super) fn oldest_open(&self) -> Option<Arc<Subscriber>> {
        self.members()
            .all()
            .find(|member| member.is_open())
            .map(Arc::clone)
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
