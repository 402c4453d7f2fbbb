//! A table being read: every key is asked for once, with its default; keys that nobody asked for
//! are errors.

mod values;

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::reading::{Reading, Show};
use super::report::{Mismatch, Problem, expected};
use super::value::Value;

pub(super) struct Section<'a> {
    reading: &'a Reading<'a>,
    /// `None`: the file does not have it, and everything is at its default.
    table: Option<&'a DeTable<'a>>,
    /// Where keys that the table does not have are looked for before they are at their default.
    defaults: Option<Defaults<'a>>,
    /// E.g. `push.limits`; empty for the file itself.
    path: String,
    /// Its header, or the start of the file.
    at: Range<usize>,
    asked: Vec<&'static str>,
}

/// The table whose keys hold where a site's own has none. Its unknown keys are reported where it is read
/// itself.
#[derive(Clone)]
struct Defaults<'a> {
    table: &'a DeTable<'a>,
    path: String,
}

impl<'a> Section<'a> {
    /// Reads a whole file.
    pub(super) fn file<T>(
        reading: &'a Reading<'a>,
        table: &'a DeTable<'a>,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        Self::new(reading, Some(table), String::new(), 0..0).finish(read)
    }

    fn new(
        reading: &'a Reading<'a>,
        table: Option<&'a DeTable<'a>>,
        path: String,
        at: Range<usize>,
    ) -> Self {
        Self {
            reading,
            table,
            defaults: None,
            path,
            at,
            asked: Vec::new(),
        }
    }

    fn over(mut self, defaults: Option<Defaults<'a>>) -> Self {
        self.defaults = defaults;
        self
    }

    fn finish<T>(mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let result = read(&mut self);
        self.report_unknown();
        result
    }

