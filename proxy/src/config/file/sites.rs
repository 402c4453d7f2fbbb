//! `[[site]]`: several sites in one process, each with what is its own; the tables of the file itself are
//! the defaults of all.

use super::guest::guest;
use super::limits::limits;
use super::pages::pages;
use super::path::paths;
use super::push::push;
use super::redis;
use super::report::expected;
use super::section::Section;
use super::upstream::upstream;
use super::value::Value;
use crate::config::hosts::HostPattern;
use crate::config::{Engine, Listener, Role, Site};
use crate::history::redis::address::Place as RedisPlace;

const NAME: &str = "a name of its own: letters, digits and \"-\", 32 at most";
const HOST: &str = "a host, such as \"shop.example\" or \"*.shop.example\"";

/// The sites of the file: those of `[[site]]`, or the one that the file itself describes.
pub(super) fn sites(
    file: &mut Section<'_>,
    listeners: &[Listener],
    engine: Engine,
    redis: RedisPlace,
) -> Vec<Site> {
    if !file.has("site") {
        return vec![only(file, listeners, redis)];
    }
    // What is wrong in the defaults is wrong once, not once a site.
    defaults(file, listeners);
    let mut taken = Vec::new();
    let sites = file.sections_with_defaults("site", |s| site(s, listeners, &mut taken));
    let sites: Vec<Site> = sites.into_iter().flatten().flatten().collect();
    let items = file.items("site");
    if items.len() != sites.len() {
        return sites; // after an error
    }
    one_at_most(&items, "default", |site| site.is_default, &sites);
    one_at_most(&items, "original", |site| site.is_original, &sites);
    stores_differ(&items, &sites, engine);
    cookies_differ(file, &sites);
    sites
}

fn only(file: &mut Section<'_>, listeners: &[Listener], redis: RedisPlace) -> Site {
    // A key that the file may have: `[[sites]]` is told so.
    file.value("site");
    Site {
        name: String::new(),
        hosts: Vec::new(),
        is_default: true,
        is_original: true,
        upstream: file.section("upstream", |s| upstream(s, listeners, true)),
        paths: paths(file),
        pages: file.section("pages", pages),
        guest: file.section("guest", guest),
        push: file.section("push", push),
        limits: file.section("limits", limits),
        redis,
    }
}

fn defaults(file: &mut Section<'_>, listeners: &[Listener]) {
    file.section("upstream", |s| upstream(s, listeners, false));
    paths(file);
    file.section("pages", pages);
    file.section("guest", guest);
    file.section("push", push);
    file.section("limits", limits);
}

/// `None` after an error.
fn site(s: &mut Section<'_>, listeners: &[Listener], taken: &mut Vec<HostPattern>) -> Option<Site> {
    let name = s.required("name", NAME, name);
    let hosts = s.list("hosts", Vec::new(), host);
    let is_default = s.flag("default", false);
    if hosts.is_empty() && !is_default && s.items("hosts").is_empty() {
        s.error("hosts", expected(format!("{HOST}, or default = true")));
    }
    for host in &hosts {
        if taken.contains(host) {
            s.error(
                "hosts",
                expected(format!("hosts of its own: another site has {host}")),
            );
        }
    }
    taken.extend(hosts.iter().cloned());
    let (is_original, upstream) = (
        s.flag("original", false),
        s.section("upstream", |s| upstream(s, listeners, true)),
    );
    let paths = paths(s);
    let pages = s.section("pages", pages);
    let (guest, push) = (s.section("guest", guest), s.section("push", push));
    let limits = s.section("limits", limits);
    let redis = s.section("history", |s| redis(s, is_original));
    Some(Site {
        name: name?,
        hosts,
        is_default,
        is_original,
        upstream,
        paths,
        pages,
        guest,
        push,
        limits,
        redis,
    })
}

fn name(value: &Value<'_>) -> Result<String, super::Mismatch> {
    let name = value.text(NAME)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let fits = name.len() <= 32 && name.chars().all(allowed) && !name.starts_with('-');
    fits.then(|| name.to_owned()).ok_or_else(|| expected(NAME))
}

fn host(value: &Value<'_>) -> Result<HostPattern, super::Mismatch> {
    HostPattern::parse(value.text(HOST)?).map_err(|_| expected(HOST))
}

fn one_at_most(items: &[Value<'_>], key: &str, has: fn(&Site) -> bool, sites: &[Site]) {
    let mut having = sites.iter().zip(items).filter(|(site, _)| has(site));
    let Some((first, _)) = having.next() else {
        return;
    };
    for (_, item) in having {
        let form = format!("false: site {:?} has it already", first.name);
        item.error_of(key, expected(form));
    }
}

/// Two sites of one name would share guests; in one place in Redis, messages.
fn stores_differ(items: &[Value<'_>], sites: &[Site], engine: Engine) {
    for (index, (site, item)) in sites.iter().zip(items).enumerate() {
        let (earlier, _) = sites.split_at(index);
        let same_name = |other: &Site| other.name.eq_ignore_ascii_case(&site.name);
        if earlier.iter().any(same_name) {
            item.error_of("name", expected(NAME));
        }
        let shares = |other: &&Site| site.redis.overlaps(&other.redis);
        if engine == Engine::Redis
            && let Some(other) = earlier.iter().find(shares)
        {
            let form = format!(
                "another database or redis_prefix than that of {:?}",
                other.name
            );
            item.error_of("history", expected(form));
        }
    }
}

/// One cookie for two sites would hold the guest of the one that was visited last.
fn cookies_differ(file: &Section<'_>, sites: &[Site]) {
    for (index, site) in sites.iter().enumerate() {
        let Some(domain) = &site.guest.cookie_domain else {
            continue;
        };
        let (earlier, _) = sites.split_at(index);
        let overlaps = |other: &&Site| {
            other.guest.cookie == site.guest.cookie
                && other
                    .guest
                    .cookie_domain
                    .as_ref()
                    .is_some_and(|other| is_within(other, domain) || is_within(domain, other))
        };
        if let Some(other) = earlier.iter().find(overlaps) {
            file.warn(
                "site",
                format!(
                    "{:?} and {:?} set the same cookie for one domain: each takes the other's away; give one of \
                     them another guest.cookie",
                    other.name, site.name
                ),
            );
        }
    }
}

fn is_within(inner: &str, outer: &str) -> bool {
    let inner = inner.to_ascii_lowercase();
    let rest = inner.strip_suffix(&outer.to_ascii_lowercase());
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Where PHP publishes, the host says nothing: the listener must say whose it is.
pub(super) fn listeners_say_whose(file: &Section<'_>, listeners: &[Listener], sites: &[Site]) {
    let names = sites.iter().map(|site| site.name.as_str());
    let form = super::value::alternatives(names);
    for (item, listener) in file.items("listener").iter().zip(listeners) {
        let known = |name: &String| sites.iter().any(|site| site.name == *name);
        let wanted = match (&listener.site, listener.role) {
            (Some(_), Role::Admin) => "nothing: this listener is for all sites".to_owned(),
            (Some(name), _) if !known(name) => match file.has("site") {
                true => form.clone(),
                false => "nothing: there is no [[site]]".to_owned(),
            },
            (None, Role::Publish) if sites.len() > 1 => form.clone(),
            (Some(_) | None, _) => continue,
        };
        item.error_of("site", expected(wanted));
    }
}
