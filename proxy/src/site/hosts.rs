//! `Host` → site: exact names first, then the longest wildcard, then the default site.

use std::collections::HashMap;

use crate::config::hosts::HostPattern;

/// What each host is served by.
#[derive(Debug)]
pub(crate) struct Hosts<T> {
    exact: HashMap<String, T>,
    /// By the name behind `*.`.
    below: HashMap<String, T>,
    default: Option<T>,
}

impl<T> Hosts<T> {
    /// `default`: takes the hosts that nobody claims.
    pub(crate) fn new(
        patterns: impl IntoIterator<Item = (HostPattern, T)>,
        default: Option<T>,
    ) -> Self {
        let (mut exact, mut below) = (HashMap::new(), HashMap::new());
        for (pattern, site) in patterns {
            match pattern {
                HostPattern::Exact(name) => exact.insert(name, site),
                HostPattern::Below(name) => below.insert(name, site),
            };
        }
        Self {
            exact,
            below,
            default,
        }
    }

    /// `host`: as in the header, with or without a port, in any case; a dot at the end is the root of the
    /// DNS (RFC 1034 3.1) and does not count.
    pub(crate) fn find(&self, host: &str) -> Option<&T> {
        // One site, which is the usual case, needs no looking.
        if self.exact.is_empty() && self.below.is_empty() {
            return self.default.as_ref();
        }
        let name = without_port(host).to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let parents = || std::iter::successors(parent(name), |name| parent(name));
        self.exact
            .get(name)
            .or_else(|| parents().find_map(|parent| self.below.get(parent)))
            .or(self.default.as_ref())
    }
}

fn parent(name: &str) -> Option<&str> {
    name.split_once('.').map(|(_, parent)| parent)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // The colons of `[::1]` are its own.
        Some((name, port)) if !port.contains(']') => name,
        Some(_) | None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(default: Option<&'static str>) -> Hosts<&'static str> {
        let patterns = [
            ("shop.example", "shop"),
            ("*.shop.example", "shop"),
            ("*.deep.shop.example", "deep"),
            ("blog.example", "blog"),
            ("[::1]", "local"),
        ];
        let parsed = |(host, site)| (HostPattern::parse(host).unwrap(), site);
        Hosts::new(patterns.map(parsed), default)
    }

    #[test]
    fn exact_then_the_longest_wildcard_then_the_default() {
        let hosts = hosts(None);
        for (host, site) in [
            ("shop.example", Some("shop")),
            ("SHOP.example:8080", Some("shop")),
            ("shop.example.", Some("shop")),
            ("www.shop.example", Some("shop")),
            ("a.b.shop.example", Some("shop")),
            ("a.deep.shop.example", Some("deep")),
            ("deep.shop.example", Some("shop")),
            ("[::1]:80", Some("local")),
            ("[::1]", Some("local")),
            ("myshop.example", None),
            ("example", None),
            ("www.blog.example", None),
            ("", None),
            (".", None),
            ("*.shop.example", Some("shop")),
        ] {
            assert_eq!(hosts.find(host).copied(), site, "{host}");
        }
    }

    #[test]
    fn a_default_takes_the_others() {
        assert_eq!(hosts(Some("rest")).find("other.example"), Some(&"rest"));
        assert_eq!(Hosts::new([], Some("only")).find("any"), Some(&"only"));
    }
}
