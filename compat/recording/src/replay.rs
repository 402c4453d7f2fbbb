//! Plays recordings again against a running server and reports what differs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::allowed::{AllowError, Allowed, Stale};
use crate::client::Target;
use crate::format::{Recording, Step};
use crate::play::play;

/// What to play, and where.
#[derive(Debug)]
pub struct Options {
    /// Recordings, and folders of them.
    pub recordings: Vec<PathBuf>,
    /// The server.
    pub target: Target,
    /// The reviewed list of differences.
    pub allow: Option<PathBuf>,
    /// How many recordings are played at a time.
    pub jobs: usize,
}

/// Why nothing is played.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The list of allowed differences cannot be read.
    #[error(transparent)]
    Allow(#[from] AllowError),
    /// A recording cannot be read.
    #[error("{}: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file is no recording.
    #[error("{}: {error}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Why.
        error: serde_json::Error,
    },
    /// A folder without recordings.
    #[error("{}: no recordings (*.json)", .0.display())]
    Nothing(PathBuf),
    /// A file without content.
    #[error("{}: the file is empty", .0.display())]
    Empty(PathBuf),
    /// A recording that any server would repeat.
    #[error("{}: nothing in it came from a server: there is nothing to compare", .0.display())]
    Silent(PathBuf),
    /// Nobody listens at the target.
    #[error("{target}: {error}")]
    Unreachable {
        /// The target.
        target: Target,
        /// Why.
        error: std::io::Error,
    },
}

/// Something that is not as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The index of its step; `None` if it is of none.
    pub step: Option<usize>,
    /// The step's kind, connection and note.
    pub label: String,
    /// What of it: `response/status`.
    pub path: String,
    /// As it was recorded.
    pub expected: String,
    /// As it came.
    pub actual: String,
}

/// How one recording went.
#[derive(Debug)]
pub struct Outcome {
    name: String,
    /// Each with the paragraph that allows it.
    differences: Vec<(Difference, Option<u32>)>,
    stale: Vec<Stale>,
}

/// How all went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Without a difference.
    pub equal: usize,
    /// With none that is not on the list.
    pub allowed: usize,
    /// The others.
    pub failed: usize,
}

/// Plays all recordings; `report` gets each outcome in the order of the recordings as soon as it stands.
///
/// # Errors
/// When something is wrong before the first is played.
pub async fn replay(
    options: &Options,
    mut report: impl FnMut(&Outcome),
) -> Result<Totals, ReplayError> {
    let allowed = match &options.allow {
        Some(file) => Allowed::load(file)?,
        None => Allowed::default(),
    };
    let recordings = load(&options.recordings)?;
    for recording in &recordings {
        allowed.check(recording)?;
    }
    let connected = options.target.connect().await;
    connected.map_err(|error| ReplayError::Unreachable {
        target: options.target.clone(),
        error,
    })?;

    let mut totals = Totals::default();
    let mut outcomes: Vec<_> = recordings.iter().map(|_| None).collect();
    let mut plays = start(recordings, options);
    let mut reported = 0;
    while let Some(Ok((index, name, differences))) = plays.join_next().await {
        if let Some(outcome) = outcomes.get_mut(index) {
            *outcome = Some(Outcome::new(name, differences, &allowed));
        }
        while let Some(Some(outcome)) = outcomes.get(reported) {
            totals.add(outcome);
            report(outcome);
            reported += 1;
        }
    }
    Ok(totals)
}

type Plays = JoinSet<(usize, String, Vec<Difference>)>;

/// Starts to play all, a few at a time. Where several are played, the longest go first.
fn start(recordings: Vec<Recording>, options: &Options) -> Plays {
    let mut queue: Vec<_> = recordings.into_iter().enumerate().collect();
    if options.jobs > 1 {
        queue.sort_by(|(_, a), (_, b)| ends_ms(b).total_cmp(&ends_ms(a)));
    }
    let turns = Arc::new(Semaphore::new(options.jobs.max(1)));
    let target = Arc::new(options.target.clone());
    let mut plays = JoinSet::new();
    for (index, recording) in queue {
        let (turns, target) = (Arc::clone(&turns), Arc::clone(&target));
        plays.spawn(async move {
            let _turn = turns.acquire().await;
            let name = recording.name.clone();
            let played = tokio::spawn(async move { play(&recording, &target).await }).await;
            (index, name, played.unwrap_or_else(|_| vec![broken()]))
        });
    }
    plays
}

