//! The query of a request target, read as the reference server reads it.
//!
//! It takes what stands between the first and the second `?` and hands it to `URLSearchParams`, so
//! the rules are those of the WHATWG URL standard for `application/x-www-form-urlencoded`: `+` is a
//! blank, `;` separates nothing, names are case-sensitive. Recording `query_quirks`.
//!
//! `serde_urlencoded` reads the pairs by these rules. What it cannot do is choose: where it fills a
//! struct, a name that comes twice is an error, while here the first of a name counts. So it reads
//! into a list, from which names are picked; that way it takes any input.

use std::borrow::Cow;

use serde::Deserialize;

/// A name and its value, decoded.
#[derive(Debug, Deserialize)]
pub struct Pair<'a>(
    #[serde(borrow)] pub Cow<'a, str>,
    #[serde(borrow)] pub Cow<'a, str>,
);

/// The pairs of a form or query, in order. What is not UTF-8 becomes U+FFFD.
pub fn pairs(form: &[u8]) -> Vec<Pair<'_>> {
    serde_urlencoded::from_bytes(form).unwrap_or_default()
}

/// The query of one request, not yet decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// The query of a raw request target: `/sub/?a=1?b=2` gives `a=1`, and a target without `?` an
    /// empty query. A `#` belongs to the value, since no browser sends a fragment.
    pub fn of_target(target: &'a str) -> Self {
        Self(target.split('?').nth(1).unwrap_or_default())
    }

    /// The decoded value of the first parameter of this name. A name without `=` has an empty value.
    pub fn first(&self, name: &str) -> Option<Cow<'a, str>> {
        pairs(self.0.as_bytes())
            .into_iter()
            .find_map(|Pair(found, value)| (found == name).then_some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(target: &str, name: &str) -> Option<String> {
        Query::of_target(target).first(name).map(Cow::into_owned)
    }

    #[test]
    fn stands_between_the_question_marks() {
        assert_eq!(first("/sub/", "a"), None);
        assert_eq!(first("/sub/?a=1", "a").as_deref(), Some("1"));
        assert_eq!(first("/sub/?a=1?b=2", "a").as_deref(), Some("1"));
        assert_eq!(first("/sub/?a=1?b=2", "b"), None);
        assert_eq!(first("/sub/??a=1", "a"), None);
        assert_eq!(first("/sub/?a=1#x", "a").as_deref(), Some("1#x"));
    }

    #[test]
    fn decodes_as_browsers_encode() {
        assert_eq!(first("/?a=x%3Ay%2Fz%2e", "a").as_deref(), Some("x:y/z."));
        assert_eq!(first("/?%61=1", "a").as_deref(), Some("1"));
        assert_eq!(first("/?a=x+y", "a").as_deref(), Some("x y"));
        assert_eq!(first("/?a=%zz%4", "a").as_deref(), Some("%zz%4"));
        assert_eq!(first("/?a=%ff", "a").as_deref(), Some("\u{fffd}"));
    }

    #[test]
    fn the_first_of_a_name_counts() {
        assert_eq!(first("/?a=1&a=2", "a").as_deref(), Some("1"));
        assert_eq!(first("/?&&b&a=1;a=2", "a").as_deref(), Some("1;a=2"));
        assert_eq!(first("/?a&a=1", "a").as_deref(), Some(""));
        assert_eq!(first("/?A=1", "a"), None);
    }

    /// A query of thousands of parameters is not copied.
    #[test]
    fn what_needs_no_decoding_is_borrowed() {
        let borrowed = |text: &Cow<'_, str>| matches!(text, Cow::Borrowed(_));
        let pairs = pairs(b"a=1&b=2");
        assert_eq!(pairs.len(), 2);
        assert!(
            pairs
                .iter()
                .all(|Pair(name, value)| borrowed(name) && borrowed(value))
        );
    }
}
