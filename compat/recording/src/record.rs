//! `pullgate record`: taps in front of servers, and one recording of what passes through them.
//!
//! `tap` reads, `journal` collects, `mask` hides, `file` writes.

mod file;
pub(crate) mod journal;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use pullgate_compat::signature::Algorithm;
use tokio::net::TcpListener;

use crate::format::Recording;
use crate::mask::{Mask, MaskError};
use crate::tap;
use file::RecordingFile;
use journal::Journal;

pub use crate::tap::Upstream;
pub use crate::tap::paths::PushPaths;
pub use journal::{Limits, Summary};

/// What to record, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// One or more: publishing and subscribing are often separate servers.
    pub ways: Vec<Way>,
    /// Where the file goes; made if it is not there.
    pub directory: PathBuf,
    /// The file's name without `.json`. Default: the time of the start.
    pub name: Option<String>,
    /// Which requests are recorded.
    pub paths: PushPaths,
    /// How many.
    pub limits: Limits,
    /// The site's signature key, if it is known.
    pub key: Option<String>,
    /// The hash under its signatures.
    pub algorithm: Algorithm,
    /// Whether to write substitutes for all that is private. Needs the key.
    pub mask: bool,
}

/// One address and the server behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Port 0 takes a free one, which the log names.
    pub listen: SocketAddr,
    /// Where everything goes.
    pub upstream: Upstream,
}

/// Why nothing can be recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// An address is taken, or not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be written, or is there already.
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        /// The file or its folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The name is not that of a file.
    #[error("{0:?} is no name for a file")]
    Name(String),
    /// Masking without the key.
    #[error("masking needs the site's signature key: signatures have to stay right")]
    NoKey,
    /// No masking without random numbers.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// The runtime could not be started.
    #[error("cannot start: {0}")]
    Start(io::Error),
    /// A bug ended the writing; what was written before is in the file.
    #[error("the recording broke off")]
    Broken,
}

impl RecordError {
    fn write(path: &Path, source: io::Error) -> Self {
        Self::Write {
            path: path.to_owned(),
            source,
        }
    }
}

/// Records until `stopped`, and writes the file.
///
/// # Errors
/// When an address or the file cannot be had at the start, or the file not be written at the end.
pub fn record(options: Options, stopped: impl Future<Output = ()>) -> Result<Summary, RecordError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(RecordError::Start)?;
    let now = SystemTime::now();
    let name = options.name.clone().unwrap_or_else(|| file::name_at(now));
    let file = RecordingFile::create(&options.directory, &name)?;
    let path = file.path.display().to_string();
    let listeners = runtime.block_on(listen(&options.ways))?;
    let mask = mask(&options, &listeners)?;
    let recording = head(&options, name, now, mask.as_ref());
    let journal = Journal::start(recording, Instant::now(), file, mask, options.limits);
    let paths = Arc::new(options.paths);
    for (listener, way) in listeners.into_iter().zip(options.ways) {
        let address = listener.local_addr().unwrap_or(way.listen);
        tracing::info!("recording address={address} upstream={}", way.upstream);
        runtime.spawn(tap::run(
            listener,
            way.upstream,
            Arc::clone(&paths),
            journal.clone(),
        ));
    }
    runtime.block_on(stopped);
    // Connections end with it, unrecorded: it was not their clients or servers that ended them.
    drop(runtime);
    let summary = journal.finish()?;
    let Summary {
        recorded,
        passed,
        steps,
    } = summary;
    tracing::info!(
        "stopped requests_recorded={recorded} requests_passed={passed} steps={steps} file={path}"
    );
    Ok(summary)
}

async fn listen(ways: &[Way]) -> Result<Vec<TcpListener>, RecordError> {
    let mut listeners = Vec::new();
    for way in ways {
        let address = way.listen;
        let listener = TcpListener::bind(address).await;
        listeners.push(listener.map_err(|source| RecordError::Listen { address, source })?);
    }
    Ok(listeners)
}

fn mask(options: &Options, listeners: &[TcpListener]) -> Result<Option<Mask>, RecordError> {
    if !options.mask {
        return Ok(None);
    }
    let key = options.key.as_deref().ok_or(RecordError::NoKey)?;
    let host = listeners
        .first()
        .and_then(|listener| listener.local_addr().ok())
        .map(|address| address.to_string())
        .unwrap_or_default();
    let mask = Mask::new(options.algorithm, key, options.paths.clone(), host)?;
    Ok(Some(mask))
}

/// The recording without its steps.
fn head(options: &Options, name: String, now: SystemTime, mask: Option<&Mask>) -> Recording {
    let unix_ms = now
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    let (recorded_from, key) = match mask {
        Some(mask) => ("a push server, masked".to_owned(), mask.key().to_owned()),
        None => {
            let ways: Vec<String> = options
                .ways
                .iter()
                .map(|way| way.upstream.to_string())
                .collect();
            (ways.join(", "), options.key.clone().unwrap_or_default())
        }
    };
    Recording {
        name,
        about: "Traffic recorded by pullgate record.".to_owned(),
        recorded_from,
        mode: "single".to_owned(),
        recorded_at_unix_ms: unix_ms.try_into().unwrap_or_default(),
        security_key: key,
        signature_algo: options.algorithm.to_string(),
        routes: options.paths.routes(),
        limits: std::collections::BTreeMap::new(),
        channels: std::collections::BTreeMap::new(),
        volatile: VOLATILE.map(str::to_owned).to_vec(),
        steps: Vec::new(),
    }
}

/// All that differs from one run to the next where traffic is not made up: see `fixtures/FORMAT.md`.
const VOLATILE: [&str; 11] = [
    "http.date",
    "http.last-message-id",
    "json.stats",
    "pb.message.created",
    "pb.message.id",
    "text.id",
    "text.mid",
    "text.tag",
    "text.time",
    "time",
    "ws.grouping",
];
