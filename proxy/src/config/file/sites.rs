//! `[[site]]`: several sites in one process, each with what is its own; the tables of the file itself are
//! the defaults of all.

use super::report::expected;
use super::section::Section;
use super::value::Value;
use super::{guest, push, redis, upstream};
use crate::config::hosts::HostPattern;
use crate::config::{Engine, History, Listener, Role, Site};

const NAME: &str = "a name of its own: letters, digits and \"-\", 32 at most";
const HOST: &str = "a host, such as \"shop.example\" or \"*.shop.example\"";

/// The sites of the file: those of `[[site]]`, or the one that the file itself describes.
pub(super) fn sites(file: &mut Section<'_>, listeners: &[Listener], history: &History) -> Vec<Site> {
    if !file.has("site") {
        return vec![only(file, listeners)];
    }
    // What is wrong in the defaults is wrong once, not once a site.
    defaults(file, listeners);
    let mut taken = Vec::new();
    let sites = file.sections_with_defaults("site", |s| site(s, listeners, &mut taken));
    let sites: Vec<Site> = sites.into_iter().flatten().flatten().collect();
    one_at_most(file, "default", sites.iter().filter(|site| site.is_default));
    one_at_most(file, "original", sites.iter().filter(|site| site.is_original));
    stores_differ(file, &sites, history);
    cookies_differ(file, &sites);
    sites
}

fn only(file: &mut Section<'_>, listeners: &[Listener]) -> Site {
    Site {
        name: String::new(),
        hosts: Vec::new(),
        is_default: true,
        is_original: true,
        upstream: file.section("upstream", |s| upstream(s, listeners, true)),
        guest: file.section("guest", guest),
        push: file.section("push", push),
        redis: file.section("history", redis),
    }
}

fn defaults(file: &mut Section<'_>, listeners: &[Listener]) {
    file.section("upstream", |s| upstream(s, listeners, false));
    file.section("guest", guest);
    file.section("push", push);
}

/// `None` after an error.
fn site(
    s: &mut Section<'_>,
    listeners: &[Listener],
    taken: &mut Vec<(String, HostPattern)>,
) -> Option<Site> {
    let name = s.required("name", NAME, name);
    let hosts = s.list("hosts", Vec::new(), host);
    let is_default = s.flag("default", false);
    if hosts.is_empty() && !is_default && s.items("hosts").is_empty() {
        s.error("hosts", expected(format!("{HOST}, or default = true")));
    }
    let name = name?;
    for host in &hosts {
        if let Some((other, _)) = taken.iter().find(|(_, taken)| taken == host) {
            let form = format!("hosts of its own: site {other:?} has {host}");
            s.error("hosts", expected(form));
        }
        taken.push((name.clone(), host.clone()));
    }
    Some(Site {
        hosts,
        is_default,
        is_original: s.flag("original", false),
        upstream: s.section("upstream", |s| upstream(s, listeners, true)),
        guest: s.section("guest", guest),
        push: s.section("push", push),
        redis: s.section("history", redis),
        name,
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

fn one_at_most<'s>(file: &Section<'_>, key: &str, sites: impl Iterator<Item = &'s Site>) {
    let names: Vec<&str> = sites.map(|site| site.name.as_str()).collect();
    if let [first, _, ..] = names.as_slice() {
        let form = format!("one site with {key} = true: {first:?} has it already");
        file.error("site", expected(form));
    }
}

/// Two sites with one name would share guests; with one store in Redis, messages.
fn stores_differ(file: &Section<'_>, sites: &[Site], history: &History) {
    for (index, site) in sites.iter().enumerate() {
        let (earlier, _) = sites.split_at(index);
        let same_name = |other: &&Site| other.name.eq_ignore_ascii_case(&site.name);
        if earlier.iter().any(|other| same_name(&other)) {
            let form = format!("{NAME}; {:?} is there twice", site.name);
            file.error("site", expected(form));
        }
        let shares = |other: &&Site| site.redis.is_same(&other.redis);
        if history.engine == Engine::Redis
            && let Some(other) = earlier.iter().find(shares)
        {
            let form = format!(
                "another database or history.redis_prefix for {:?} than for {:?}",
                site.name, other.name
            );
            file.error("site", expected(form));
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
    let several = sites.len() > 1;
    let names = sites.iter().map(|site| site.name.as_str());
    let form = super::value::alternatives(names);
    for (item, listener) in file.items("listener").iter().zip(listeners) {
        match (&listener.site, listener.role) {
            (Some(_), Role::Admin) => item.error(expected("no site: this listener is for all")),
            (Some(name), _) if !sites.iter().any(|site| site.name == *name) => {
                item.error(expected(match several || sites.iter().any(|s| !s.name.is_empty()) {
                    true => format!("site = {form}"),
                    false => "no site: there is no [[site]] in the file".to_owned(),
                }));
            }
            (None, Role::Publish) if several => {
                item.error(expected(format!("site = {form}: whose PHP publishes here")));
            }
            (Some(_) | None, _) => {}
        }
    }
}
