//! Which hosts are a site's: `hosts` of `[[site]]`, compared without port and case.

use std::fmt;

/// One entry of `hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HostPattern {
    /// `shop.example`, an IPv4 address, or an IPv6 address in brackets.
    Exact(String),
    /// `*.shop.example`: every host below `shop.example`, at any depth, not itself.
    Below(String),
}

/// No pattern of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoPattern;

impl HostPattern {
    /// Reads a pattern. Names in other letters than ASCII's are written as browsers send them (`xn--…`).
    pub(crate) fn parse(text: &str) -> Result<Self, NoPattern> {
        let (name, pattern): (&str, fn(String) -> Self) = match text.strip_prefix("*.") {
            Some(name) => (name, Self::Below),
            None => (text, Self::Exact),
        };
        let bracketed = name.strip_prefix('[').and_then(|ip| ip.strip_suffix(']'));
        let is_ip = bracketed.is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok());
        let label = |label: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            !label.is_empty() && label.chars().all(allowed)
        };
        let is_name = name.split('.').all(label);
        (is_ip || is_name)
            .then(|| pattern(name.to_ascii_lowercase()))
            .ok_or(NoPattern)
    }
}

/// As it stands in the file.
impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_wildcards_and_addresses() {
        let exact = |name: &str| Ok(HostPattern::Exact(name.to_owned()));
        let below = |name: &str| Ok(HostPattern::Below(name.to_owned()));
        assert_eq!(HostPattern::parse("Shop.Example"), exact("shop.example"));
        assert_eq!(HostPattern::parse("localhost"), exact("localhost"));
        assert_eq!(HostPattern::parse("10.0.0.1"), exact("10.0.0.1"));
        assert_eq!(HostPattern::parse("[::1]"), exact("[::1]"));
        assert_eq!(HostPattern::parse("*.Shop.example"), below("shop.example"));
        for wrong in [
            "",
            "*",
            "*.",
            "a.*.b",
            "*a.b",
            "shop.example:80",
            "http://shop.example",
            "shop.example/",
            "shop..example",
            "shop.example.",
            "магазин.рф",
            "::1",
        ] {
            assert_eq!(HostPattern::parse(wrong), Err(NoPattern), "{wrong}");
        }
    }
}
