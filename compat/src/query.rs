//! Query strings, read as the reference server reads them: what stands between the first and the
//! second `?`, by the WHATWG rules for forms; of repeated names the first counts.

use std::borrow::Cow;

/// The query of a request target.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// `target`: path and query as they came.
    #[must_use]
    pub fn of_target(target: &'a str) -> Self {
        Self(target.split('?').nth(1).unwrap_or_default())
    }

    /// The value of the first parameter of this name, decoded.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<Cow<'a, str>> {
        form_urlencoded::parse(self.0.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quirks() {
        let first =
            |target: &'static str, name| Query::of_target(target).first(name).map(Cow::into_owned);
        assert_eq!(first("/p?a=1&a=2", "a").as_deref(), Some("1"));
        assert_eq!(first("/p?a=1?b=2", "b"), None);
        assert_eq!(first("/p?a=x+y%2Fz%", "a").as_deref(), Some("x y/z%"));
        assert_eq!(first("/p?a=1;b=2", "a").as_deref(), Some("1;b=2"));
        assert_eq!(first("/p?A=1&&=&a", "a").as_deref(), Some(""));
        assert_eq!(first("/p", "a"), None);
    }
}
