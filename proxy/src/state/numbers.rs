//! The second file of guest numbers, `guest.numbers`: it is read when `state.redb` is lost, or is an old copy.
//!
//! Text, so that an administrator can read it, and write it where both are lost:
//!
//! ```text
//! taken 1004096
//! site 1 1000000
//! ```
//!
//! All numbers up to 1004096 are taken. Those from 1 up to and without 1000000 are the site's.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use crate::files::{put_aside, write_whole};

const FILE: &str = "guest.numbers";

/// What is known of guest numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Numbers {
    /// The greatest that is taken.
    pub(super) taken: u64,
    /// What was left to the site.
    pub(super) of_the_site: Vec<Range<u64>>,
}

impl Numbers {
    /// What the file says. One that is damaged is put aside.
    pub(super) fn kept(directory: &Path) -> Option<Self> {
        let path = directory.join(FILE);
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(why) => {
                tracing::error!(%why, "{} cannot be read", path.display());
                return None;
            }
        };
        let numbers = Self::parse(&text);
        if numbers.is_none() {
            let kept = put_aside(&path);
            tracing::error!(?kept, "{} is damaged and was put aside", path.display());
        }
        numbers
    }

    /// Writes the file, if it says something else. The numbers are in the store too, so an error is no loss yet.
    pub(super) fn keep(&self, directory: &Path) {
        let path = directory.join(FILE);
        let text = self.text();
        if fs::read(&path).is_ok_and(|kept| kept == text.as_bytes()) {
            return;
        }
        if let Err(why) = write_whole(&path, text.as_bytes(), 0o666) {
            tracing::warn!(%why, "{} cannot be written", path.display());
        }
    }

    fn text(&self) -> String {
        let mut text = format!("taken {}\n", self.taken);
        for range in &self.of_the_site {
            text.push_str(&format!("site {} {}\n", range.start, range.end));
        }
        text
    }

    fn parse(text: &str) -> Option<Self> {
        // The last line's end shows that nothing is cut off.
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let taken = lines.next()?.strip_prefix("taken ")?.parse().ok()?;
        let range = |line: &str| {
            let (start, end) = line.strip_prefix("site ")?.split_once(' ')?;
            Some(start.parse().ok()?..end.parse().ok()?)
        };
        Some(Self {
            taken,
            of_the_site: lines.map(range).collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read() {
        let directory = tempfile::tempdir().unwrap();
        for of_the_site in [Vec::new(), vec![1..1000, 5000..7000]] {
            let numbers = Numbers {
                taken: 8192,
                of_the_site,
            };
            numbers.keep(directory.path());
            assert_eq!(Numbers::kept(directory.path()), Some(numbers));
        }
    }

    #[test]
    fn what_is_damaged_is_not_believed() {
        let text = "taken 8192\nsite 1 1000\n";
        for end in 0..text.len() {
            if end != "taken 8192\n".len() {
                assert_eq!(Numbers::parse(&text[..end]), None, "{end}");
            }
        }
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE), [0xa5; 64]).unwrap();
        assert_eq!(Numbers::kept(directory.path()), None);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(!directory.path().join(FILE).exists());
    }
}
