//! A value of the file, with its place and its key: what it is, or what is wrong with it.

use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::reading::{Reading, Show};
use super::report::{Mismatch, Problem, expected};
use super::units;

/// More of a string than this helps nobody to find it.
const LONGEST_SHOWN: usize = 60;

pub(super) struct Value<'a> {
    reading: &'a Reading<'a>,
    /// The full key, with the index of a list's item.
    pub(super) key: String,
    pub(super) span: Range<usize>,
    pub(super) node: &'a DeValue<'a>,
    /// Never shown.
    is_secret: bool,
}

impl<'a> Value<'a> {
    pub(super) fn new(
        reading: &'a Reading<'a>,
        key: String,
        node: &'a Spanned<DeValue<'a>>,
    ) -> Self {
        let is_secret = node.get_ref().as_str().is_some_and(has_password);
        Self {
            reading,
            key,
            span: node.span(),
            node: node.get_ref(),
            is_secret,
        }
    }

    /// Where a secret is to be found may be shown, the secret may not.
    pub(super) fn into_secret(mut self) -> Self {
        self.is_secret = self.secret_place().is_none();
        self
    }

    /// The variable or file that a secret is in.
    pub(super) fn secret_place(&self) -> Option<SecretPlace<'a>> {
        let text = self.node.as_str()?;
        let variable = text.strip_prefix("env:").map(SecretPlace::Variable);
        variable.or_else(|| {
            let path = text.strip_prefix("file:")?;
            Some(SecretPlace::File(path, self.reading.path(path)))
        })
    }

    pub(super) fn reading(&self) -> &'a Reading<'a> {
        self.reading
    }

    /// What `parse` makes of it; what does not fit is reported.
    pub(super) fn checked<T>(&self, parse: impl FnOnce(&Self) -> Result<T, Mismatch>) -> Option<T> {
        parse(self).map_err(|mismatch| self.error(mismatch)).ok()
    }

    pub(super) fn error(&self, mismatch: Mismatch) {
        let problem = mismatch.into_problem(|| self.found());
        let span = self.span.clone();
        self.reading.error(span, self.show(), &self.key, problem);
    }

    /// About a key of this table, whether it is there or not.
    pub(super) fn error_of(&self, key: &str, mismatch: Mismatch) {
        let full = format!("{}.{key}", self.key);
        match self.node.as_table().and_then(|table| table.get(key)) {
            Some(node) => Self::new(self.reading, full, node).error(mismatch),
            None => {
                let problem = mismatch.into_problem(|| "nothing".to_owned());
                let at = self.span.clone();
                self.reading.error(at, Show::Group, &full, problem);
            }
        }
    }

    pub(super) fn warn(&self, remark: impl Into<String>) {
        let span = self.span.clone();
        let remark = remark.into();
        self.reading.warn(span, self.show(), &self.key, remark);
    }

    fn show(&self) -> Show {
        match self.node {
            _ if self.is_secret => Show::Secret,
            DeValue::Array(_) | DeValue::Table(_) => Show::Group,
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => Show::Value,
        }
    }

    /// The value as a report names it.
    pub(super) fn found(&self) -> String {
        match self.node {
            DeValue::String(text) if self.is_secret => {
                format!("a string of {} bytes", text.len())
            }
            DeValue::String(text) => quoted(text),
            DeValue::Integer(_) | DeValue::Float(_) if self.is_secret => "a number".to_owned(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::Datetime(_) => "a date or time".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        }
    }

    /// A string that is not empty; `what` names it in the report.
    pub(super) fn text(&self, what: &str) -> Result<&'a str, Mismatch> {
        match self.node.as_str() {
            Some(text) if !text.trim().is_empty() => Ok(text),
            Some(_) | None => Err(expected(what)),
        }
    }

    pub(super) fn items(&self) -> Result<Vec<Self>, Mismatch> {
        let form = || expected(format!("a list, such as [{}]", self.found()));
        let items = self.node.as_array().ok_or_else(form)?;
        let item = |(index, node)| Self {
            is_secret: self.is_secret,
            ..Self::new(self.reading, format!("{}[{index}]", self.key), node)
        };
        Ok(items.iter().enumerate().map(item).collect())
    }

    pub(super) fn number<T: TryFrom<u64>>(
        &self,
        range: RangeInclusive<u64>,
    ) -> Result<T, Mismatch> {
        let number = self.node.as_integer().and_then(|number| {
            let number = u64::from_str_radix(number.as_str(), number.radix()).ok()?;
            range.contains(&number).then(|| T::try_from(number).ok())?
        });
        let (least, most) = range.into_inner();
        number.ok_or_else(|| expected(format!("a whole number from {least} to {most}")))
    }

    pub(super) fn duration(&self, default: Duration) -> Result<Duration, Mismatch> {
        let example = match self.bare_number() {
            Some(number) => format!("{number}s"),
            None => units::show_duration(default),
        };
        let form = format!("a duration with a unit, such as \"{example}\"");
        units::duration(self.text(&form)?, form)
    }

    /// A number that only lacks its unit.
    fn bare_number(&self) -> Option<&'a str> {
        let text = match self.node.as_integer() {
            Some(number) => number.as_str(),
            None => self.node.as_str()?,
        };
        text.parse::<u32>().ok().map(|_| text)
    }

    pub(super) fn size(&self, default: usize) -> Result<usize, Mismatch> {
        let example = units::show_size(default);
        let form = format!("a size with a unit, such as \"{example}\"");
        units::size(self.text(&form)?, form)
    }

    pub(super) fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Result<T, Mismatch> {
        let form = alternatives(words.iter().map(|(word, _)| *word));
        let text = self.text(&form)?;
        let same = |(word, _): &&(&'static str, T)| word.eq_ignore_ascii_case(text);
        let found = words.iter().find(same);
        found
            .map(|(_, meaning)| *meaning)
            .ok_or_else(|| expected(form))
    }
}

/// Where a secret is kept if not in the file itself.
pub(super) enum SecretPlace<'a> {
    Variable(&'a str),
    /// As written, and where that is.
    File(&'a str, PathBuf),
}

impl Mismatch {
    pub(super) fn into_problem(self, found: impl FnOnce() -> String) -> Problem {
        Problem::Mismatch {
            found: self.found.unwrap_or_else(found),
            expected: self.expected,
        }
    }
}

/// A URL with a user in it may have a password, too.
fn has_password(text: &str) -> bool {
    text.split_once("://")
        .is_some_and(|(_, rest)| rest.contains('@'))
}

pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(LONGEST_SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// `"a", "b" or "c"`.
pub(super) fn alternatives<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut words: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
    match words.pop() {
        Some(last) if words.is_empty() => last,
        Some(last) => format!("{} or {last}", words.join(", ")),
        None => String::new(),
    }
}
