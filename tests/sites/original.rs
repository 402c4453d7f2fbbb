//! A second site beside one that was alone before.

use std::fs;
use std::sync::Arc;

use super::{BLOG, SHOP, Sites, named, site};
use crate::guests::PAGE;
use crate::harness::{Server, get};
use crate::push::{A, publish, signed};

#[test]
fn the_original_goes_on_with_all_that_it_had() {
    let (shop, blog) = (named("shop"), named("blog"));
    let alone = Server::start(&shop, "");
    let visit = |headers: &[&str]| get(&alone.site, "/", &[&PAGE, headers].concat());
    let first = visit(&[]);
    assert_eq!(first.body, "shop -1");
    let cookie = format!("Cookie: {}", first.cookie().unwrap());
    assert_eq!(visit(&[]).body, "shop -2");
    publish(&alone, A, "from before", 3600);
    let channel = signed(&alone, A);
    let directory = Arc::clone(&alone.directory);
    assert!(alone.terminate().0);

    let state = directory.path().join("state");
    let secrets =
        || ["guest.secret", "signature.key"].map(|file| fs::read(state.join(file)).unwrap());
    let kept = secrets();
    let tables = site("shop", &shop, "original = true") + &site("blog", &blog, "");
    let sites = Sites::start_in(directory.clone(), &["shop", "blog"], &tables);
    let known = sites.get(SHOP, "/", &[&PAGE[..], &[&cookie]].concat());
    assert_eq!((known.body.as_str(), known.cookie()), ("shop -1", None));
    let number = |host| {
        let page = sites.get(host, "/", &PAGE).body;
        page.split_once(' ').unwrap().1.parse::<i64>().unwrap()
    };
    assert!(number(SHOP) < -2, "no number is given twice");
    assert_eq!(number(BLOG), -1);
    assert_eq!(sites.signed("shop", A), channel);
    sites.publish("shop", A, "from now", 3600);
    assert_eq!(sites.stored(SHOP, &channel), ["from before", "from now"]);
    // The new one has nothing of it.
    let of_blog = sites.signed("blog", A);
    assert_ne!(of_blog, channel);
    sites.publish("blog", A, "blog's first", 3600);
    assert_eq!(sites.stored(BLOG, &of_blog), ["blog's first"]);
    let stranger = sites.get(BLOG, "/", &[&PAGE[..], &[&cookie]].concat());
    assert_eq!(stranger.body, "blog -2");
    assert_eq!(secrets(), kept);
    assert!(state.join("sites/blog/history").is_dir());
    assert!(!state.join("sites/shop").exists());

    // And back: alone again, it is the one that it was.
    assert!(sites.server.terminate().0);
    let alone = Server::start_in(directory, &shop, "");
    let known = get(&alone.site, "/", &[&PAGE[..], &[&cookie]].concat());
    assert_eq!(known.body, "shop -1");
    let target = format!("/bitrix/sub/?CHANNEL_ID={channel}&mid={}", "0".repeat(26));
    let stored = get(&alone.site, &target, &[]).body;
    assert_eq!(crate::push::bodies(&stored), ["from before", "from now"]);
}

/// A site that is taken out and comes back under the same name goes on, too.
#[test]
fn a_site_that_comes_back_goes_on() {
    let (shop, blog) = (named("shop"), named("blog"));
    let (with_shop, with_blog) = (site("shop", &shop, ""), site("blog", &blog, ""));
    let both = with_shop.clone() + &with_blog;
    let sites = Sites::start(&["shop", "blog"], &both);
    assert_eq!(sites.get(BLOG, "/", &PAGE).body, "blog -1");
    let channel = sites.signed("blog", A);
    sites.publish("blog", A, "stays", 3600);
    let directory = Arc::clone(&sites.server.directory);
    assert!(sites.server.terminate().0);

    let sites = Sites::start_in(directory.clone(), &["shop"], &with_shop);
    assert_eq!(sites.get(BLOG, "/", &PAGE).status, 421);
    assert!(sites.server.terminate().0);

    let sites = Sites::start_in(directory, &["shop", "blog"], &both);
    assert_eq!(sites.stored(BLOG, &channel), ["stays"]);
    let page = sites.get(BLOG, "/", &PAGE).body;
    assert!(page.starts_with("blog -") && page != "blog -1", "{page}");
}
