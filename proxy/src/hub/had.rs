//! What a subscriber has had of what comes to it.

use std::time::{Duration, Instant};

use pullgate_compat::message::MessageId;

/// For how long what is in a catch-up may come live as well, from Redis.
const OVERLAP: Duration = Duration::from_secs(30);

/// Messages that other nodes may have delivered before this one hears of them.
const SOON: u64 = 10_000;

/// How a subscriber tells what it has had: a message comes again when it names another of the
/// connection's channels, or when it was in the catch-up.
#[derive(Debug)]
pub(super) enum Had {
    /// Ids only grow, so it is what is not newer than the newest that was queued or came from history.
    UpTo(MessageId),
    /// Ids of several nodes may come a little out of order: it is the last one, the catch-up, and what
    /// is not newer than the client's `mid`.
    These {
        last: MessageId,
        mid: MessageId,
        caught_up: Option<Box<CaughtUp>>,
    },
}

/// The ids of a catch-up, in order.
#[derive(Debug)]
pub(super) struct CaughtUp {
    ids: Vec<MessageId>,
    until: Instant,
}

impl Had {
    /// A `mid` far beyond the last id that was given is made up, and says nothing.
    pub(super) fn up_to_mid(mid: Option<MessageId>, last_given: MessageId) -> Self {
        let start = u32::try_from(last_given.start()).unwrap_or(u32::MAX);
        let given_soon = MessageId::new(start, last_given.counter() + SOON);
        Self::These {
            last: MessageId::MIN,
            mid: mid
                .filter(|mid| *mid <= given_soon)
                .unwrap_or(MessageId::MIN),
            caught_up: None,
        }
    }

    /// Whether a message has not been had; from now on it has.
    pub(super) fn is_new(&mut self, id: MessageId) -> bool {
        self.forget();
        match self {
            Self::UpTo(newest) => {
                let is_new = id > *newest;
                *newest = id.max(*newest);
                is_new
            }
            Self::These {
                last,
                mid,
                caught_up,
            } => {
                let in_catch_up =
                    |caught_up: &mut Box<CaughtUp>| caught_up.ids.binary_search(&id).is_ok();
                let is_new =
                    id != *last && id > *mid && !caught_up.as_mut().is_some_and(in_catch_up);
                *last = id;
                is_new
            }
        }
    }

    /// Drops the ids of a catch-up that can no longer come again: there may be many subscribers.
    pub(super) fn forget(&mut self) {
        if let Self::These { caught_up, .. } = self
            && caught_up
                .as_ref()
                .is_some_and(|it| it.until < Instant::now())
        {
            *caught_up = None;
        }
    }

    /// Ids of the catch-up, in order, where ids of several nodes come.
    pub(super) fn catch_up(&mut self, ids: Vec<MessageId>) {
        if let Self::These { caught_up, .. } = self {
            let until = Instant::now() + OVERLAP;
            *caught_up = Some(Box::new(CaughtUp { ids, until }));
        }
    }
}
