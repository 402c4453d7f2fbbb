//! `[upstream.health]`: when a back end is out.

use std::time::Duration;

use http::StatusCode;
use http::uri::{Authority, PathAndQuery};

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Health {
    /// Connections that cannot be made, or checks that fail, one after the other, until it is out. Default 1.
    pub(crate) max_failures: u32,
    /// How long one that cannot be reached is left to itself while others are in; where there are checks, until one
    /// succeeds. Default 10 s.
    pub(crate) pause: Duration,
    /// Default none: without `path`.
    pub(crate) check: Option<Check>,
}

/// What each back end is asked again and again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Check {
    /// The page.
    pub(crate) path: PathAndQuery,
    /// Between an answer and the next request. Default 5 s.
    pub(crate) interval: Duration,
    /// For connecting and the head of the answer together. Default 5 s.
    pub(crate) timeout: Duration,
    /// The only status that is good. Default: any of 200 to 399.
    pub(crate) expect: Option<StatusCode>,
    /// `Host`. Default: the first of the site's `hosts` that is a name, or else the back end's own.
    pub(crate) host: Option<Authority>,
}
