//! Guests of the site's from before pullgate, by cookies that PHP signed.

use std::sync::Arc;

use redis::Commands;

use crate::cluster::redis_server::RedisServer;
use crate::engine::{Engine, on_every_engine};
use crate::guests::{PAGE, token_keys};
use crate::harness::{Php, Response, Server, get, send, wait_for};

/// No page, so nobody gets a new number.
const NO_PAGE: &str = "Accept: */*";

const COOKIES: &str = r#"
[[guest.adopt]]
cookie = "MY_GUEST"
pattern = "{id}.{hmac}"
key = "the key with which the site signs"

[[guest.adopt]]
cookie = "MY_VISITOR"
pattern = "{id}:{time}:{hmac}"
signed = "{id}|{time}"
algorithm = "sha1"
encoding = "base64"
key = "the key with which the site signs"
"#;

/// `[guest]` and the cookies above.
fn adopting(guest: &str) -> String {
    format!("[guest]\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n{guest}\n{COOKIES}")
}

/// The cookie that PHP made before pullgate stood in front of it.
fn old_cookie(php: &Php, query: &str) -> String {
    let address = php.url.strip_prefix("http://").unwrap();
    let response = get(address, &format!("/old_guest.php?{query}"), &[]);
    response.cookie().unwrap().to_owned()
}

fn ask(server: &Server, headers: &[&str], cookies: &[&str]) -> Response {
    let cookie = format!("Cookie: {}", cookies.join("; "));
    let headers = [headers, &[cookie.as_str()]].concat();
    get(&server.site, "/whoami.php", &headers)
}

fn number(response: &Response) -> Option<i32> {
    let number = response.json()["headers"]["HTTP_PULL_USER_ID"].clone();
    number.as_str().map(|number| number.parse().unwrap())
}

fn a_guest_of_the_site_keeps_the_id(engine: &Engine) {
    let guest = "first_id = 1000000\nnew_per_minute = 1\n";
    let keys = token_keys(&engine.start("http://127.0.0.1:1", &adopting(guest)));
    let php = Php::start(&keys);
    let server = engine.start(&php.url, &adopting(guest));
    for (query, id) in [
        ("id=17", -17),
        ("id=-18", -18),
        ("id=999999", -999_999),
        ("id=19&form=timed", -19),
        ("id=-20&form=timed", -20),
    ] {
        let old = old_cookie(&php, query);
        let first = ask(&server, &[NO_PAGE], &["other=1", &old]);
        assert_eq!(number(&first), Some(id), "{old}: {first:?}");
        assert_eq!(first.json()["guest"], id, "the token verifies");
        let ours = first.cookie().unwrap();
        assert!(ours.starts_with("PULL_GUEST=1."), "{ours}");
        for cookies in [&[ours] as &[&str], &[&old, ours]] {
            let again = ask(&server, &[NO_PAGE], cookies);
            assert_eq!((number(&again), again.cookie()), (Some(id), None));
        }
    }
    let old = old_cookie(&php, "id=21");
    let posted = format!("Cookie: {old}");
    let posted = send(&server.site, "POST", "/whoami.php", &[&posted], "a=b");
    assert_eq!(number(&posted), Some(-21));
    // The channels of that guest, and of nobody else.
    let cookie = format!("Cookie: {old}");
    for (id, status) in [(-21, 200), (-22, 403)] {
        let target = format!("/rest/pull.config.get?pull_guest_id={id}");
        let config = send(&server.site, "POST", &target, &[&cookie], "");
        assert_eq!(config.status, status, "{config:?}");
    }
    // Ours goes before the site's.
    let new = ask(&server, &PAGE, &[]);
    let both = ask(&server, &PAGE, &[&old, new.cookie().unwrap()]);
    assert_eq!(number(&both), number(&new));
    assert_ne!(number(&new), Some(-21));
}

fn what_the_site_did_not_sign_is_not_believed(engine: &Engine) {
    let php = Php::start("");
    let server = engine.start(&php.url, &adopting("first_id = 1000000\n"));
    let old = old_cookie(&php, "id=17");
    let (name, proof) = old.split_once("=17.").unwrap();
    let timed = old_cookie(&php, "id=17&form=timed");
    let long = format!("{old}{}", "0".repeat(5000));
    for cookies in [
        vec![format!("{name}=18.{proof}")],
        vec![format!("{name}=-17.{proof}")],
        vec![format!("{name}=017.{proof}")],
        vec![old[..old.len() - 1].to_owned()],
        vec![format!("{old}0")],
        vec![format!("{name}=17.")],
        vec![format!("{name}=17")],
        vec![format!("{name}=17.{}", "0".repeat(64))],
        vec![format!("{name}=17.{}", &proof[..40])],
        vec![old_cookie(&php, "id=17&key=of-another-site")],
        vec![timed.replace("MY_VISITOR=17", "MY_VISITOR=18")],
        vec![timed.replace("MY_VISITOR", "MY_GUEST")],
        vec![old.replace("MY_GUEST", "MY_VISITOR")],
        vec![old.replace("MY_GUEST", "PULL_GUEST")],
        vec![old.clone(), old_cookie(&php, "id=18")],
        vec![old.clone(), old.clone()],
        vec![old.clone(), format!("{name}=17.{}", "0".repeat(64))],
        vec![old_cookie(&php, "id=0")],
        vec![old_cookie(&php, "id=2147483648")],
        vec![old_cookie(&php, "id=admin")],
        vec![long],
        vec!["BITRIX_SM_GUEST_ID=17".to_owned()],
    ] {
        let cookies: Vec<_> = cookies.iter().map(String::as_str).collect();
        let response = ask(&server, &[NO_PAGE], &cookies);
        let found = (number(&response), response.cookie());
        assert_eq!(found, (None, None), "{cookies:?}");
    }
    let twice = [format!("Cookie: {old}"), format!("Cookie: {old}")];
    let response = get(&server.site, "/whoami.php", &[&twice[0], &twice[1]]);
    assert_eq!(number(&response), None);
    // Whoever opens a page becomes a guest all the same, and another one.
    let page = ask(&server, &PAGE, &[&format!("{name}=18.{proof}")]);
    assert!(number(&page).unwrap() <= -1_000_000, "{page:?}");
}

