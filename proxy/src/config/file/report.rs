//! What reading a file found: errors, which stop it, and warnings, which do not.
//!
//! Each is one line that editors and `grep` understand, `file:line:column: key: what`, and below it
//! the source line with the place marked.

use std::fmt;
use std::path::PathBuf;

use super::excerpt::Excerpt;
use crate::config::Log;

/// Everything wrong with a file.
#[derive(Debug)]
pub(crate) struct Errors {
    /// In the order of the file's lines.
    pub(crate) found: Vec<Finding>,
    /// `[log]`, as far as it could be read: how to log them.
    pub(crate) log: Log,
}

/// Something that works, but hardly as meant.
#[derive(Debug)]
pub(crate) struct Warning(pub(super) Finding);

/// One thing to say about a file.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(super) file: PathBuf,
    /// `None` when it is about the file as a whole.
    pub(super) place: Option<Place>,
    /// The full key, e.g. `push.limits.max_payload` or `listener[1].role`; empty where there is none.
    pub(super) key: String,
    pub(super) problem: Problem,
}

/// Where in the file, counted from 1; columns are characters.
#[derive(Debug)]
pub(crate) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) excerpt: Option<Excerpt>,
}

/// What there is to say. None of these ever holds a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// A value that is not what its key takes.
    #[error("found {found}, expected {expected}")]
    Mismatch { found: String, expected: String },
    /// A key nobody asked for.
    #[error("unknown key;{} keys of {table}: {}", did_you_mean(.meant), .known.join(", "))]
    Unknown {
        meant: Option<&'static str>,
        table: String,
        known: Vec<&'static str>,
    },
    /// Text that no TOML reader would take.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// The file itself.
    #[error("cannot be read: {0}")]
    Unreadable(std::io::Error),
    /// What a warning says.
    #[error("{0}")]
    Remark(String),
}

fn did_you_mean(meant: &Option<&'static str>) -> String {
    match meant {
        Some(key) => format!(" did you mean \"{key}\"?"),
        None => String::new(),
    }
}

/// A value that does not fit its key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub(crate) struct Mismatch {
    /// What to say was found; `None`: the value as it stands in the file.
    pub(super) found: Option<String>,
    pub(super) expected: String,
}

impl Mismatch {
    pub(super) fn new(found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            found: Some(found.into()),
            expected: expected.into(),
        }
    }
}

/// The value as it stands is not `expected`.
pub(super) fn expected(expected: impl Into<String>) -> Mismatch {
    Mismatch {
        found: None,
        expected: expected.into(),
    }
}

impl Finding {
    fn write(&self, kind: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(place) = &self.place {
            write!(f, "{}:{}:", place.line, place.column)?;
        }
        write!(f, " {kind}")?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.problem)?;
        match self.place.as_ref().and_then(|place| place.excerpt.as_ref()) {
            Some(excerpt) if !f.alternate() => write!(f, "\n{excerpt}"),
            Some(_) | None => Ok(()),
        }
    }

    /// What the report is sorted by; what is about the whole file comes first.
    pub(super) fn position(&self) -> Option<(usize, usize)> {
        self.place.as_ref().map(|place| (place.line, place.column))
    }
}

/// `{}` with the source line, `{:#}` the first line only.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write("", f)
    }
}

/// `{}` with the source line, `{:#}` the first line only, as a log wants it.
impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write("warning: ", f)
    }
}

/// One after the other, each with its source line (`{:#}`: without).
impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.found.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}
