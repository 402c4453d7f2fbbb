//! The files under `history/` in the state directory: how messages lie in them.
//!
//! Messages lie in *buckets*, one for each span of time in which they came. Nothing is ever deleted
//! from a bucket: it goes as a whole once its last message has expired, or when the store is too
//! large and it is the oldest. So expiry costs no writing, and space comes back at once.
//!
//! In a bucket, a key-value tree of its own:
//!
//! | key | value |
//! |---|---|
//! | `m`, id (13 bytes) | when it expires (8 bytes, unix seconds), the message as Redis would hold it |
//! | `c`, private or public (1), channel (16), id (13) | nothing |
//! | `e` | when the last of its messages expires |

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use pullgate_compat::channel::Receiver;
use pullgate_compat::message::{Message, MessageId};
use pullgate_compat::wire::{decode_message, encode_message};

use super::format;
use crate::history::{CATCH_UP_PER_CHANNEL, Fetched};

/// Blocks read lately, bytes.
const CACHE: u64 = 16 << 20;

/// What is not yet in tables, bytes: at most this much is read again after a crash.
const MAX_JOURNAL: u64 = 64 << 20;
const MAX_MEMTABLE: u64 = 8 << 20;

/// A full history has about so many buckets.
const BUCKETS: u32 = 8;

/// Least time, seconds, for which messages come into one bucket: each has files of its own.
const LEAST_SPAN: u64 = 10;

const MESSAGE: u8 = b'm';
const CHANNEL: u8 = b'c';
const LAST_EXPIRY: [u8; 1] = *b"e";

/// How much, and for how long.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// Bytes on disk, about; the oldest messages go first.
    pub(crate) max_bytes: u64,
    /// Longest life of a message.
    pub(crate) message_ttl: Duration,
}

/// A message on its way to disk.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) message: Arc<Message>,
    pub(crate) receivers: Box<[Receiver]>,
    /// Unix seconds.
    pub(crate) expires: u64,
}

/// What an entry takes beside its body and receivers, where nobody else keeps the message.
const ENTRY: usize = 256;

impl Entry {
    /// What it takes while it waits, bytes.
    pub(crate) fn size(&self) -> usize {
        ENTRY + self.message.body.len() + size_of_val::<[Receiver]>(&self.receivers)
    }
}

/// See the module.
pub(crate) struct Store {
    database: Database,
    bounds: Bounds,
    /// Oldest first. Nobody waits for the disk with it locked.
    buckets: RwLock<Vec<Bucket>>,
}

#[derive(Clone)]
struct Bucket {
    /// When it was begun, unix seconds; its name.
    begun: u64,
    last_expiry: u64,
    /// Bytes of the keys and values put into it.
    bytes: u64,
    tree: Keyspace,
}

/// A store that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("history in {path} is in use by another process")]
    InUse { path: PathBuf },
    #[error(
        "history in {path} has the format {found:?}, which this version does not know: \
         run the version that wrote it, or move the folder away"
    )]
    Format { path: PathBuf, found: String },
    #[error("history in {path} cannot be used: {source}")]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("history in {path} is damaged: {what}")]
    Damaged { path: PathBuf, what: String },
}