fn ends_ms(recording: &Recording) -> f64 {
    recording
        .steps
        .iter()
        .map(|step| step.at_ms)
        .fold(0.0, f64::max)
}

/// What stands for a play that panicked.
fn broken() -> Difference {
    Difference {
        step: None,
        label: String::new(),
        path: "play".into(),
        expected: "the end".into(),
        actual: "an error of the player".into(),
    }
}

fn load(paths: &[PathBuf]) -> Result<Vec<Recording>, ReplayError> {
    let mut recordings = Vec::new();
    for path in paths {
        if path.is_dir() {
            let files = files(path).map_err(|error| unreadable(path, error))?;
            if files.is_empty() {
                return Err(ReplayError::Nothing(path.clone()));
            }
            for file in files {
                recordings.push(recording(&file)?);
            }
        } else {
            recordings.push(recording(path)?);
        }
    }
    Ok(recordings)
}

/// The recordings in a folder, by name.
fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn recording(file: &Path) -> Result<Recording, ReplayError> {
    let bytes = std::fs::read(file).map_err(|error| unreadable(file, error))?;
    if bytes.trim_ascii().is_empty() {
        return Err(ReplayError::Empty(file.to_owned()));
    }
    let recording: Recording =
        serde_json::from_slice(&bytes).map_err(|error| ReplayError::Malformed {
            file: file.to_owned(),
            error,
        })?;
    let came = |step: &Step| step.action.parts().came;
    match recording.steps.iter().any(came) {
        true => Ok(recording),
        false => Err(ReplayError::Silent(file.to_owned())),
    }
}

fn unreadable(file: &Path, error: std::io::Error) -> ReplayError {
    ReplayError::Unreadable {
        file: file.to_owned(),
        error,
    }
}

impl Outcome {
    fn new(name: String, differences: Vec<Difference>, allowed: &Allowed) -> Self {
        let stale = allowed.stale(&name, &differences);
        let judged = differences.into_iter().map(|difference| {
            let line = allowed.line(&name, &difference);
            (difference, line)
        });
        Self {
            differences: judged.collect(),
            name,
            stale,
        }
    }

    /// Whether nothing differs, on the list or not.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty() && self.stale.is_empty()
    }

    fn is_allowed(&self) -> bool {
        self.stale.is_empty() && self.differences.iter().all(|(_, line)| line.is_some())
    }
}

impl Totals {
    fn add(&mut self, outcome: &Outcome) {
        if outcome.is_equal() {
            self.equal += 1;
        } else if outcome.is_allowed() {
            self.allowed += 1;
        } else {
            self.failed += 1;
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            equal,
            allowed,
            failed,
        } = self;
        let all = equal + allowed + failed;
        write!(
            f,
            "{all} recordings: {equal} equal, {allowed} allowed, {failed} failed"
        )
    }
}

/// A line for the recording and those of its differences.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match (self.is_equal(), self.is_allowed()) {
            (true, _) => "equal",
            (false, true) => "allowed",
            (false, false) => "FAILED",
        };
        write!(f, "{}: {verdict}", self.name)?;
        for (difference, line) in &self.differences {
            write!(f, "\n  {difference}")?;
            if let Some(line) = line {
                write!(f, "\n    allowed, line {line}")?;
            }
        }
        for stale in &self.stale {
            write!(f, "\n  {stale}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(step) = self.step {
            write!(f, "step {step} {}: ", self.label)?;
        }
        write!(
            f,
            "{}\n    expected {}\n    actual   {}",
            self.path, self.expected, self.actual
        )
    }
}
