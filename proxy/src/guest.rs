//! Who is a guest: strip what is forged, verify the cookie, adopt or mint a number, tell PHP, set the cookie.

pub(crate) mod adopt;
pub(crate) mod channels;
mod cookies;
pub(crate) mod ids;
pub(crate) mod limits;
pub(crate) mod page;
pub(crate) mod pull_config;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, request};
use pullgate_compat::channel::ChannelList;
use pullgate_compat::guest::{GuestId, GuestKeys};

use crate::clock::unix_time;
use crate::config::{self, SharedCache};
use crate::upstream::visitor::Visitor;
use adopt::Adoption;
use ids::Ids;
use limits::NewGuests;

/// What robots call themselves, in lower case.
const ROBOTS: [&str; 10] = [
    "bot",
    "crawl",
    "spider",
    "slurp",
    "yandex.com/bots",
    "facebookexternalhit",
    "curl/",
    "wget/",
    "python-",
    "monitor",
];

/// Endings of files that are no pages.
const STATIC: [&str; 18] = [
    ".css", ".js", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".ico", ".webp", ".avif", ".woff",
    ".woff2", ".ttf", ".map", ".mp4", ".pdf", ".zip", ".xml",
];

/// `[guest]`, ready to use.
#[derive(Debug)]
pub(crate) struct Guests {
    config: config::Guest,
    keys: GuestKeys,
    ids: Arc<Ids>,
    /// Shared with those before a reload, as long as the limit is the same.
    new: Arc<NewGuests>,
    adoption: Adoption,
}

/// What the response must do for the guest.
#[derive(Debug)]
pub(crate) struct SetCookie(HeaderValue);

impl Guests {
    pub(crate) fn new(config: config::Guest, keys: GuestKeys, ids: Arc<Ids>) -> Self {
        let new = Arc::new(NewGuests::new(&config));
        let adoption = Adoption::new(config.adopt.clone());
        Self {
            config,
            keys,
            ids,
            new,
            adoption,
        }
    }

    /// The same guests by another configuration.
    pub(crate) fn changed(&self, config: config::Guest, keys: GuestKeys) -> Self {
        let limits = |config: &config::Guest| (config.new_per_minute, config.new_per_minute_in_all);
        let new = match limits(&self.config) == limits(&config) {
            true => Arc::clone(&self.new),
            false => Arc::new(NewGuests::new(&config)),
        };
        Self {
            new,
            ..Self::new(config, keys, Arc::clone(&self.ids))
        }
    }

    /// Finds, adopts or makes the guest of a request and puts number and token into its head, from which
    /// every forged one was removed before; the id is among the request's extensions, too.
    pub(crate) fn identify(
        &self,
        parts: &mut request::Parts,
        visitor: &Visitor,
    ) -> Option<SetCookie> {
        let now = unix_time().as_secs();
        let (id, set) = match self.known(&parts.headers, now) {
            Some(known) => known,
            None => (self.mint(parts, visitor.address.ip())?, true),
        };
        parts.extensions.insert(id);
        if let (Ok(number), Ok(token)) = (
            id.to_string().try_into(),
            self.keys.token(id, now).try_into(),
        ) {
            parts.headers.insert(&self.config.header, number);
            parts.headers.insert(&self.config.token_header, token);
        }
        let cookie = set.then(|| self.cookie(id, now, visitor.https))?;
        cookie.map(SetCookie)
    }

    /// The guest that a request's cookies prove.
    pub(crate) fn proven(&self, headers: &HeaderMap) -> Option<GuestId> {
        let (id, _) = self.known(headers, unix_time().as_secs())?;
        Some(id)
    }

    /// The guest by our cookie, or else by one of the site's, and whether to send ours.
    fn known(&self, headers: &HeaderMap, now: u64) -> Option<(GuestId, bool)> {
        let max_age = self.config.cookie_max_age.as_secs();
        let ours = cookies::named(headers, &self.config.cookie)
            .iter()
            .filter_map(|value| self.keys.open_cookie(value))
            .inspect(|signed| self.ids.was_given(signed.id))
            .find_map(|signed| signed.at(now, max_age));
        match ours {
            Some(cookie) => Some((cookie.id, cookie.renew)),
            None => Some((self.adoption.find(headers, &self.ids)?, true)),
        }
    }

    /// Lets a guest listen to what goes to all guests, whatever the configuration says that the page was given:
    /// where the site has the pull module, it names the module's shared channel and not ours.
    pub(crate) fn join(&self, headers: &HeaderMap, channels: &mut ChannelList) {
        let Some(guest) = self.proven(headers) else {
            return;
        };
        let now = unix_time().as_secs();
        if !channels::are_of_a_user(channels, guest, &self.keys, now) {
            channels.join(self.keys.shared_channel(now));
        }
    }

