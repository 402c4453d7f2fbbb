//! Collects the steps of all connections. Those that pass traffic only hand steps over; a thread of its
//! own masks them, keeps them in order and writes the file now and then.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::RecordError;
use super::file::RecordingFile;
use crate::format::{Action, Recording, Step};
use crate::mask::Mask;
use crate::payload::Payload;
use crate::wire::Unreadable;

/// How much is recorded at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Steps. Default 100,000.
    pub steps: u64,
    /// Bytes of heads and payloads. Default 64 MiB.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            steps: 100_000,
            bytes: 64 * 1024 * 1024,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Requests on push paths.
    pub recorded: u64,
    /// Other requests, passed without a trace.
    pub passed: u64,
    /// Steps in the file.
    pub steps: u64,
}

/// How long what was recorded may be in memory alone.
const FLUSH_EVERY: Duration = Duration::from_secs(10);

/// Writing the file may take one part in so many of the time.
const FLUSH_SHARE: u32 = 20;

/// The way into the recording. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Journal(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    began: Instant,
    steps: Sender<Entry>,
    limits: Limits,
    used_steps: AtomicU64,
    used_bytes: AtomicU64,
    is_full: AtomicBool,
    polls: AtomicU64,
    websockets: AtomicU64,
    recorded: AtomicU64,
    passed: AtomicU64,
    writer: Mutex<Option<JoinHandle<Result<u64, RecordError>>>>,
}

#[derive(Debug)]
enum Entry {
    Step(Box<Step>),
    Finish,
}

impl Journal {
    /// Starts the thread that fills `file` with `recording`, whose steps are to come.
    pub(crate) fn start(
        recording: Recording,
        began: Instant,
        file: RecordingFile,
        mask: Option<Mask>,
        limits: Limits,
    ) -> Self {
        let (steps, entries) = channel();
        let writer = Writer {
            recording,
            file,
            mask,
            is_dirty: true,
        };
        let writer = std::thread::spawn(move || writer.run(&entries));
        Self(Arc::new(Shared {
            began,
            steps,
            limits,
            used_steps: AtomicU64::new(0),
            used_bytes: AtomicU64::new(0),
            is_full: AtomicBool::new(false),
            polls: AtomicU64::new(0),
            websockets: AtomicU64::new(0),
            recorded: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            writer: Mutex::new(Some(writer)),
        }))
    }

    /// Adds a step, unless the recording is full.
    pub(crate) fn step(&self, at: Instant, action: Action, note: Option<String>) {
        let shared = &self.0;
        if shared.is_full.load(Ordering::Relaxed) {
            return;
        }
        let weight = weight(&action);
        let steps = shared.used_steps.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = shared.used_bytes.fetch_add(weight, Ordering::Relaxed) + weight;
        if steps > shared.limits.steps || bytes > shared.limits.bytes {
            if !shared.is_full.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    steps = steps - 1,
                    "THE RECORDING IS FULL: nothing more is recorded, traffic goes on"
                );
            }
            return;
        }
        let step = Step {
            at_ms: milliseconds(at.saturating_duration_since(shared.began)),
            note,
            error: None,
            action,
        };
        // The writer is gone only when all is over.
        let _ = shared.steps.send(Entry::Step(Box::new(step)));
    }

    pub(crate) fn next_poll(&self) -> String {
        format!("p{}", self.0.polls.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(crate) fn next_websocket(&self) -> String {
        format!("w{}", self.0.websockets.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(crate) fn count_request(&self, is_push: bool) {
        let counter = if is_push {
            &self.0.recorded
        } else {
            &self.0.passed
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    #[allow(clippy::unused_self, reason = "told to the journal, as all the rest")]
    pub(crate) fn warn_unreadable(&self, unreadable: &Unreadable) {
        tracing::warn!(
            "a connection cannot be read ({unreadable}): it is passed on, its rest is not recorded"
        );
    }

    /// Writes the file for the last time.
    pub(crate) fn finish(&self) -> Result<Summary, RecordError> {
        // If the writer has ended by itself, joining tells why.
        let _ = self.0.steps.send(Entry::Finish);
        let mut writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let steps = match writer.take().map(JoinHandle::join) {
            Some(Ok(written)) => written?,
            Some(Err(_)) | None => return Err(RecordError::Broken),
        };
        Ok(Summary {
            recorded: self.0.recorded.load(Ordering::Relaxed),
            passed: self.0.passed.load(Ordering::Relaxed),
            steps,
        })
    }
}

struct Writer {
    recording: Recording,
    file: RecordingFile,
    mask: Option<Mask>,
    /// Whether the file lacks something.
    is_dirty: bool,
}

impl Writer {
    fn run(mut self, entries: &Receiver<Entry>) -> Result<u64, RecordError> {
        let mut next_flush = Instant::now();
        loop {
            let left = next_flush.saturating_duration_since(Instant::now());
            match entries.recv_timeout(left) {
                Ok(Entry::Step(step)) => {
                    match &mut self.mask {
                        Some(mask) => self.recording.steps.extend(mask.masked(*step)),
                        None => self.recording.steps.push(*step),
                    }
                    self.is_dirty = true;
                }
                Err(RecvTimeoutError::Timeout) => {
                    let began = Instant::now();
                    if let Err(error) = self.flush() {
                        tracing::error!("{error}");
                    }
                    let pause = began.elapsed().saturating_mul(FLUSH_SHARE);
                    next_flush = Instant::now() + FLUSH_EVERY.max(pause);
                }
                Ok(Entry::Finish) | Err(RecvTimeoutError::Disconnected) => {
                    let rest = self.mask.as_mut().map(Mask::rest).unwrap_or_default();
                    self.is_dirty |= !rest.is_empty();
                    self.recording.steps.extend(rest);
                    self.flush()?;
                    return Ok(self.recording.steps.len() as u64);
                }
            }
        }
    }

    fn flush(&mut self) -> Result<(), RecordError> {
        if !self.is_dirty {
            return Ok(());
        }
        // A request is known when it is answered, and belongs where it was sent.
        self.recording
            .steps
            .sort_by(|a, b| a.at_ms.total_cmp(&b.at_ms));
        self.file.write(&self.recording)?;
        self.is_dirty = false;
        Ok(())
    }
}

/// As times are written: milliseconds, to the microsecond.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

/// About as many bytes as a step takes.
fn weight(action: &Action) -> u64 {
    let parts = action.parts();
    let request = parts.request.map_or(0, |request| {
        request.target.len() + headers(&request.headers) + payload(&request.body)
    });
    let response = parts.response.map_or(0, |response| {
        headers(&response.headers) + payload(&response.body)
    });
    let frame = parts.frame.map_or(0, |frame| payload(&frame.data));
    (request + response + frame) as u64 + 200
}

fn headers(headers: &[(String, String)]) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.len() + value.len() + 40)
        .sum()
}

fn payload(payload: &Payload) -> usize {
    payload.as_ref().map_or(0, Vec::len)
}
