//! The log: lines on standard error, written by a thread of their own.
//!
//! A core that logs never waits for who reads the log. Lines wait for the thread in a buffer with a
//! bound; what does not fit is dropped and counted, and the log says so when it goes on.

use std::fmt::{Debug, Display};
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::Field;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::clock::unix_time;
use crate::config::{Log, LogFormat};

/// Bytes of lines that may wait to be written.
const MAX_WAITING: usize = 4 << 20;

/// Lines that come one upon another are written together, so many at once as come in this time: waking the thread for each
/// would cost a core more than the line.
const GATHER: Duration = Duration::from_millis(10);

/// That begins when so many were written with no longer pauses between them: a line that comes alone is written at once.
const MANY: usize = 32;

/// How long the end of the process waits for lines to be written.
const FLUSH: Duration = Duration::from_secs(1);

/// What the log tells.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// The lines of this process.
static LINES: Lines = Lines::new();

/// Starts the log of this process, as configured.
pub(crate) fn start(log: &Log) {
    let filter = filter(log);
    let (filter, reload) = reload::Layer::new(filter);
    let lines = fmt::layer().with_writer(|| &LINES).with_ansi(false);
    let lines = match log.format {
        LogFormat::Text => lines.fmt_fields(fields()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .init();
    // Only the first log of a process counts.
    let _ = FILTER.set(reload);
    // The default hook writes to standard error itself, and would wait for it.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    std::thread::spawn(|| LINES.write_all_to(&mut io::stderr()));
}

/// `key=value`, apart by spaces: the usual form costs several times as much by looking for colours in each part.
fn fields() -> impl for<'writer> fmt::FormatFields<'writer> {
    use tracing_subscriber::field::MakeExt;
    let field =
        |line: &mut fmt::format::Writer<'_>, field: &Field, value: &dyn Debug| match field.name() {
            "message" => write!(line, "{value:?}"),
            name => {
                line.write_str(name)?;
                line.write_char('=')?;
                write!(line, "{value:?}")
            }
        };
    fmt::format::debug_fn(field).delimited(" ")
}

/// From now on the log tells what this level says; its form stays.
pub(crate) fn set_level(log: &Log) {
    if let Some(handle) = FILTER.get() {
        // Fails only where there is no log any more.
        let _ = handle.reload(filter(log));
    }
}

fn filter(log: &Log) -> EnvFilter {
    // The store tells every step; what the administrator asks for comes behind, and wins.
    let filter = format!("fjall=warn,lsm_tree=warn,{}", log.level);
    EnvFilter::try_new(filter).unwrap_or_default()
}

/// Logs what may happen thousands of times in one second once in each; `told` is the second of the last time.
pub(crate) fn once_a_second(told: &AtomicU64, log: impl FnOnce()) {
    let now = unix_time().as_secs();
    if told.swap(now, Ordering::Relaxed) != now {
        log();
    }
}

/// Says why the process ends: in the log, or as it is where there is none.
pub(crate) fn fatal(failure: &dyn Display) {
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!("{failure}");
    } else {
        eprintln!("{failure}");
    }
}

/// Waits until what was logged is written, or until its reader has proven too slow.
pub(crate) fn flush() {
    LINES.flush(FLUSH);
}

/// Lines on their way.
#[derive(Debug)]
struct Lines {
    waiting: Mutex<Waiting>,
    /// Something waits, or what was taken has been written.
    changed: Condvar,
}

#[derive(Debug)]
struct Waiting {
    /// Whole lines, to be written next.
    lines: Vec<u8>,
    /// Bytes that the thread has taken and not yet written.
    in_hand: usize,
    /// Lines that did not fit since the log last said so.
    dropped: u64,
}

impl Lines {
    const fn new() -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                lines: Vec::new(),
                in_hand: 0,
                dropped: 0,
            }),
            changed: Condvar::new(),
        }
    }

    /// Takes a line, or counts it. Never waits for more than the copying of lines.
    fn add(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.lines.len() + waiting.in_hand + line.len() > MAX_WAITING {
            waiting.dropped += 1;
        } else {
            if waiting.lines.is_empty() {
                self.changed.notify_all();
            }
            waiting.lines.extend_from_slice(line);
        }
    }

    /// The thread's work: writes all that waits, as long as the process lives.
    fn write_all_to(&self, output: &mut impl Write) {
        let mut in_a_row = 0;
        loop {
            let since = Instant::now();
            let lines = self.take();
            in_a_row = match since.elapsed() < GATHER {
                true => in_a_row + 1,
                false => 0,
            };
            // There is nobody left to tell when the log itself cannot be written.
            let _ = output.write_all(&lines);
            let dropped = self.written();
            if dropped > 0 {
                tracing::warn!(
                    dropped,
                    "lines of the log: they came faster than they were read"
                );
            }
            if in_a_row >= MANY {
                std::thread::sleep(GATHER);
            }
        }
    }

    fn take(&self) -> Vec<u8> {
        let nothing = |waiting: &mut Waiting| waiting.lines.is_empty();
        let waiting = self.changed.wait_while(self.lock(), nothing);
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        waiting.in_hand = waiting.lines.len();
        std::mem::take(&mut waiting.lines)
    }

    /// What was taken is written. How many lines were dropped since the last time.
    fn written(&self) -> u64 {
        let mut waiting = self.lock();
        waiting.in_hand = 0;
        self.changed.notify_all();
        std::mem::take(&mut waiting.dropped)
    }

    fn flush(&self, within: Duration) {
        let unwritten = |waiting: &mut Waiting| !waiting.lines.is_empty() || waiting.in_hand > 0;
        drop(
            self.changed
                .wait_timeout_while(self.lock(), within, unwritten),
        );
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `tracing-subscriber` writes each event whole.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.add(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::*;

    /// Writes nothing before it may.
    struct Slow(Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.lock().unwrap().extend_from_slice(lines);
            Ok(lines.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_waits_is_bounded_and_what_is_dropped_is_counted() {
        let lines = Arc::new(Lines::new());
        let (go_on, may) = sync_channel(1);
        let written = Arc::new(Mutex::new(Vec::new()));
        let mut slow = Slow(may, Arc::clone(&written));
        let writing = Arc::clone(&lines);
        std::thread::spawn(move || writing.write_all_to(&mut slow));
        let line = vec![b'x'; 1 << 20];
        for _ in 0..6 {
            lines.add(&line);
        }
        let (waits, dropped) = {
            let waiting = lines.lock();
            (waiting.lines.len() + waiting.in_hand, waiting.dropped)
        };
        assert_eq!((waits, dropped), (MAX_WAITING, 2));
        lines.flush(Duration::ZERO);
        assert!(
            written.lock().unwrap().is_empty(),
            "it does not wait longer than asked"
        );
        // The thread writes in one or two pieces: the first line may have been taken alone.
        let _ = go_on.send(());
        let _ = go_on.send(());
        lines.flush(Duration::from_secs(20));
        assert_eq!(written.lock().unwrap().len(), MAX_WAITING);
        assert_eq!(lines.lock().dropped, 0, "it was told");
    }
}
