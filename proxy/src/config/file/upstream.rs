//! `[upstream]`.

use std::path::PathBuf;

use super::section::Section;
use super::units::{hours, seconds};
use super::{MANY, address, checks, outside};
use crate::config::{Listener, Origin, Upstream};

pub(super) fn upstream(s: &mut Section<'_>, listeners: &[Listener], required: bool) -> Upstream {
    let origin = match required {
        true => s.required("url", address::ORIGIN, address::origin),
        false => s.read("url", None, |value| address::origin(value).map(Some)),
    };
    if let Some(origin) = &origin {
        checks::no_loop(s, origin, listeners);
        outside::origin(s, origin);
    }
    Upstream {
        origin: origin.unwrap_or_else(nowhere),
        connect_timeout: s.duration("connect_timeout", seconds(5)),
        response_timeout: s.duration("response_timeout", seconds(300)),
        tunnel_timeout: s.duration("tunnel_timeout", hours(1)),
        idle_timeout: s.duration("idle_timeout", seconds(4)),
        max_idle: s.number("max_idle", 64, 0..=MANY),
    }
}

/// Stands in where an error keeps the configuration from being used.
fn nowhere() -> Origin {
    Origin::Unix(PathBuf::new())
}
