//! What single keys cannot show: values that do not go together, and what this version cannot do.

use std::time::Duration;

use super::address::is_exposed;
use super::report::expected;
use super::section::Section;
use super::units::days;
use crate::config::{
    Address, Config, Engine, Guest, Listener, Origin, Paths, Role, SameSite, Site,
};

/// Browsers cut a cookie's life to this (RFC 6265bis).
const LONGEST_COOKIE_DAYS: u64 = 400;

/// One that speaks https itself would send its clients round in circles.
pub(super) fn redirects_to_another(s: &Section<'_>, role: Role, redirects: bool) {
    if redirects && (role != Role::Site || s.has("tls")) {
        let form = "it at a listener of role \"site\" without tls";
        s.error("redirect", expected(form));
    }
}

/// Two listeners at one address would share its connections at random.
pub(super) fn own_address(s: &Section<'_>, address: &Address, taken: &mut Vec<(Address, String)>) {
    let same = taken.iter().find(|(other, _)| other.takes(address));
    if let Some((other, key)) = same {
        let form = match other == address {
            true => format!("an address of its own: {key} has this one"),
            false => format!("a port of its own: one of this and {key} is for every address"),
        };
        s.error("address", expected(form));
    }
    taken.push((address.clone(), s.full("address")));
}

pub(super) fn exposure(s: &Section<'_>, address: &Address, role: Role) {
    if is_exposed(address, role) {
        let danger = match role {
            Role::Publish => "whoever reaches this address may publish to everyone",
            Role::Site | Role::Admin => "whoever reaches this address sees how the site is doing",
        };
        s.warn("address", format!("{danger}: keep it from the internet"));
    }
}

/// A site that is pullgate itself would be asked without end.
pub(super) fn no_loop(s: &Section<'_>, key: &str, origin: &Origin, listeners: &[Listener]) {
    let receives = |listener: &&Listener| listener.address.receives(origin);
    if listeners.iter().any(|listener| receives(&listener)) {
        s.error(
            key,
            expected("the site's address: this one is a listener of pullgate"),
        );
    }
}

pub(super) fn headers_differ(s: &Section<'_>, guest: &Guest) {
    if guest.header == guest.token_header {
        let (key, other) = match s.has("token_header") {
            true => ("token_header", "guest.header"),
            false => ("header", "guest.token_header"),
        };
        s.error(key, expected(format!("another name than {other}")));
    }
}

pub(super) fn cookie_is_kept(s: &Section<'_>, guest: &Guest) {
    if guest.cookie_same_site == SameSite::None {
        let remark = "browsers keep such a cookie only when it came by https";
        s.warn("cookie_same_site", remark);
    }
    if guest.cookie_max_age > days(LONGEST_COOKIE_DAYS) {
        let remark = format!("browsers keep a cookie for {LONGEST_COOKIE_DAYS}d at most");
        s.warn("cookie_max_age", remark);
    }
}

/// A prefix decides what is served, so it can stand for one kind only. Lists at their default
/// cannot be wrong.
pub(super) fn paths_differ(s: &Section<'_>, paths: &Paths) {
    let kinds = [
        ("pub", &paths.publish),
        ("sub", &paths.subscribe),
        ("rest", &paths.rest),
        ("stat", &paths.stat),
    ];
    for (rank, (kind, _)) in kinds.iter().enumerate() {
        for item in s.items(kind) {
            let Some(path) = item.node.as_str().map(str::to_ascii_lowercase) else {
                continue;
            };
            let taken = kinds.iter().enumerate().find(|(other, (key, list))| {
                let counts = *other < rank || *other > rank && !s.has(key);
                counts && list.contains(&path)
            });
            if let Some((_, (key, _))) = taken {
                let form = format!("a path of its own: push.paths.{key} has this one");
                item.error(expected(form));
            }
        }
    }
}

/// Channels of guests are good for one epoch behind their own.
pub(super) fn within_an_epoch(s: &Section<'_>, config_ttl: Duration) {
    if config_ttl > Duration::from_secs(pullgate_compat::guest::EPOCH) {
        s.error("config_ttl", expected("at most \"12h\""));
    }
}

/// Several nodes are one server to their clients only if they have the same secrets.
pub(super) fn nodes_agree(file: &Section<'_>, config: &Config) {
    if config.history.engine != Engine::Redis {
        return;
    }
    let own = "is not given: each node makes its own, and";
    let lacks = |lacks: fn(&Site) -> bool| config.sites.iter().any(lacks);
    if lacks(|site| site.guest.enabled && site.guest.secrets.is_empty()) {
        let remark = format!("guest.secrets {own} does not know the others' guests");
        file.warn("history", remark);
    }
    if lacks(|site| site.push.signature_key.is_none()) {
        let remark = format!("push.signature_key {own} refuses what is signed for the others");
        file.warn("history", remark);
    }
}
