//! Certificates that pullgate gets and renews by itself (RFC 8555), for listeners with `tls = { acme = [ … ] }`.
//!
//! | module | what |
//! |---|---|
//! | [`challenge`] | what proves to the authority that the hosts are ours |
//! | [`order`] | one certificate, from the order to its chain |
//! | [`store`] | the files, so that a start asks the authority for nothing |
//!
//! One task ([`Acme::keep`]) gets what is missing and renews what comes to its end, one certificate after the other. Until
//! there is one, a self-signed certificate stands in, so that the listener can be opened and the challenge be answered.

pub(crate) mod challenge;
mod order;
mod store;

use std::collections::HashMap;
use std::error::Error as _;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::sign::CertifiedKey;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::clock::unix_time;
use crate::config;
use challenge::Challenges;
use order::Account;
use store::{Kept, Ordered, Store};

/// After a failure, until the next attempt: from this, doubled each time,
const FIRST_PAUSE: Duration = Duration::from_secs(120);
/// up to this. Authorities count failures by the hour.
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 60 * 60);

/// When nothing is due, it is looked all the same: a clock may have been set.
const LOOK: Duration = Duration::from_secs(60 * 60);

/// Renewed when this part of its life is left, a little earlier or later,
const LEFT: u64 = 3;
/// by up to this part, so that not all sites come in one hour.
const SPREAD: u64 = 30;

/// Everything about certificates of a process. See the module.
pub(crate) struct Acme {
    pub(crate) challenges: Challenges,
    settings: ArcSwap<config::Acme>,
    store: Store,
    /// Those that a listener shows, by their hosts.
    managed: Mutex<HashMap<Vec<String>, Weak<Managed>>>,
    /// There may be something new to do.
    changed: Notify,
    failures: AtomicU64,
}

/// A certificate that is kept up to date.
pub(crate) struct Managed {
    /// At least one; the first names its file.
    hosts: Vec<String>,
    current: ArcSwap<Current>,
    retry: Mutex<Retry>,
}

struct Current {
    certified: Arc<CertifiedKey>,
    /// Unix seconds; `None` for the one that stands in.
    ends: Option<u64>,
    /// When it is to be renewed.
    due: u64,
}

