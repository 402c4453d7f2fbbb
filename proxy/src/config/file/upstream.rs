//! `[upstream]`.

use super::health::health;
use super::report::expected;
use super::section::Section;
use super::units::{hours, seconds};
use super::{MANY, address, checks, outside};
use crate::config::{Listener, Origin, Sticky, Upstream};

const STICKY: [(&str, Sticky); 2] = [("guest", Sticky::Guest), ("none", Sticky::Nobody)];

pub(super) fn upstream(s: &mut Section<'_>, listeners: &[Listener], required: bool) -> Upstream {
    let origins = origins(s, required);
    for (key, origin) in &origins {
        checks::no_loop(s, key, origin, listeners);
        outside::origin(s, key, origin);
    }
    Upstream {
        origins: origins.into_iter().map(|(_, origin)| origin).collect(),
        connect_timeout: s.duration("connect_timeout", seconds(5)),
        response_timeout: s.duration("response_timeout", seconds(300)),
        max_body: s.size_or_zero("max_body", 0),
        buffer_requests: s.size_or_zero("buffer_requests", 0),
        tunnel_timeout: s.duration("tunnel_timeout", hours(1)),
        idle_timeout: s.duration("idle_timeout", seconds(4)),
        max_idle: s.number("max_idle", 64, 0..=MANY),
        sticky: s.one_of("sticky", Sticky::Nobody, &STICKY),
        health: s.section("health", health),
    }
}

/// `url` or `urls`, each origin with its key. Of a site's own and the file's, its own counts. None after an error.
fn origins(s: &mut Section<'_>, required: bool) -> Vec<(&'static str, Origin)> {
    let own = s.has_own("url") || s.has_own("urls");
    let has = |key| if own { s.has_own(key) } else { s.has(key) };
    let (one, several) = (has("url"), has("urls"));
    if one && several {
        s.error("urls", expected("one of url and urls"));
    }
    if required && !several {
        s.must_have("url", address::ORIGIN);
    }
    let url = s.read("url", None, |value| address::origin(value).map(Some));
    let urls = s.filled_list("urls", Vec::new(), address::origin);
    let mut earlier = Vec::new();
    for item in s.items("urls") {
        let origin = address::origin(&item).ok();
        if origin.is_some() && earlier.contains(&origin) {
            item.error(expected("each back end once"));
        }
        earlier.push(origin);
    }
    match several {
        true => urls.into_iter().map(|origin| ("urls", origin)).collect(),
        false => url.into_iter().map(|origin| ("url", origin)).collect(),
    }
}
