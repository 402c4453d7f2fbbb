//! The connections to Redis: one for commands, one for pub/sub, both or none.
//!
//! The keeper makes them again for ever. Everybody else looks at the [`Link`] that it sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::PubSub;
use redis::{AsyncConnectionConfig, RedisError};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::address::Address;
use super::commands::Commands;
use super::feed::Feed;
use super::names::Names;
use crate::history::Unavailable;

/// For a connection to open.
const OPENING: Duration = Duration::from_secs(5);

/// For Redis to answer a command; a script that others run may hold it up.
const ANSWER: Duration = Duration::from_secs(5);

/// Between two attempts to connect: from this, doubled each time,
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Between two log lines that say that Redis is still unreachable.
const REMINDER: Duration = Duration::from_secs(30);

/// How the connections are now.
#[derive(Clone)]
pub(super) enum State {
    /// Since when there are none.
    Unreachable(Instant),
    Up(Session),
}

/// Connections that live and end together.
#[derive(Clone)]
pub(super) struct Session {
    number: u64,
    pub(super) commands: Commands,
}

/// Everybody's view of the connections.
#[derive(Clone)]
pub(super) struct Link {
    state: watch::Receiver<State>,
    suspicion: Arc<Notify>,
    sessions: Arc<AtomicU64>,
}

/// The end that the keeper has.
pub(super) struct Keeper {
    address: Address,
    names: Arc<Names>,
    state: watch::Sender<State>,
    suspicion: Arc<Notify>,
    sessions: Arc<AtomicU64>,
}

/// Why the connections were given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error("it did not answer in time")]
    Timeout,
    #[error("the connection for pub/sub was closed")]
    Closed,
    #[error("what was published did not come back")]
    Silent,
    #[error("it is no master any more")]
    Demoted,
}

pub(super) fn link(address: Address, names: Arc<Names>) -> (Keeper, Link) {
    let (sender, state) = watch::channel(State::Unreachable(Instant::now()));
    let (suspicion, sessions) = (Arc::new(Notify::new()), Arc::new(AtomicU64::new(0)));
    let keeper = Keeper {
        address,
        names,
        state: sender,
        suspicion: Arc::clone(&suspicion),
        sessions: Arc::clone(&sessions),
    };
    let link = Link {
        state,
        suspicion,
        sessions,
    };
    (keeper, link)
}

impl Link {
    /// A connection for commands, as soon as there is one.
    pub(super) async fn up(&self) -> Session {
        let mut state = self.state.clone();
        loop {
            if let State::Up(session) = &*state.borrow_and_update() {
                return session.clone();
            }
            if state.changed().await.is_err() {
                // The keeper ends when history is closed.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The same for those who cannot wait longer than this.
    pub(super) async fn within(&self, time: Duration) -> Result<Session, Unavailable> {
        let up = timeout(time, self.up()).await;
        up.map_err(|_| super::unreachable())
    }

    /// The connection of now.
    pub(super) fn now(&self) -> Option<Session> {
        match &*self.state.borrow() {
            State::Up(session) => Some(session.clone()),
            State::Unreachable(_) => None,
        }
    }

    /// Ends when a session does.
    pub(super) async fn ended(&self, session: &Session) {
        let same = |state: &State| matches!(state, State::Up(now) if now.number == session.number);
        // An error means that the keeper has ended.
        let _ = self.state.clone().wait_for(|state| !same(state)).await;
    }

    /// Ends when there is another session than the one of this number; with its own number.
    pub(super) async fn next(&self, seen: u64) -> (u64, Session) {
        loop {
            let session = self.up().await;
            if session.number != seen {
                return (session.number, session);
            }
            self.ended(&session).await;
        }
    }

    /// The server cannot do what a master must: somebody else may be the master now.
    pub(super) fn suspect(&self) {
        self.suspicion.notify_one();
    }

    /// Since when there is no connection.
    pub(super) fn away_since(&self) -> Option<Instant> {
        match &*self.state.borrow() {
            State::Up(_) => None,
            State::Unreachable(since) => Some(*since),
        }
    }

    /// How often there were connections.
    pub(super) fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }
}

impl Keeper {
    /// Connects, and again whenever the connections end, for ever.
    pub(super) async fn keep(self, mut feed: Feed) {
        let mut pause = FIRST_PAUSE;
        let mut said: Option<Instant> = None;
        loop {
            let why = match self.connect().await {
                Ok((session, messages)) => {
                    tracing::info!(address = %self.address, "connected to Redis");
                    said = None;
                    let began = Instant::now();
                    let why = self.run(session, messages, &mut feed).await;
                    self.state.send_replace(State::Unreachable(Instant::now()));
                    if began.elapsed() > LONGEST_PAUSE {
                        pause = FIRST_PAUSE;
                    }
                    why
                }
                Err(why) => why,
            };
            if said.is_none_or(|said| said.elapsed() > REMINDER) {
                tracing::warn!(address = %self.address, %why, "Redis is unreachable");
                said = Some(Instant::now());
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn connect(&self) -> Result<(Session, PubSub), Lost> {
        let opening = async {
            let client = self.address.resolve().await?;
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(OPENING))
                .set_response_timeout(Some(ANSWER));
            let commands = client
                .get_multiplexed_async_connection_with_config(&config)
                .await?;
            Ok((commands, client.get_async_pubsub().await?))
        };
        let opened: Result<_, RedisError> =
            timeout(OPENING, opening).await.map_err(|_| Lost::Timeout)?;
        let (commands, messages) = opened?;
        let number = self.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        let commands = Commands::new(commands, Arc::clone(&self.names));
        Ok((Session { number, commands }, messages))
    }

    /// Until the connections are of no use any more.
    async fn run(&self, session: Session, messages: PubSub, feed: &mut Feed) -> Lost {
        let up = || {
            self.state.send_replace(State::Up(session.clone()));
        };
        let commands = session.commands.clone();
        tokio::select! {
            why = feed.run(commands, messages, up) => why,
            () = self.suspicion.notified() => Lost::Demoted,
        }
    }
}
