//! `[guest]`.

use http::HeaderName;

use super::section::Section;
use super::units::{days, hours};
use super::{MANY, adopt, checks, names, secret, strings};
use crate::config::{Guest, GuestPush, SameSite, SharedCache};

pub(super) fn guest(s: &mut Section<'_>) -> Guest {
    let cookie = s.read("cookie", "PULL_GUEST".to_owned(), names::cookie);
    let guest = Guest {
        enabled: s.flag("enabled", true),
        secrets: secret::secrets(s, "secrets"),
        cookie_domain: s.read("cookie_domain", None, names::domain),
        cookie_max_age: s.duration("cookie_max_age", days(365)),
        cookie_same_site: s.one_of("cookie_same_site", SameSite::Lax, &SAME_SITES),
        header: s.read("header", PULL_USER_ID, names::header),
        token_header: s.read("token_header", PULL_USER_TOKEN, names::header),
        exclude: s.list("exclude", excluded(), names::path_prefix),
        new_per_minute: s.number("new_per_minute", 60, 1..=MANY),
        new_per_minute_in_all: s.number("new_per_minute_in_all", 10_000, 1..=MANY),
        shared_cache: s.one_of("shared_cache", SharedCache::Private, &SHARED_CACHES),
        push: s.section("push", guest_push),
        first_id: adopt::first_id(s),
        adopt: adopt::adopt(s, &cookie),
        cookie,
    };
    checks::headers_differ(s, &guest);
    checks::cookie_is_kept(s, &guest);
    guest
}

fn excluded() -> Vec<String> {
    strings(&["/bitrix/admin/", "/upload/"])
}

fn guest_push(s: &mut Section<'_>) -> GuestPush {
    let config_ttl = s.duration("config_ttl", hours(12));
    checks::within_an_epoch(s, config_ttl);
    GuestPush {
        enabled: s.flag("enabled", true),
        version: s.number("version", 4, 3..=4),
        config_ttl,
    }
}

const PULL_USER_ID: HeaderName = HeaderName::from_static("pull-user-id");
const PULL_USER_TOKEN: HeaderName = HeaderName::from_static("pull-user-token");

const SAME_SITES: [(&str, SameSite); 3] = [
    ("Lax", SameSite::Lax),
    ("Strict", SameSite::Strict),
    ("None", SameSite::None),
];

const SHARED_CACHES: [(&str, SharedCache); 2] = [
    ("private", SharedCache::Private),
    ("defer", SharedCache::Defer),
];
