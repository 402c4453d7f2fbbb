//! `[push]`.

use pullgate_compat::signature::Algorithm;

use super::report::{Mismatch, expected};
use super::section::Section;
use super::units::{hours, mib, seconds};
use super::value::{self, Value};
use super::{MANY, checks, names, secret, strings};
use crate::config::{Limits, Paths, Push};

pub(super) fn push(s: &mut Section<'_>) -> Push {
    Push {
        signature_key: secret::secret(s, "signature_key"),
        signature_algo: s.read("signature_algo", Algorithm::default(), algorithm),
        publish_allow: s.list("publish_allow", vec![], names::network),
        ping_interval: s.duration("ping_interval", seconds(40)),
        poll_timeout: s.duration("poll_timeout", seconds(40)),
        paths: s.section("paths", paths),
        limits: s.section("limits", limits),
    }
}

pub(super) fn algorithm(value: &Value<'_>) -> Result<Algorithm, Mismatch> {
    let form = || value::alternatives(Algorithm::NAMES.iter().copied());
    let name = value.text(&form())?;
    name.parse().map_err(|_| expected(form()))
}

fn paths(s: &mut Section<'_>) -> Paths {
    let mut list = |key, default: &[&str]| s.filled_list(key, strings(default), names::push_prefix);
    let paths = Paths {
        publish: list("pub", &["/bitrix/pub/"]),
        subscribe: list("sub", &["/bitrix/sub/", "/bitrix/subws/"]),
        rest: list("rest", &["/bitrix/rest/", "/bitrix/pubweb/"]),
        stat: list("stat", &["/server-stat/"]),
    };
    checks::paths_differ(s, &paths);
    paths
}

fn limits(s: &mut Section<'_>) -> Limits {
    Limits {
        max_payload: s.size("max_payload", mib(1)),
        max_connections_per_channel: s.number("max_connections_per_channel", 100, 1..=MANY),
        max_messages_per_request: s.number("max_messages_per_request", 100, 1..=MANY),
        max_channels_per_request: s.number("max_channels_per_request", 100, 1..=MANY),
        message_ttl: s.duration("message_ttl", hours(24)),
        channel_ttl: s.duration("channel_ttl", hours(24)),
        subscriber_queue: s.size("subscriber_queue", mib(4)),
    }
}
