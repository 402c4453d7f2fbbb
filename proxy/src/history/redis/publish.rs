//! Publishing: what this node accepts waits here until it is carried out, at once or when Redis is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use pullgate_compat::message::{Message, MessageId};
use pullgate_compat::wire::{
    Content, Notification, Recipient, encode_message, encode_notification,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::carrier::Carrier;
use super::names::Names;
use crate::history::Unavailable;

/// Messages that may wait,
const MAX_WAITING: usize = 10_000;
/// and their bytes. One message always may.
const MAX_WAITING_BYTES: usize = 64 << 20;

/// For how long a publisher waits to hear that its messages are with Redis. Then it is told that they are
/// accepted, as push server does.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where publishers leave their messages.
#[derive(Debug)]
pub(super) struct Queue {
    names: Arc<Names>,
    batches: mpsc::UnboundedSender<Batch>,
    waiting: Arc<Waiting>,
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    refused: AtomicU64,
}

/// The messages of one request.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) messages: Vec<Prepared>,
    pub(super) done: oneshot::Sender<Result<(), Unavailable>>,
}

/// A message but for its id.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) lists: Vec<Vec<u8>>,
    pub(super) expiry: u32,
    /// Up to the id.
    pub(super) before: Vec<u8>,
    /// Behind it.
    pub(super) behind: Vec<u8>,
    /// Where the message that is stored begins.
    pub(super) message_at: usize,
}

/// A message to publish; its id does not count.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) message: Message,
    pub(crate) recipients: Vec<Recipient>,
}

/// What became of publishing.
#[derive(Debug)]
pub(crate) enum Refused {
    /// So many messages wait for Redis already.
    Full(usize),
    Unavailable(Unavailable),
}

impl Queue {
    /// The end where messages are left, and the one where they are taken.
    pub(super) fn new(names: Arc<Names>, node: &str, channel_ttl: Duration) -> (Self, Carrier) {
        let (batches, accepted) = mpsc::unbounded_channel();
        let waiting = Arc::new(Waiting::default());
        let carrier = Carrier::new(&names, node, channel_ttl, accepted, Arc::clone(&waiting));
        let queue = Self {
            names,
            batches,
            waiting,
        };
        (queue, carrier)
    }

    /// Accepts messages. When this returns they are with Redis, or Redis is slow or unreachable and they wait.
    pub(super) async fn publish(&self, publications: Vec<Publication>) -> Result<(), Refused> {
        let messages: Vec<Prepared> = publications
            .into_iter()
            .map(|publication| Prepared::new(publication, &self.names))
            .collect();
        if messages.is_empty() {
            return Ok(());
        }
        self.waiting.enter(&messages).map_err(Refused::Full)?;
        let (done, outcome) = oneshot::channel();
        if self.batches.send(Batch { messages, done }).is_err() {
            let why = "the thread of Redis has ended".to_owned();
            return Err(Refused::Unavailable(Unavailable(why)));
        }
        match timeout(PATIENCE, outcome).await {
            Ok(Ok(outcome)) => outcome.map_err(Refused::Unavailable),
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }

    /// Messages that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.messages.load(Ordering::Relaxed)
    }

    /// Messages that were not accepted since the start.
    pub(super) fn refused(&self) -> u64 {
        self.waiting.refused.load(Ordering::Relaxed)
    }
}

impl Waiting {
    pub(super) fn enter(&self, messages: &[Prepared]) -> Result<(), usize> {
        let size = messages.iter().map(Prepared::size).sum();
        let count = self.messages.fetch_add(messages.len(), Ordering::Relaxed);
        let bytes = self.bytes.fetch_add(size, Ordering::Relaxed);
        let full = count + messages.len() > MAX_WAITING || bytes + size > MAX_WAITING_BYTES;
        if full && count > 0 {
            self.leave(messages.len(), size);
            self.refuse(messages.len());
            return Err(count);
        }
        Ok(())
    }

    pub(super) fn leave(&self, messages: usize, bytes: usize) {
        self.messages.fetch_sub(messages, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn refuse(&self, messages: usize) {
        let messages = u64::try_from(messages).unwrap_or(u64::MAX);
        self.refused.fetch_add(messages, Ordering::Relaxed);
    }
}

impl Prepared {
    pub(super) fn new(publication: Publication, names: &Names) -> Self {
        let Publication {
            message,
            recipients,
        } = publication;
        let mut lists: Vec<Vec<u8>> = Vec::new();
        if message.expiry > 0 {
            let keys = recipients
                .iter()
                .map(|recipient| names.list(&recipient.receiver));
            for key in keys {
                if !lists.contains(&key) {
                    lists.push(key);
                }
            }
        }
        let expiry = message.expiry;
        // The message ends its notification, and begins with its id behind two bytes.
        let stored = encode_message(&message).len();
        let mut before = encode_notification(&Notification {
            recipients,
            content: Content::Message(message),
        });
        let message_at = before.len() - stored;
        let id = message_at + 2;
        let behind = before.split_off(id + MessageId::MIN.as_bytes().len());
        before.truncate(id);
        Self {
            lists,
            expiry,
            before,
            behind,
            message_at,
        }
    }

    pub(super) fn size(&self) -> usize {
        let lists: usize = self.lists.iter().map(Vec::len).sum();
        lists + self.before.len() + self.behind.len()
    }
}

#[cfg(test)]
mod tests {
    use pullgate_compat::channel::{ChannelId, Receiver};
    use pullgate_compat::message::{Body, Sender};

    use super::*;

    fn publication(body: &'static str) -> Publication {
        let receiver = Receiver::Private(ChannelId::from_bytes([7; 16]));
        Publication {
            message: Message {
                id: MessageId::MIN,
                body: Body::from(body),
                expiry: 60,
                created: 1_700_000_000,
                sender: Sender::Backend,
            },
            recipients: vec![
                Recipient {
                    receiver,
                    signature: Vec::new(),
                };
                2
            ],
        }
    }

    #[test]
    fn an_id_fits_into_its_place() {
        let prepared = Prepared::new(publication("hello"), &Names::default());
        let id = MessageId::new(1_700_000_001, 42);
        let whole = [&prepared.before, id.as_bytes().as_slice(), &prepared.behind].concat();
        let mut expected = publication("hello");
        expected.message.id = id;
        let stored = encode_message(&expected.message);
        assert_eq!(&whole[prepared.message_at..], stored);
        let notification = Notification {
            recipients: expected.recipients,
            content: Content::Message(expected.message),
        };
        assert_eq!(whole, encode_notification(&notification));
        assert_eq!(prepared.lists.len(), 1);
    }

    #[test]
    fn what_waits_has_bounds() {
        let waiting = Waiting::default();
        let one = [Prepared::new(publication("hello"), &Names::default())];
        for _ in 0..MAX_WAITING {
            waiting.enter(&one).unwrap();
        }
        assert!(waiting.enter(&one).is_err());
        waiting.leave(1, one[0].size());
        waiting.enter(&one).unwrap();
        assert_eq!(waiting.refused.load(Ordering::Relaxed), 1);
    }
}