impl Store {
    pub(crate) fn open(path: &Path, bounds: Bounds) -> Result<Self, OpenError> {
        format::check(path)?;
        let damaged = |what: String| OpenError::Damaged {
            path: path.to_owned(),
            what,
        };
        // The library panics over some kinds of damage.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let database = Database::builder(path.join("data"))
                .cache_size(CACHE)
                .max_journaling_size(MAX_JOURNAL)
                // One flushes while the other compacts: with one, a journal grows under load.
                .worker_threads(2)
                .open()?;
            let buckets = recover(&database)?;
            Ok((database, buckets))
        }));
        match opened {
            Ok(Ok((database, buckets))) => Ok(Self {
                database,
                bounds,
                buckets: RwLock::new(buckets),
            }),
            Ok(Err(fjall::Error::Locked)) => Err(OpenError::InUse {
                path: path.to_owned(),
            }),
            Ok(Err(error)) => match passing(&error) {
                Some(kind) => Err(OpenError::Io {
                    path: path.to_owned(),
                    source: std::io::Error::new(kind, error),
                }),
                None => Err(damaged(error.to_string())),
            },
            Err(_) => Err(damaged("reading it failed".into())),
        }
    }

    /// Writes `entries`, all or none; they survive the end of the process, not yet that of the machine.
    pub(crate) fn write(&self, entries: &[Entry], now: u64) -> fjall::Result<()> {
        let (tree, begun) = self.current(now)?;
        let mut batch = self.database.batch();
        let mut bytes = 0;
        let mut last_expiry = 0;
        for entry in entries {
            let mut value = entry.expires.to_be_bytes().to_vec();
            value.extend_from_slice(&encode_message(&entry.message));
            bytes += value.len() as u64 + 64;
            batch.insert(&tree, message_key(entry.message.id), value);
            for receiver in &entry.receivers {
                bytes += 64;
                let key = channel_key(receiver, entry.message.id);
                batch.insert(&tree, key, Vec::new());
            }
            last_expiry = last_expiry.max(entry.expires);
        }
        let mut buckets = self.buckets_to_change();
        if let Some(bucket) = buckets.iter_mut().find(|bucket| bucket.begun == begun) {
            bucket.bytes += bytes;
            if last_expiry > bucket.last_expiry {
                bucket.last_expiry = last_expiry;
                batch.insert(&tree, LAST_EXPIRY, last_expiry.to_be_bytes());
            }
        }
        drop(buckets);
        batch.commit()
    }

    /// What was written survives the end of the machine once this returns.
    pub(crate) fn sync(&self) -> fjall::Result<()> {
        self.database.persist(PersistMode::SyncData)
    }

    /// Lets go of the buckets whose time has come; returns how many went before it.
    pub(crate) fn tidy(&self, now: u64) -> fjall::Result<usize> {
        let mut going: Vec<Bucket> = Vec::new();
        let mut early = 0;
        {
            let mut buckets = self.buckets_to_change();
            let span = self.span();
            buckets.retain(|bucket| {
                // Messages may still come into it until its span is over.
                let over = bucket.last_expiry <= now && bucket.begun + span <= now;
                if over {
                    going.push(bucket.clone());
                }
                !over
            });
            while buckets.len() > 1 && size(&buckets) > self.bounds.max_bytes {
                going.push(buckets.remove(0));
                early += 1;
            }
        }
        for bucket in going {
            self.database.delete_keyspace(bucket.tree)?;
        }
        Ok(early)
    }

    /// Bytes of what is kept, as put in; on disk it may be less for a while, or more.
    pub(crate) fn bytes(&self) -> u64 {
        size(&self.buckets())
    }

    /// See [`crate::history::Archive::listed`].
    pub(crate) fn listed(
        &self,
        receivers: &[Receiver],
        after: MessageId,
        until: MessageId,
    ) -> fjall::Result<Vec<Vec<MessageId>>> {
        let trees = self.trees();
        let of = |receiver| {
            let (first, last) = (channel_key(receiver, after), channel_key(receiver, until));
            let mut ids = Vec::new();
            // Ids grow, so the newest are in the youngest bucket.
            for tree in trees.iter().rev() {
                for entry in tree.range(first.as_slice()..=last.as_slice()).rev() {
                    if ids.len() == CATCH_UP_PER_CHANNEL {
                        return Ok(ids);
                    }
                    ids.extend(id_at_end(&entry.key()?).filter(|id| *id > after));
                }
            }
            Ok(ids)
        };
        receivers.iter().map(of).collect()
    }

    /// See [`crate::history::Archive::fetch`].
    pub(crate) fn fetch(&self, ids: &[MessageId], room: usize, now: u64) -> fjall::Result<Fetched> {
        let trees = self.trees();
        let find = |id| {
            for tree in trees.iter().rev() {
                if let Some(value) = tree.get(message_key(id))? {
                    return Ok(unexpired(&value, now));
                }
            }
            Ok(None)
        };
        Fetched::within(room, ids, find)
    }

    fn trees(&self) -> Vec<Keyspace> {
        let buckets = self.buckets();
        buckets.iter().map(|bucket| bucket.tree.clone()).collect()
    }

    /// The bucket of now. Called by the writer, who alone changes which there are.
    fn current(&self, now: u64) -> fjall::Result<(Keyspace, u64)> {
        let share = self.bounds.max_bytes / u64::from(BUCKETS);
        let youngest = self.buckets().last().cloned();
        if let Some(youngest) = &youngest
            && now < youngest.begun + self.span()
            && youngest.bytes < share
        {
            return Ok((youngest.tree.clone(), youngest.begun));
        }
        // Never a name that is, or was, somebody else's: also when the clock went back.
        let begun = youngest.map_or(now, |youngest| now.max(youngest.begun + 1));
        // Waits for the disk: whoever reads is not to wait with it.
        let tree = self.database.keyspace(&format!("{begun:010}"), options)?;
        self.buckets_to_change().push(Bucket {
            begun,
            last_expiry: 0,
            bytes: 0,
            tree: tree.clone(),
        });
        Ok((tree, begun))
    }

    fn buckets(&self) -> RwLockReadGuard<'_, Vec<Bucket>> {
        self.buckets.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn buckets_to_change(&self) -> RwLockWriteGuard<'_, Vec<Bucket>> {
        self.buckets.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seconds in which messages come into one bucket.
    fn span(&self) -> u64 {
        (self.bounds.message_ttl / BUCKETS)
            .as_secs()
            .max(LEAST_SPAN)
    }
}

