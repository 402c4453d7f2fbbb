//! The reviewed list of differences: a TOML file of
//!
//! ```toml
//! [[difference]]
//! recording = "duplicates"
//! steps = [3, 7]          # as in `.steps[3]`
//! line = 4                # the paragraph of docs/compatibility.md that gives the reason
//! only = "created"        # optional: the last part of the difference's path
//! sometimes = true        # optional: depends on timing, so that it need not show
//! why = "…"               # optional: for the reader
//! ```

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::format::Recording;
use crate::replay::Difference;

/// A list that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AllowError {
    /// The file cannot be read.
    #[error("{}: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Something in it is wrong.
    #[error("{}:{line}: {key}: {what}", file.display())]
    Wrong {
        /// The file.
        file: PathBuf,
        /// The line in it, from 1.
        line: usize,
        /// The key in this line.
        key: String,
        /// What is wrong.
        what: String,
    },
}

/// The list.
#[derive(Debug, Default)]
pub struct Allowed {
    file: PathBuf,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Of the entry's steps in the file.
    at: usize,
    written: Written,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    difference: Vec<Written>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    recording: Spanned<String>,
    steps: Spanned<Vec<usize>>,
    line: Spanned<u32>,
    only: Option<String>,
    #[serde(default)]
    sometimes: bool,
    #[serde(rename = "why")]
    _why: Option<String>,
}

/// A listed step that shows no difference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("step {step} shows no difference any more, but {}:{line} lists it", file.display())]
pub struct Stale {
    file: PathBuf,
    line: usize,
    step: usize,
}

impl Allowed {
    /// Reads the list.
    ///
    /// # Errors
    /// For the first thing in it that is wrong.
    pub fn load(file: &Path) -> Result<Self, AllowError> {
        let text = std::fs::read_to_string(file).map_err(|error| AllowError::Unreadable {
            file: file.to_owned(),
            error,
        })?;
        Self::parse(file, &text)
    }

    fn parse(file: &Path, text: &str) -> Result<Self, AllowError> {
        let wrong = |span: Range<usize>, what: &str| {
            let (line, key) = place(text, span.start);
            AllowError::Wrong {
                file: file.to_owned(),
                line,
                key,
                what: what.to_owned(),
            }
        };
        let parsed: File = toml::from_str(text)
            .map_err(|error| wrong(error.span().unwrap_or_default(), error.message()))?;
        let mut entries = Vec::new();
        for written in parsed.difference {
            if written.recording.get_ref().is_empty() {
                return Err(wrong(
                    written.recording.span(),
                    "expected a recording's name",
                ));
            }
            if written.steps.get_ref().is_empty() {
                return Err(wrong(written.steps.span(), "expected at least one step"));
            }
            if *written.line.get_ref() == 0 {
                return Err(wrong(written.line.span(), "paragraphs are numbered from 1"));
            }
            let at = place(text, written.steps.span().start).0;
            entries.push(Entry { at, written });
        }
        Ok(Self {
            file: file.to_owned(),
            entries,
        })
    }

    /// Whether all listed steps of `recording` exist.
    ///
    /// # Errors
    /// For the first that does not.
    pub fn check(&self, recording: &Recording) -> Result<(), AllowError> {
        for entry in self.of(&recording.name) {
            let steps = entry.written.steps.get_ref();
            if let Some(step) = steps.iter().find(|step| **step >= recording.steps.len()) {
                return Err(AllowError::Wrong {
                    file: self.file.clone(),
                    line: entry.at,
                    key: "steps".into(),
                    what: format!("{} has no step {step}", recording.name),
                });
            }
        }
        Ok(())
    }

    fn of(&self, recording: &str) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(move |entry| entry.written.recording.get_ref() == recording)
    }

    /// The paragraph that allows `difference`.
    #[must_use]
    pub fn line(&self, recording: &str, difference: &Difference) -> Option<u32> {
        let step = difference.step?;
        let entry = self
            .of(recording)
            .find(|entry| entry.covers(step, difference))?;
        Some(*entry.written.line.get_ref())
    }

    /// What is listed of `recording` and does not show among `differences`.
    #[must_use]
    pub fn stale(&self, recording: &str, differences: &[Difference]) -> Vec<Stale> {
        let mut stale = Vec::new();
        for entry in self.of(recording).filter(|entry| !entry.written.sometimes) {
            let shown: BTreeSet<_> = differences
                .iter()
                .filter_map(|difference| {
                    difference
                        .step
                        .filter(|step| entry.covers(*step, difference))
                })
                .collect();
            let steps = entry.written.steps.get_ref();
            stale.extend(
                steps
                    .iter()
                    .filter(|step| !shown.contains(step))
                    .map(|step| Stale {
                        file: self.file.clone(),
                        line: entry.at,
                        step: *step,
                    }),
            );
        }
        stale
    }
}

impl Entry {
    fn covers(&self, step: usize, difference: &Difference) -> bool {
        let last = difference.path.rsplit('/').next();
        self.written.steps.get_ref().contains(&step)
            && (self.written.only.is_none() || self.written.only.as_deref() == last)
    }
}

/// The number of the line in which `offset` is, and the key in it.
fn place(text: &str, offset: usize) -> (usize, String) {
    let before = text.get(..offset).unwrap_or(text);
    let number = before.matches('\n').count() + 1;
    let line = text.lines().nth(number - 1).unwrap_or_default();
    let key = line.split('=').next().unwrap_or_default().trim();
    (number, key.to_owned())
}

#[cfg(test)]
mod tests;