    pub(crate) fn keys(&self) -> &GuestKeys {
        &self.keys
    }

    /// For metrics.
    pub(crate) fn ids(&self) -> &Ids {
        &self.ids
    }

    /// For metrics.
    pub(crate) fn adoption(&self) -> &Adoption {
        &self.adoption
    }

    fn mint(&self, parts: &request::Parts, address: IpAddr) -> Option<GuestId> {
        if !self.opens_a_page(parts) || !self.new.allows(address) {
            return None;
        }
        self.ids.next()
    }

    /// A person opening a page, as far as a head tells.
    fn opens_a_page(&self, parts: &request::Parts) -> bool {
        let text = |name: header::HeaderName| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return false;
        }
        let path = parts.uri.path().to_ascii_lowercase();
        if self
            .config
            .exclude
            .iter()
            .any(|prefix| path.starts_with(&prefix.to_ascii_lowercase()))
            || STATIC.iter().any(|ending| path.ends_with(ending))
        {
            return false;
        }
        let navigates = match parts
            .headers
            .get("sec-fetch-dest")
            .map(HeaderValue::as_bytes)
        {
            Some(destination) => matches!(destination, b"document" | b"iframe"),
            None => text(header::ACCEPT).is_some_and(|accept| accept.contains("text/html")),
        };
        let agent = text(header::USER_AGENT)
            .unwrap_or_default()
            .to_ascii_lowercase();
        navigates && !ROBOTS.iter().any(|robot| agent.contains(robot))
    }

    /// The cookie for `id` as a header's value.
    fn cookie(&self, id: GuestId, now: u64, https: bool) -> Option<HeaderValue> {
        let value = self.keys.sign_cookie(id, now);
        cookies::set(&self.config, value, self.config.cookie_max_age, https)
    }

    /// Takes the number back from the browser; it is not given again.
    pub(crate) fn let_go<B>(&self, response: &mut Response<B>) {
        let gone = cookies::set(&self.config, String::new(), Duration::ZERO, false);
        if let Some(cookie) = gone {
            let headers = response.headers_mut();
            make_private(headers);
            headers.append(header::SET_COOKIE, cookie);
        }
    }

    /// Puts the cookie into the response, unless a shared cache could hand it to somebody else.
    pub(crate) fn set_cookie<B>(&self, response: &mut Response<B>, cookie: SetCookie) {
        let headers = response.headers_mut();
        if may_be_shared(headers) {
            match self.config.shared_cache {
                SharedCache::Defer => return,
                SharedCache::Private => make_private(headers),
            }
        }
        headers.append(header::SET_COOKIE, cookie.0);
    }
}

/// Shared caches may keep what is not forbidden to them (RFC 9111 3); many also keep a page that
/// says nothing, so only an explicit `private` or `no-store` counts as safe.
fn may_be_shared(headers: &HeaderMap) -> bool {
    !directives(headers).any(|directive| directive == "private" || directive == "no-store")
        || ["surrogate-control", "cdn-cache-control", "x-accel-expires"]
            .iter()
            .any(|name| headers.contains_key(*name))
}

fn make_private(headers: &mut HeaderMap) {
    let kept: Vec<String> = directives(headers)
        .filter(|directive| {
            directive != "public"
                && !directive.starts_with("s-maxage")
                && directive != "proxy-revalidate"
                && directive != "private"
        })
        .collect();
    let mut value = "private".to_owned();
    for directive in kept {
        value.push_str(", ");
        value.push_str(&directive);
    }
    if let Ok(value) = value.try_into() {
        headers.insert(header::CACHE_CONTROL, value);
    }
    for name in ["surrogate-control", "cdn-cache-control", "x-accel-expires"] {
        headers.remove(name);
    }
    headers.remove(header::EXPIRES);
}

fn directives(headers: &HeaderMap) -> impl Iterator<Item = String> {
    headers
        .get_all(header::CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|directive| directive.trim().to_ascii_lowercase())
        .filter(|directive| !directive.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_with_our_cookie_is_private() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CACHE_CONTROL,
            "public, max-age=60, s-maxage=600".parse().unwrap(),
        );
        headers.insert(
            header::EXPIRES,
            "Thu, 01 Jan 2099 00:00:00 GMT".parse().unwrap(),
        );
        assert!(may_be_shared(&headers));
        make_private(&mut headers);
        assert_eq!(headers[header::CACHE_CONTROL], "private, max-age=60");
        assert!(!headers.contains_key(header::EXPIRES) && !may_be_shared(&headers));
        assert!(may_be_shared(&HeaderMap::new()));
    }
}
