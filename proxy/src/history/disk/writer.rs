//! The thread that writes what publishers append.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::store::{Entry, Store};
use super::{Durability, FORGETFUL, Progress, Shared};
use crate::clock::unix_time;

/// Between syncs with `durability = "interval"`: what a crash of the machine may take.
const SYNC_INTERVAL: Duration = Duration::from_millis(50);

/// Between looks for what has expired.
const TIDY_INTERVAL: Duration = Duration::from_secs(1);

/// Before the next attempt to use a disk that could not be used.
const RETRY: Duration = Duration::from_secs(2);

/// The writing thread.
pub(super) struct Writer<'a> {
    shared: &'a Shared,
    report: &'a watch::Sender<Progress>,
    durability: Durability,
    unsynced_since: Option<Instant>,
    tidied: Instant,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        report: &'a watch::Sender<Progress>,
        durability: Durability,
    ) -> Self {
        Self {
            shared,
            report,
            durability,
            unsynced_since: None,
            tidied: Instant::now(),
        }
    }

    pub(super) fn run(mut self) {
        loop {
            let (entries, closing) = self.next_batch();
            // Again until it is written, or there is no time left.
            while !self.attempt(&entries, closing) {
                if self.pause() {
                    return;
                }
            }
            if closing && entries.is_empty() {
                return;
            }
        }
    }

    /// Writes, in a store that is opened again if need be.
    fn attempt(&mut self, entries: &[Entry], closing: bool) -> bool {
        let (store, is_again) = match self.shared.store() {
            Some(store) => (Ok(store), false),
            None => (self.reopen(), true),
        };
        let done = store.and_then(|store| {
            // The library panics over some kinds of damage.
            match catch_unwind(AssertUnwindSafe(|| self.step(&store, entries, closing))) {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("writing it failed".to_owned()),
            }
        });
        match done {
            Ok(()) if is_again => {
                *self.shared.trouble() = None;
                self.report.send_modify(|progress| progress.failed = false);
                tracing::info!("history is written to disk again");
            }
            Ok(()) => {}
            Err(why) => self.fail(&why),
        }
        self.shared.trouble().is_none()
    }

    fn reopen(&self) -> Result<Arc<Store>, String> {
        let store = self.shared.folder.open().map_err(|why| why.to_string())?;
        self.shared.set_store(Some(store));
        self.shared.store().ok_or_else(String::new)
    }

    /// Closes the store: a library that failed once takes nothing more.
    fn fail(&mut self, why: &str) {
        self.shared.metrics.failures.fetch_add(1, Ordering::Relaxed);
        let is_new = self.shared.trouble().replace(why.to_owned()).is_none();
        if is_new {
            tracing::error!(why, "{FORGETFUL}");
            self.report.send_modify(|progress| progress.failed = true);
        } else {
            tracing::debug!(why, "history still cannot be written");
        }
        self.unsynced_since = None;
        self.shared.set_store(None);
    }

    /// Waits before the next attempt; true at the end.
    fn pause(&self) -> bool {
        let waiting = self.shared.waiting();
        let (waiting, _) = self
            .shared
            .more
            .wait_timeout_while(waiting, RETRY, |waiting| !waiting.closing)
            .unwrap_or_else(PoisonError::into_inner);
        waiting.closing
    }

    /// Waits for messages, or for the next sync or look around.
    fn next_batch(&self) -> (Vec<Entry>, bool) {
        let within = match self.unsynced_since {
            Some(since) => SYNC_INTERVAL.saturating_sub(since.elapsed()),
            None => TIDY_INTERVAL,
        };
        let waiting = self.shared.waiting();
        let (mut waiting, _) = self
            .shared
            .more
            .wait_timeout_while(waiting, within, |waiting| {
                waiting.entries.is_empty() && !waiting.closing
            })
            .unwrap_or_else(PoisonError::into_inner);
        (waiting.take_batch(), waiting.closing)
    }

    fn step(&mut self, store: &Store, entries: &[Entry], closing: bool) -> fjall::Result<()> {
        let now = unix_time().as_secs();
        if let Some(last) = entries.last() {
            store.write(entries, now)?;
            self.unsynced_since.get_or_insert_with(Instant::now);
            self.report
                .send_modify(|progress| progress.written = last.message.id);
        }
        if let Some(since) = self.unsynced_since
            && (closing
                || self.durability == Durability::Always
                || since.elapsed() >= SYNC_INTERVAL)
        {
            store.sync()?;
            self.unsynced_since = None;
            self.report
                .send_modify(|progress| progress.synced = progress.written);
        }
        if self.tidied.elapsed() >= TIDY_INTERVAL {
            self.tidied = Instant::now();
            let evicted = store.tidy(now)?;
            self.shared
                .metrics
                .evicted_buckets
                .fetch_add(evicted as u64, Ordering::Relaxed);
        }
        Ok(())
    }
}
