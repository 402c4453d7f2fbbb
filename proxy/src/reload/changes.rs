//! What differs between two configurations: for the log, and what a running process cannot change.

use crate::config::{Config, Site};

/// Puts back what only a start can change, and names it.
pub(super) fn keep_what_cannot_change(old: &Config, new: &mut Config) -> Vec<String> {
    let mut kept = Vec::new();
    let mut keep = |key: &str, differs: bool| {
        if differs {
            kept.push(key.to_owned());
        }
    };
    keep(
        "server.state_dir",
        old.server.state_dir != new.server.state_dir,
    );
    keep("server.threads", old.server.threads != new.server.threads);
    keep("history.engine", old.history.engine != new.history.engine);
    keep(
        "history.durability",
        old.history.durability != new.history.durability,
    );
    keep(
        "history.max_disk",
        old.history.max_disk != new.history.max_disk,
    );
    keep("log.format", old.log.format != new.log.format);
    for site in &mut new.sites {
        let Some(before) = old.sites.iter().find(|old| old.name == site.name) else {
            continue;
        };
        if site.redis != before.redis {
            keep(&key(site, "history.redis_url and redis_prefix"), true);
            site.redis = before.redis.clone();
        }
        if site.is_original != before.is_original {
            keep(&key(site, "original"), true);
            site.is_original = before.is_original;
        }
    }
    new.server.state_dir.clone_from(&old.server.state_dir);
    new.server.threads = old.server.threads;
    let max_memory = new.history.max_memory;
    new.history = old.history.clone();
    new.history.max_memory = max_memory;
    new.log.format = old.log.format;
    kept
}

/// What has changed, by section; never a value, which may be a secret.
pub(super) fn list(old: &Config, new: &Config) -> Vec<String> {
    let mut changes = Vec::new();
    let mut differs = |what: &str, differs: bool| {
        if differs {
            changes.push(what.to_owned());
        }
    };
    differs("server", old.server != new.server);
    differs("listeners", old.listeners != new.listeners);
    differs("history", old.history != new.history);
    differs("log", old.log != new.log);
    for site in &new.sites {
        match old.sites.iter().find(|old| old.name == site.name) {
            None => differs(&key(site, "new"), true),
            Some(before) => {
                let hosts = (&before.hosts, before.is_default) != (&site.hosts, site.is_default);
                differs(&key(site, "hosts"), hosts);
                differs(&key(site, "upstream"), before.upstream != site.upstream);
                differs(&key(site, "paths"), before.paths != site.paths);
                differs(&key(site, "pages"), before.pages != site.pages);
                differs(&key(site, "guest"), before.guest != site.guest);
                differs(&key(site, "push"), before.push != site.push);
                differs(&key(site, "limits"), before.limits != site.limits);
            }
        }
    }
    for gone in &old.sites {
        if !new.sites.iter().any(|site| site.name == gone.name) {
            differs(&key(gone, "removed"), true);
        }
    }
    changes
}

fn key(site: &Site, what: &str) -> String {
    match site.name.as_str() {
        "" => what.to_owned(),
        name => format!("site {name}: {what}"),
    }
}
