//! `[guest]`: who gets a number, and how PHP is told.

use std::time::Duration;

use pullgate_compat::guest::adopt::SiteCookie;

use super::Secret;

/// `[guest]`: who gets a number, and how PHP is told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Guest {
    /// Default true.
    pub(crate) enabled: bool,
    /// First signs, all verify; each at least 32 bytes. Empty: one is generated in `state_dir`.
    pub(crate) secrets: Vec<Secret>,
    /// The cookie's name. Default `PULL_GUEST`.
    pub(crate) cookie: String,
    /// `Domain` of the cookie. Default none: this host only.
    pub(crate) cookie_domain: Option<String>,
    /// How long a cookie is good; renewed when half of it has gone. Default 365 days.
    pub(crate) cookie_max_age: Duration,
    /// `SameSite` of the cookie. Default `Lax`.
    pub(crate) cookie_same_site: SameSite,
    /// The request header with the guest's number. Default `Pull-User-Id`.
    pub(crate) header: http::HeaderName,
    /// The request header that proves it. Default `Pull-User-Token`.
    pub(crate) token_header: http::HeaderName,
    /// Path prefixes under which nobody is made a guest. Default `/bitrix/admin/`, `/upload/`.
    pub(crate) exclude: Vec<String>,
    /// New ids per client address (IPv6: per /64) and minute. Default 60.
    pub(crate) new_per_minute: u32,
    /// New ids of all addresses together, per minute. Default 10,000.
    pub(crate) new_per_minute_in_all: u32,
    /// What to do when a response that sets the cookie may be kept by shared caches.
    pub(crate) shared_cache: SharedCache,
    /// The least number that pullgate gives; those below are left to the site. Default 1.
    pub(crate) first_id: u32,
    /// Cookies of the site's whose guests keep their ids. Default none.
    pub(crate) adopt: Vec<Adopt>,
    pub(crate) push: GuestPush,
}

/// `[guest.push]`: pullgate's own channels for guests.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GuestPush {
    /// Whether a guest's `pull.config.get` is answered here. Default true; false leaves it to the site.
    pub(crate) enabled: bool,
    /// The protocol that the guest's client is told to speak: 3 (text) or 4 (protobuf). Default 4.
    pub(crate) version: u8,
    /// When the client asks again, at most half a day. Default 12 h.
    pub(crate) config_ttl: Duration,
}

/// One `[[guest.adopt]]`.
#[derive(Debug, Clone)]
pub(crate) struct Adopt {
    /// The cookie's name.
    pub(crate) cookie: String,
    /// How it is written, and the key that proves it.
    pub(crate) form: SiteCookie,
    /// That key as it was read.
    pub(crate) key: Secret,
}

impl PartialEq for Adopt {
    fn eq(&self, other: &Self) -> bool {
        // What is shown of a form is all of it but the key.
        let form = |adopt: &Self| format!("{:?}", adopt.form);
        self.cookie == other.cookie && self.key == other.key && form(self) == form(other)
    }
}

/// `SameSite` of the guest cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SameSite {
    Lax,
    Strict,
    None,
}

/// `guest.shared_cache`: a page that shared caches may keep must not carry one guest's cookie to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SharedCache {
    /// Make the response `private`. The default: the cookie arrives with the first page.
    Private,
    /// Leave the response as it is; the cookie comes with the next page that may not be kept.
    Defer,
}
