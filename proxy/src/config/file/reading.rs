//! One reading of one file: its text, where relative paths start, and what has been found so far.

use std::cell::RefCell;
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue, Error};

use super::excerpt::Excerpt;
use super::report::{Finding, Place, Problem, Warning};

/// How `env:NAME` is looked up; tests have an environment of their own.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

pub(super) struct Reading<'a> {
    text: &'a str,
    file: &'a Path,
    env: Environment<'a>,
    /// Whether to look at what the file names, too: folders, modes, hosts.
    looks_outside: bool,
    /// Where the text is not TOML. What lies around there was guessed by the parser.
    broken: RefCell<Vec<usize>>,
    errors: RefCell<Vec<Finding>>,
    warnings: RefCell<Vec<Warning>>,
}

/// How much of the source line a finding may show.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    Value,
    /// It is about a list or a table.
    Group,
    /// It is about a secret.
    Secret,
    /// Nobody can tell what is a secret here.
    Syntax,
}

impl<'a> Reading<'a> {
    pub(super) fn new(text: &'a str, file: &'a Path, env: Environment<'a>) -> Self {
        Self {
            text: text.strip_prefix('\u{feff}').unwrap_or(text),
            file,
            env,
            looks_outside: false,
            broken: RefCell::default(),
            errors: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    /// The same, and what the file names is looked at.
    pub(super) fn looking_outside(self) -> Self {
        Self {
            looks_outside: true,
            ..self
        }
    }

    pub(super) fn looks_outside(&self) -> bool {
        self.looks_outside
    }

    /// The file as a table; what is not TOML in it is an error, and the rest is still read.
    pub(super) fn table(&self) -> DeTable<'a> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        let table = table.into_inner();
        self.report_syntax(&table, &errors);
        table
    }

    /// One error per line and per value: a bracket that is missing makes the parser stumble at
    /// everything that follows.
    fn report_syntax(&self, table: &DeTable<'_>, errors: &[Error]) {
        let mut values = Vec::new();
        value_spans(table, &mut values);
        let mut errors: Vec<_> = errors
            .iter()
            .map(|error| (error.span().unwrap_or_default(), error.message()))
            .collect();
        errors.sort_by_key(|(span, _)| span.start);
        let mut known = Vec::new();
        for (span, message) in errors {
            let line = self.line_of(span.start).0;
            let value = values.iter().find(|value| touches(value, span.start));
            let repeats = known
                .iter()
                .any(|(at, within)| *at == line || value.is_some() && *within == value);
            if !repeats {
                self.not_toml_at(span, message);
            }
            known.push((line, value));
        }
    }

    /// The text stands for bytes that are not UTF-8; this says where the first of them is.
    pub(super) fn report_bytes(&self) {
        if let Some(at) = self.text.find(char::REPLACEMENT_CHARACTER) {
            self.not_toml_at(at..at, "bytes that are not UTF-8");
        }
    }

    fn not_toml_at(&self, span: Range<usize>, message: &str) {
        self.broken.borrow_mut().push(span.start);
        let problem = Problem::Syntax(message.to_owned());
        self.error(span, Show::Syntax, "", problem);
    }

    /// Whether a value is the parser's guess, or has one inside.
    pub(super) fn is_guess(&self, span: &Range<usize>) -> bool {
        self.broken.borrow().iter().any(|at| touches(span, *at))
    }

    /// Whether keys may be missing only because the parser lost its way.
    pub(super) fn is_broken(&self) -> bool {
        !self.broken.borrow().is_empty()
    }

    pub(super) fn is_broken_before(&self, at: usize) -> bool {
        self.broken.borrow().iter().any(|broken| *broken < at)
    }

    pub(super) fn error(&self, span: Range<usize>, show: Show, key: &str, problem: Problem) {
        let finding = self.finding(span, show, key, problem);
        self.errors.borrow_mut().push(finding);
    }

    pub(super) fn warn(&self, span: Range<usize>, show: Show, key: &str, remark: String) {
        let finding = self.finding(span, show, key, Problem::Remark(remark));
        self.warnings.borrow_mut().push(Warning(finding));
    }

    fn finding(&self, span: Range<usize>, show: Show, key: &str, problem: Problem) -> Finding {
        Finding {
            file: self.file.to_owned(),
            place: Some(self.place(span, show)),
            key: key.to_owned(),
            problem,
        }
    }

    fn place(&self, span: Range<usize>, show: Show) -> Place {
        let (line, start, text) = self.line_of(span.start);
        let from = boundary(text, span.start - start);
        let to = boundary(text, span.end - start).max(from);
        let excerpt = match show {
            // What is missing altogether has no line.
            Show::Value if span.is_empty() => None,
            Show::Value => Some(Excerpt::of_value(text, from..to)),
            Show::Group => Some(Excerpt::of_group(text, from..to)),
            Show::Secret => Some(Excerpt::of_secret(text, from..to)),
            Show::Syntax => Excerpt::of_syntax(text, from),
        };
        Place {
            line,
            column: text[..from].chars().count() + 1,
            excerpt,
        }
    }

    /// Number, offset and text of the line in which an offset lies.
    fn line_of(&self, at: usize) -> (usize, usize, &'a str) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let text = self.text[start..].lines().next().unwrap_or_default();
        (before.matches('\n').count() + 1, start, text)
    }

    /// A variable of the environment.
    pub(super) fn variable(&self, name: &str) -> Option<OsString> {
        (self.env)(name)
    }

    /// A path as the file means it: relative ones start at its folder.
    pub(super) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        match self.file.parent() {
            Some(folder) => folder.join(path),
            None => path.as_ref().to_owned(),
        }
    }

    /// The warnings, or every error, each in the order of lines.
    pub(super) fn outcome(self) -> Result<Vec<Warning>, Vec<Finding>> {
        let mut errors = self.errors.into_inner();
        let mut warnings = self.warnings.into_inner();
        errors.sort_by_key(Finding::position);
        warnings.sort_by_key(|warning| warning.0.position());
        // What stands in the defaults of several sites is read for each of them.
        errors.dedup_by_key(|error| error.to_string());
        warnings.dedup_by_key(|warning| warning.to_string());
        if errors.is_empty() {
            Ok(warnings)
        } else {
            Err(errors)
        }
    }
}

/// The offset, or the nearest before it that lies in the line and not within a character.
fn boundary(line: &str, at: usize) -> usize {
    let fits = |at: &usize| line.is_char_boundary(*at);
    (0..=at.min(line.len())).rev().find(fits).unwrap_or(0)
}

/// Spans of the values proper, lists included, tables not.
fn value_spans(table: &DeTable<'_>, spans: &mut Vec<Range<usize>>) {
    for value in table.values() {
        match value.get_ref() {
            DeValue::Table(table) => value_spans(table, spans),
            DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => {
                for table in items.iter().filter_map(|item| item.get_ref().as_table()) {
                    value_spans(table, spans);
                }
            }
            DeValue::Array(_)
            | DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => spans.push(value.span()),
        }
    }
}

/// A parser that misses something at the end of a value points just behind it.
fn touches(span: &Range<usize>, at: usize) -> bool {
    span.start <= at && at <= span.end
}