/// Why a certificate was not to be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Authority(#[from] instant_acme::Error),
    #[error("{host}: {why}")]
    Challenge { host: String, why: String },
    #[error("the authority offers no challenge of the kind {0}")]
    NoSuchChallenge(&'static str),
    #[error("the order became {0}")]
    Order(String),
    #[error("no certificate could be made: {0}")]
    Made(#[from] rcgen::Error),
    #[error("what the authority sent is no certificate with its key")]
    Nonsense,
    #[error("{}: {why}", path.display())]
    File { path: PathBuf, why: std::io::Error },
}

impl Acme {
    /// Nothing happens before [`Acme::keep`]. Files are in `directory`.
    pub(crate) fn new(settings: config::Acme, directory: PathBuf) -> Self {
        Self {
            challenges: Challenges::default(),
            settings: ArcSwap::from_pointee(settings),
            store: Store::new(directory),
            managed: Mutex::default(),
            changed: Notify::new(),
            failures: AtomicU64::new(0),
        }
    }

    /// How it is to be done from now on. What failed is tried again at once.
    pub(crate) fn set(&self, settings: config::Acme) {
        self.settings.store(Arc::new(settings));
        for managed in self.all() {
            *managed.retry() = Retry::default();
        }
        self.changed.notify_one();
    }

    /// The certificate for these hosts, which is kept up to date for as long as anybody has it.
    ///
    /// # Errors
    ///
    /// When there is none yet, and none can be made to stand in.
    pub(crate) fn certificate(&self, hosts: &[String]) -> Result<Arc<Managed>, Failure> {
        let mut managed = self.managed.lock().unwrap_or_else(PoisonError::into_inner);
        managed.retain(|_, managed| managed.strong_count() > 0);
        if let Some(managed) = managed.get(hosts).and_then(Weak::upgrade) {
            return Ok(managed);
        }
        let current = match self.store.certificate(hosts) {
            Ok(Some(kept)) => Current::of(kept),
            Ok(None) => Current::stand_in(hosts)?,
            Err(failure) => {
                tracing::error!(%failure, "a certificate cannot be read: it is ordered anew");
                Current::stand_in(hosts)?
            }
        };
        let new = Arc::new(Managed {
            hosts: hosts.to_vec(),
            current: ArcSwap::from_pointee(current),
            retry: Mutex::default(),
        });
        managed.insert(hosts.to_vec(), Arc::downgrade(&new));
        self.changed.notify_one();
        Ok(new)
    }

    /// When each certificate ends, by its first host, in Unix seconds; 0 for one that is still to come.
    pub(crate) fn ends(&self) -> Vec<(String, u64)> {
        let ends = |managed: Arc<Managed>| {
            let ends = managed.current.load().ends.unwrap_or(0);
            Some((managed.hosts.first()?.clone(), ends))
        };
        self.all().into_iter().filter_map(ends).collect()
    }

    /// Orders that failed since the start.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn all(&self) -> Vec<Arc<Managed>> {
        let managed = self.managed.lock().unwrap_or_else(PoisonError::into_inner);
        managed.values().filter_map(Weak::upgrade).collect()
    }

    /// Gets and renews certificates, for ever.
    pub(crate) async fn keep(&self) {
        loop {
            for managed in self.all() {
                if !managed.next().is_zero() {
                    continue;
                }
                let renewed = self.renew(&managed).await;
                let mut retry = managed.retry();
                match renewed {
                    Ok(()) => *retry = Retry::default(),
                    Err(failure) => {
                        self.failures.fetch_add(1, Ordering::Relaxed);
                        let (hosts, why) = (managed.hosts.join(", "), chain(&failure));
                        let again = retry.failed();
                        tracing::error!(hosts, why, ?again, "there is no new certificate");
                    }
                }
            }
            let next = self.all().into_iter().map(|managed| managed.next()).min();
            tokio::select! {
                () = sleep(next.map_or(LOOK, |next| next.min(LOOK))) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    async fn renew(&self, managed: &Managed) -> Result<(), Failure> {
        let settings = self.settings.load_full();
        let ordered = match self.order(&settings, managed).await {
            Err(failure) if failure.is_no_account() => {
                tracing::warn!(
                    "the authority does not know our account any more: a new one is made"
                );
                self.store.forget_account(&settings.directory)?;
                self.order(&settings, managed).await?
            }
            ordered => ordered?,
        };
        // In use before it is kept: a full disk takes nobody's certificate away.
        let kept = Kept::read(&ordered).ok_or(Failure::Nonsense)?;
        managed.current.store(Arc::new(Current::of(kept)));
        tracing::info!(
            hosts = managed.hosts.join(", "),
            "a new certificate is in use"
        );
        self.store.keep(&managed.hosts, &ordered)
    }

    async fn order(&self, settings: &config::Acme, managed: &Managed) -> Result<Ordered, Failure> {
        let account = Account::of(settings, &self.store).await?;
        let order = account.order(&managed.hosts, settings.challenge, &self.challenges);
        order.await
    }
}

impl Failure {
    /// Whether the authority does not know who we are (RFC 8555 6.7).
    fn is_no_account(&self) -> bool {
        const UNKNOWN: &str = "urn:ietf:params:acme:error:accountDoesNotExist";
        let Self::Authority(instant_acme::Error::Api(problem)) = self else {
            return false;
        };
        problem.r#type.as_deref() == Some(UNKNOWN)
    }
}

impl Managed {
    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.load().certified)
    }

    /// How long there is nothing to do.
    fn next(&self) -> Duration {
        let due = Duration::from_secs(self.current.load().due);
        let due = due.saturating_sub(unix_time());
        due.max(self.retry().left())
    }

    fn retry(&self) -> MutexGuard<'_, Retry> {
        self.retry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    fn of(kept: Kept) -> Self {
        let life = kept.ends.saturating_sub(kept.begins);
        let mut random = [0; 8];
        // Without randomness all come at one time.
        let _ = getrandom::fill(&mut random);
        let spread = u64::from_le_bytes(random) % (life / SPREAD + 1);
        Self {
            certified: Arc::new(kept.certified),
            ends: Some(kept.ends),
            due: kept.ends.saturating_sub(life / LEFT + spread),
        }
    }

    fn stand_in(hosts: &[String]) -> Result<Self, Failure> {
        let made = rcgen::generate_simple_self_signed(hosts)?;
        let kept = challenge::certified(made.cert.der(), &made.signing_key);
        Ok(Self {
            certified: Arc::new(kept.ok_or(Failure::Nonsense)?),
            ends: None,
            due: 0,
        })
    }
}

/// When a certificate that was not to be had is tried for again.
#[derive(Default)]
struct Retry {
    at: Option<Instant>,
    pause: Option<Duration>,
}

impl Retry {
    fn left(&self) -> Duration {
        let at = self.at.unwrap_or_else(Instant::now);
        at.saturating_duration_since(Instant::now())
    }

    /// After how long it is tried again.
    fn failed(&mut self) -> Duration {
        let pause = self
            .pause
            .map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE));
        self.pause = Some(pause);
        self.at = Some(Instant::now() + pause);
        pause
    }
}

/// An error with what is behind it: the libraries tell the reason there.
fn chain(failure: &Failure) -> String {
    let mut text = failure.to_string();
    let mut source = failure.source();
    while let Some(why) = source {
        let why_text = why.to_string();
        if !text.contains(&why_text) {
            text = format!("{text}: {why_text}");
        }
        source = why.source();
    }
    text
}

impl fmt::Debug for Acme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acme").finish_non_exhaustive()
    }
}

impl fmt::Debug for Managed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Managed").field(&self.hosts).finish()
    }
}