fn new_numbers_do_not_meet_adopted_ones(engine: &Engine) {
    let php = Php::start("");
    let config = adopting("first_id = 1000\nnew_per_minute = 1000000\n");
    let mut directory = Arc::new(tempfile::tempdir().unwrap());
    let below = old_cookie(&php, "id=999");
    let above = old_cookie(&php, "id=1000");
    for _ in 0..3 {
        let server = engine.start_in(Arc::clone(&directory), &php.url, &config);
        assert_eq!(number(&ask(&server, &[NO_PAGE], &[&below])), Some(-999));
        assert_eq!(number(&ask(&server, &[NO_PAGE], &[&above])), None);
        assert_eq!(number(&ask(&server, &[NO_PAGE], &[&above])), None);
        wait_for(|| server.log().contains("was not adopted"));
        let log = server.log();
        assert_eq!(log.matches("was not adopted").count(), 1, "{log}");
        for _ in 0..20 {
            let new = number(&ask(&server, &PAGE, &[&above])).unwrap();
            assert!(new <= -1000, "{new}");
        }
        directory = server.kill();
    }
}

/// Pullgate was there first, and learns of the site's own guests later.
fn numbers_that_pullgate_gave_before_are_not_adopted(engine: &Engine) {
    let php = Php::start("");
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let alone = "[guest]\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n";
    let server = engine.start_in(directory, &php.url, alone);
    let first = ask(&server, &PAGE, &[]);
    assert_eq!(number(&first), Some(-1));
    let server = engine.start_in(server.kill(), &php.url, &adopting("first_id = 1000000\n"));
    wait_for(|| server.log().contains("gave numbers below guest.first_id"));
    let same = old_cookie(&php, "id=1");
    assert_eq!(number(&ask(&server, &[NO_PAGE], &[&same])), None);
    let other = old_cookie(&php, "id=500000");
    assert_eq!(number(&ask(&server, &[NO_PAGE], &[&other])), Some(-500_000));
    let ours = first.cookie().unwrap();
    assert_eq!(number(&ask(&server, &[NO_PAGE], &[ours, &other])), Some(-1));
    assert!(number(&ask(&server, &PAGE, &[])).unwrap() <= -1_000_000);
}

/// Nodes agree on whose a number is, and go on agreeing when Redis has lost everything.
#[test]
fn nodes_adopt_the_same_numbers() {
    let php = Php::start("");
    let mut redis = RedisServer::start();
    let config = |guest: &str| format!("{}{}", guest, redis.history());
    let alone = config("[guest]\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n");
    let adopt = config(&adopting("first_id = 1000000\nnew_per_minute = 1000000\n"));

    let before = Server::start(&php.url, &alone);
    wait_for(|| number(&ask(&before, &PAGE, &[])).is_some());
    let nodes = [(); 2].map(|()| Server::start(&php.url, &adopt));
    let (given, of_the_site) = (old_cookie(&php, "id=1"), old_cookie(&php, "id=900000"));
    let agree = |node: &Server| {
        wait_for(|| number(&ask(node, &PAGE, &[])).is_some());
        assert!(number(&ask(node, &PAGE, &[])).unwrap() <= -1_000_000);
        assert_eq!(number(&ask(node, &[NO_PAGE], &[&given])), None);
        let adopted = number(&ask(node, &[NO_PAGE], &[&of_the_site]));
        assert_eq!(adopted, Some(-900_000));
    };
    nodes.iter().for_each(agree);

    redis.kill();
    redis.begin();
    let counter = "pullgate:guest_ids:skipped";
    wait_for(|| redis.connection().exists(counter).unwrap());
    let third = Server::start(&php.url, &adopt);
    nodes.iter().chain([&third]).for_each(agree);
}

on_every_engine!(
    a_guest_of_the_site_keeps_the_id,
    what_the_site_did_not_sign_is_not_believed,
    new_numbers_do_not_meet_adopted_ones,
    numbers_that_pullgate_gave_before_are_not_adopted,
);