/// The error of the system behind `error`, if it says nothing about what is in the files.
fn passing(error: &fjall::Error) -> Option<ErrorKind> {
    let mut error: &dyn std::error::Error = error;
    loop {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            let kind = error.kind();
            let is_damage = matches!(
                kind,
                ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::NotFound
            );
            return (!is_damage).then_some(kind);
        }
        error = error.source()?;
    }
}

fn size(buckets: &[Bucket]) -> u64 {
    buckets.iter().map(|bucket| bucket.bytes).sum()
}

fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(MAX_MEMTABLE)
}

fn recover(database: &Database) -> fjall::Result<Vec<Bucket>> {
    let mut names = database.list_keyspace_names();
    names.sort_unstable();
    let mut buckets = Vec::new();
    for name in names {
        let Ok(begun) = name.parse() else {
            continue;
        };
        let tree = database.keyspace(&name, options)?;
        let last_expiry = tree.get(LAST_EXPIRY)?.and_then(|value| number(&value));
        buckets.push(Bucket {
            begun,
            last_expiry: last_expiry.unwrap_or_default(),
            bytes: tree.disk_space(),
            tree,
        });
    }
    Ok(buckets)
}

fn message_key(id: MessageId) -> Vec<u8> {
    [&[MESSAGE][..], id.as_bytes()].concat()
}

fn channel_key(receiver: &Receiver, id: MessageId) -> Vec<u8> {
    let (private, channel) = match receiver {
        Receiver::Private(channel) => (1, channel.as_bytes()),
        Receiver::Public(channel) => (0, channel.as_bytes()),
    };
    [&[CHANNEL, private][..], channel, id.as_bytes()].concat()
}

fn id_at_end(key: &[u8]) -> Option<MessageId> {
    MessageId::from_bytes(*key.last_chunk()?)
}

fn unexpired(value: &[u8], now: u64) -> Option<Arc<Message>> {
    let (expires, message) = value.split_first_chunk()?;
    (u64::from_be_bytes(*expires) > now)
        .then(|| decode_message(message).ok())?
        .map(Arc::new)
}

fn number(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.try_into().ok()?))
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("bounds", &self.bounds)
            .finish()
    }
}
