//! Each site counts its guests from -1, and believes its own cookies and tokens only.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{BLOG, SHOP, Sites, ask, named, site};
use crate::guests::{PAGE, SECRET};
use crate::harness::{Php, Response, get};

const WHOAMI: &str = "/whoami.php";
const SITES: [(&str, &str); 2] = [("shop", SHOP), ("blog", BLOG)];

/// Sites that differ in nothing but their names: one secret, one cookie.
fn alike(shop: &str, blog: &str, guest: &str) -> Sites {
    Sites::shop_and_blog((shop, ""), (blog, ""), &format!("{SECRET}{guest}"))
}

/// The key in a site's hook.
fn token_key(sites: &Sites, name: &str) -> String {
    let output = sites.command(&["php-hook", "--site", name]);
    assert!(output.status.success(), "{output:?}");
    let hook = String::from_utf8(output.stdout).unwrap();
    hook.split("$keys = ['").nth(1).unwrap()[..64].to_owned()
}

fn page(sites: &Sites, host: &str, more: &[&str]) -> Response {
    sites.get(host, WHOAMI, &[&PAGE, more].concat())
}

/// What PHP sees in the header, and whom the hook vouches for.
fn seen(page: &Response) -> (Option<i64>, Option<i64>) {
    let json = page.json();
    let header = json["headers"]["HTTP_PULL_USER_ID"].as_str();
    (
        header.map(|number| number.parse().unwrap()),
        json["guest"].as_i64(),
    )
}

fn cookies_prove_nothing_elsewhere(guest: &str) {
    let nowhere = "http://127.0.0.1:1";
    let keys = alike(nowhere, nowhere, guest);
    let (of_shop, of_blog) = (token_key(&keys, "shop"), token_key(&keys, "blog"));
    assert_ne!(of_shop, of_blog);
    drop(keys);
    let (shop, blog) = (Php::start(&of_shop), Php::start(&of_blog));
    let sites = alike(&shop.url, &blog.url, guest);
    let first = SITES.map(|(_, host)| page(&sites, host, &[]));
    for page in &first {
        assert_eq!(seen(page), (Some(-1), Some(-1)));
    }
    let cookies = first.map(|page| format!("Cookie: {}", page.cookie().unwrap()));
    assert_ne!(cookies[0], cookies[1]);
    for ((_, host), [own, other]) in SITES.into_iter().zip([[0, 1], [1, 0]]) {
        let known = page(&sites, host, &[&cookies[own]]);
        assert_eq!(seen(&known), (Some(-1), Some(-1)));
        assert_eq!(known.cookie(), None);
        // Somebody new, who gets a number and a cookie of this site.
        let stranger = page(&sites, host, &[&cookies[other]]);
        assert_eq!(seen(&stranger), (Some(-2), Some(-2)));
        assert!(stranger.cookie().is_some());
        // Who has both is this site's by its own, in whichever order.
        let both = cookies[other].clone() + "; " + cookies[own].trim_start_matches("Cookie: ");
        assert_eq!(seen(&page(&sites, host, &[&both])), (Some(-1), Some(-1)));
        // Where no number is made, the other's cookie gives none.
        let none = sites.get(host, WHOAMI, &[&cookies[other]]);
        assert_eq!(seen(&none), (None, None));
    }
}

#[test]
fn cookies_prove_nothing_elsewhere_with_one_secret() {
    cookies_prove_nothing_elsewhere("");
}

#[test]
fn cookies_prove_nothing_elsewhere_within_one_domain() {
    cookies_prove_nothing_elsewhere("cookie_domain = \"example\"\ncookie = \"VISITOR\"\n");
}

/// With one secret, one signature key and one number, the channels are others still.
#[test]
fn guests_of_one_number_have_channels_of_their_own() {
    let sites = alike(
        &named("shop"),
        &named("blog"),
        "[push]\nsignature_key = \"key\"\npoll_timeout = \"1s\"\n",
    );
    let mut channels = Vec::new();
    for (name, host) in SITES {
        let cookie = sites.get(host, "/", &PAGE).cookie().unwrap().to_owned();
        let cookie = format!("Cookie: {cookie}");
        let form = "Content-Type: application/x-www-form-urlencoded";
        let config = ask(
            &sites.server.site,
            "POST",
            host,
            "/rest/pull.config.get.json",
            &[&cookie, form],
            "pull_guest_id=-1&CACHE=N",
        );
        let of = config.json()["result"]["channels"].clone();
        let id = |kind: &str| of[kind]["id"].as_str().unwrap().to_owned();
        let channel = format!("{}/{}", id("private"), id("shared"));
        let address = sites.publish_listener(name);
        for (target, body) in [("-1", "to the guest"), ("0", "to all guests")] {
            let target = format!("/bitrix/pub/?USER_ID={target}");
            let expiry = "Message-Expiry: 600";
            let body = format!("{body} of {name}");
            assert_eq!(
                ask(&address, "POST", host, &target, &[expiry], &body).status,
                200
            );
        }
        channels.push((host, name, channel));
    }
    for (host, name, channel) in &channels {
        let texts = ["to the guest", "to all guests"].map(|text| format!("{text} of {name}"));
        assert_eq!(sites.stored(host, channel), texts);
        for (other, ..) in channels.iter().filter(|(other, ..)| other != host) {
            assert!(
                sites.stored(other, channel).is_empty(),
                "{channel} at {other}"
            );
        }
    }
}

#[test]
fn secrets_are_made_for_each() {
    let tables = SITES.map(|(name, _)| site(name, "http://127.0.0.1:1", ""));
    let sites = Sites::start(&["shop", "blog"], &tables.concat());
    let state = sites.server.directory.path().join("state");
    for file in ["guest.secret", "signature.key"] {
        let secret = |name: &str| {
            let path = state.join("sites").join(name).join(file);
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{path:?}");
            fs::read_to_string(path).unwrap()
        };
        assert_ne!(secret("shop"), secret("blog"));
        assert!(!state.join(file).exists(), "{file} is nobody's");
    }
}

#[test]
fn metrics_name_the_site() {
    let sites = alike(&named("shop"), &named("blog"), "");
    for _ in 0..3 {
        sites.get(SHOP, "/", &PAGE);
    }
    sites.get(BLOG, "/", &PAGE);
    let metrics = get(&sites.server.admin(), "/metrics", &[]).body;
    for line in [
        "pullgate_guests_new_total{site=\"shop\"} 3",
        "pullgate_guests_new_total{site=\"blog\"} 1",
        "pullgate_history_evicted_total{site=\"shop\"} 0",
        "pullgate_guest_ids_exhausted{site=\"blog\"} 0",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line}: {metrics}"
        );
    }
    let types = metrics.matches("# TYPE pullgate_guests_new_total counter");
    assert_eq!(types.count(), 1, "a family is told of once: {metrics}");
    assert!(metrics.contains("\npullgate_connections "), "{metrics}");
}