    /// A table inside this one.
    pub(super) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.asked.push(key);
        let value = self.own(key);
        let table = value.as_ref().and_then(|value| {
            value.checked(|value| {
                let table = value.node.as_table();
                table.ok_or_else(|| expected(format!("a table: [{}]", value.key)))
            })
        });
        let at = value.map_or(self.at.clone(), |value| value.span);
        let defaults = self.defaults.as_ref().and_then(|defaults| {
            Some(Defaults {
                table: defaults.table.get(key)?.get_ref().as_table()?,
                path: joined(&defaults.path, key),
            })
        });
        Self::new(self.reading, table, self.full(key), at)
            .over(defaults)
            .finish(read)
    }

    /// A list of tables, `[[key]]`; `None` if there is no such list.
    pub(super) fn sections<T>(
        &mut self,
        key: &'static str,
        read: impl FnMut(&mut Self) -> T,
    ) -> Option<Vec<T>> {
        self.sections_over(key, None, read)
    }

    /// The same; what a table does not say, this one says for it.
    pub(super) fn sections_with_defaults<T>(
        &mut self,
        key: &'static str,
        read: impl FnMut(&mut Self) -> T,
    ) -> Option<Vec<T>> {
        let defaults = self.table.map(|table| Defaults {
            table,
            path: self.path.clone(),
        });
        self.sections_over(key, defaults.as_ref(), read)
    }

    fn sections_over<T>(
        &mut self,
        key: &'static str,
        defaults: Option<&Defaults<'a>>,
        mut read: impl FnMut(&mut Self) -> T,
    ) -> Option<Vec<T>> {
        let value = self.value(key)?;
        let form = || expected(format!("tables in double brackets, [[{}]]", value.key));
        let items = value.checked(|value| {
            let items = value.items().map_err(|_| form())?;
            let filled = (!items.is_empty()).then_some(items);
            filled.ok_or_else(|| Mismatch::new("an empty list", "at least one"))
        })?;
        let read_one = |item: &Value<'a>| {
            let table = item.checked(|item| item.node.as_table().ok_or_else(form))?;
            let section = Self::new(
                self.reading,
                Some(table),
                item.key.clone(),
                item.span.clone(),
            );
            Some(section.over(defaults.cloned()).finish(&mut read))
        };
        Some(items.iter().filter_map(read_one).collect())
    }

    /// Whether the file says that there are none of them: `key = []`.
    pub(super) fn says_none(&mut self, key: &'static str) -> bool {
        let items = self.look(key).and_then(|list| list.items().ok());
        let says_none = items.is_some_and(|items| items.is_empty());
        if says_none {
            self.asked.push(key);
        }
        says_none
    }

    /// A key's value, if there is one that is worth looking at.
    pub(super) fn value(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.asked.push(key);
        self.look(key).filter(|value| self.is_meant(value))
    }

    /// The same, and the defaults do not count.
    fn own(&self, key: &str) -> Option<Value<'a>> {
        let node = self.table?.get(key)?;
        let value = Value::new(self.reading, self.full(key), node);
        self.is_meant(&value).then_some(value)
    }

    /// Not what the parser guessed where the text is no TOML.
    fn is_meant(&self, value: &Value<'_>) -> bool {
        let is_table = value.node.is_table() || is_tables(value.node);
        is_table || !self.reading.is_guess(&value.span)
    }

    /// A key read in a way of its own.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        default: T,
        parse: impl FnOnce(&Value<'a>) -> Result<T, Mismatch>,
    ) -> T {
        let value = self.value(key);
        let parsed = value.and_then(|value| value.checked(parse));
        parsed.unwrap_or(default)
    }

    /// A key without a default; `None` after an error.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        example: &str,
        parse: impl FnOnce(&Value<'a>) -> Result<T, Mismatch>,
    ) -> Option<T> {
        self.must_have(key, example);
        self.value(key)?.checked(parse)
    }

    /// An error if there is no such key.
    pub(super) fn must_have(&self, key: &str, example: &str) {
        if !self.has(key) && !self.reading.is_broken() {
            self.error(key, Mismatch::new("nothing", example));
        }
    }

    /// What is read of a key, if there is such a key.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> T,
    ) -> Option<T> {
        let value = read(self, key);
        self.has(key).then_some(value)
    }

    /// Whether the file says anything about a key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.look(key).is_some()
    }

    /// The same, and the defaults do not count.
    pub(super) fn has_own(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// An error that shows only in the light of other keys.
    pub(super) fn error(&self, key: &str, mismatch: Mismatch) {
        match self.look(key) {
            Some(value) => value.error(mismatch),
            None => {
                let problem = mismatch.into_problem(|| "nothing".to_owned());
                let at = self.at.clone();
                self.reading
                    .error(at, Show::Group, &self.full(key), problem);
            }
        }
    }

    /// A warning about a key of the file, or about its section.
    pub(super) fn warn(&self, key: &str, remark: impl Into<String>) {
        match self.look(key) {
            Some(value) => value.warn(remark),
            None => {
                let at = self.at.clone();
                let remark = remark.into();
                self.reading.warn(at, Show::Group, &self.full(key), remark);
            }
        }
    }

    /// The items of a list as they stand in the file.
    pub(super) fn items(&self, key: &str) -> Vec<Value<'a>> {
        let list = self.look(key).and_then(|list| list.items().ok());
        list.unwrap_or_default()
    }

    pub(super) fn looks_outside(&self) -> bool {
        self.reading.looks_outside()
    }

    fn look(&self, key: &str) -> Option<Value<'a>> {
        let own = self.table.and_then(|table| table.get(key));
        let (node, path) = match (own, &self.defaults) {
            (Some(node), _) => (node, &self.path),
            (None, Some(defaults)) => (defaults.table.get(key)?, &defaults.path),
            (None, None) => return None,
        };
        Some(Value::new(self.reading, joined(path, key), node))
    }

    pub(super) fn full(&self, key: &str) -> String {
        joined(&self.path, key)
    }

    fn report_unknown(&self) {
        let known = |key: &str| self.asked.contains(&key);
        for key in self.table.into_iter().flat_map(DeTable::keys) {
            let name = key.get_ref().as_ref();
            // A header that does not end takes the next key for its name.
            let lost = self.path.is_empty() && self.reading.is_broken_before(key.span().start);
            if !known(name) && !lost {
                let problem = Problem::Unknown {
                    meant: closest(name, &self.asked),
                    table: self.name(),
                    known: self.asked.clone(),
                };
                let full = self.full(name);
                self.reading.error(key.span(), Show::Value, &full, problem);
            }
        }
    }

    fn name(&self) -> String {
        let path = self.path.split('[').map(|part| part.split(']').next_back());
        let path: String = path.flatten().collect();
        match self.path.ends_with(']') {
            true => format!("[[{path}]]"),
            false if path.is_empty() => "the file".to_owned(),
            false => format!("[{path}]"),
        }
    }
}

fn joined(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    }
}

fn is_tables(node: &DeValue<'_>) -> bool {
    let items = node.as_array();
    items.is_some_and(|items| items.iter().any(|item| item.get_ref().is_table()))
}

/// A key that differs by a slip or two.
fn closest(name: &str, keys: &[&'static str]) -> Option<&'static str> {
    let distance = |key: &&&'static str| strsim::osa_distance(name, key);
    let close = |key: &&&'static str| distance(key) <= 1 + key.len() / 5;
    keys.iter().filter(close).min_by_key(distance).copied()
}
