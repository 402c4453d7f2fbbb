//! Keys by what they hold: numbers, times, sizes, words, lists.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::super::report::{Mismatch, expected};
use super::super::units;
use super::super::value::Value;
use super::Section;

impl<'a> Section<'a> {
    pub(in crate::config::file) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.read(key, default, |value| {
            let flag = value.node.as_bool();
            flag.ok_or_else(|| expected("true or false"))
        })
    }

    pub(in crate::config::file) fn number<T: TryFrom<u64>>(
        &mut self,
        key: &'static str,
        default: T,
        range: RangeInclusive<u64>,
    ) -> T {
        self.read(key, default, |value| value.number(range))
    }

    /// More than nothing.
    pub(in crate::config::file) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
    ) -> Duration {
        self.read(key, default, |value| {
            units::more_than_zero(value.duration(default)?)
        })
    }

    /// Zero is one, too: at once, or not at all.
    pub(in crate::config::file) fn duration_or_zero(
        &mut self,
        key: &'static str,
        default: Duration,
    ) -> Duration {
        self.read(key, default, |value| value.duration(default))
    }

    /// Bytes, more than none.
    pub(in crate::config::file) fn size(&mut self, key: &'static str, default: usize) -> usize {
        self.read(key, default, |value| {
            units::more_than_zero(value.size(default)?)
        })
    }

    /// Bytes, and none is one, too.
    pub(in crate::config::file) fn size_or_zero(
        &mut self,
        key: &'static str,
        default: usize,
    ) -> usize {
        self.read(key, default, |value| value.size(default))
    }

    /// Bytes, not fewer and not more than these.
    pub(in crate::config::file) fn size_within(
        &mut self,
        key: &'static str,
        default: usize,
        range: RangeInclusive<usize>,
    ) -> usize {
        self.read(key, default, |value| {
            let size = value.size(default)?;
            let (least, most) = (range.start(), range.end());
            let form = || {
                expected(format!(
                    "{} to {}",
                    units::show_size(*least),
                    units::show_size(*most)
                ))
            };
            range.contains(&size).then_some(size).ok_or_else(form)
        })
    }

    /// One of several words, in any case.
    pub(in crate::config::file) fn one_of<T: Copy>(
        &mut self,
        key: &'static str,
        default: T,
        words: &[(&'static str, T)],
    ) -> T {
        self.read(key, default, |value| value.word(words))
    }

    /// A file or folder.
    pub(in crate::config::file) fn path(&mut self, key: &'static str, default: &str) -> PathBuf {
        let reading = self.reading;
        self.read(key, PathBuf::from(default), |value| {
            let path = value.text("a path")?;
            Ok(reading.path(path))
        })
    }

    /// A list; an item that does not fit is left out.
    pub(in crate::config::file) fn list<T>(
        &mut self,
        key: &'static str,
        default: Vec<T>,
        parse: impl Fn(&Value<'a>) -> Result<T, Mismatch>,
    ) -> Vec<T> {
        self.read(key, default, |list| {
            let items = list.items()?;
            let parsed = items.iter().filter_map(|item| item.checked(&parse));
            Ok(parsed.collect())
        })
    }

    /// The same, and an empty list is an error.
    pub(in crate::config::file) fn filled_list<T>(
        &mut self,
        key: &'static str,
        default: Vec<T>,
        parse: impl Fn(&Value<'a>) -> Result<T, Mismatch>,
    ) -> Vec<T> {
        let list = self.list(key, default, parse);
        let written = self.look(key);
        let written = written.as_ref().and_then(|list| list.node.as_array());
        if written.is_some_and(|items| items.is_empty()) {
            self.error(key, Mismatch::new("an empty list", "at least one entry"));
        }
        list
    }
}
