//! No guest number comes twice, whatever is lost.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use redis::Commands;

use super::{config, cookie, directory, files, now, number, ready, start_in, visit};
use crate::cluster::redis_server::RedisServer;
use crate::guests::numbers;
use crate::harness::{Server, wait_for};

/// What becomes of a file's bytes.
type Damage = fn(&[u8]) -> Vec<u8>;

#[test]
fn no_damage_to_the_state_gives_a_number_twice() {
    let damages: [(&str, Damage); 5] = [
        ("emptied", |_| Vec::new()),
        ("truncated", |whole| whole[..whole.len() / 2].to_vec()),
        ("cut off after the magic number", |whole| {
            whole[..40].to_vec()
        }),
        ("garbage", |whole| vec![0xa5; whole.len()]),
        ("garbage behind the head", |whole| {
            let mut bytes = whole.to_vec();
            bytes[4096..].fill(0x5a);
            bytes
        }),
    ];
    for (name, damage) in damages {
        for second_file in [true, false] {
            // Emptied, and without the second file, it is as new; what then happens is another test.
            if name == "emptied" && !second_file {
                continue;
            }
            let directory = directory();
            let server = start_in(&directory, "");
            let before = number(&server);
            assert!(server.terminate().0);
            let state = directory.path().join("state");
            let store = state.join("state.redb");
            let damaged = damage(&fs::read(&store).unwrap());
            fs::write(&store, damaged).unwrap();
            if !second_file {
                fs::remove_file(state.join("guest.numbers")).unwrap();
            }
            let server = start_in(&directory, "");
            let after = number(&server);
            assert!(after >= before + 4095, "{name}: {after} after {before}");
            let log = server.log();
            assert!(log.contains("has lost guest numbers"), "{name}: {log}");
            let aside = files(&directory, "state.redb.damaged-");
            if name == "emptied" {
                assert!(aside.is_empty());
            } else {
                assert_eq!(aside.len(), 1, "{name}");
                assert!(log.contains("the state is damaged"), "{name}: {log}");
            }
            assert_eq!(ready(&server, "/readyz"), (200, "ok\n".to_owned()));
        }
    }
}

#[test]
fn a_cookie_above_the_counter_raises_it_for_good() {
    let times = [now(), now() + 10_000_000, now() - 100_000_000];
    for (lost, issued) in (50_000..).step_by(1000).zip(times) {
        let directory = directory();
        let server = start_in(&directory, "");
        let wrong = number(&server);
        assert!(wrong < 4096);
        let proven = visit(&server, &[&cookie(lost, issued)]);
        // One of another time proves that the number was given, and no more.
        assert_eq!(proven == Some(lost), issued == times[0]);
        let next = number(&server);
        assert!(next > lost, "{next}");
        wait_for(|| server.log().contains("the counter of guest ids was lost"));
        server.kill();
        let server = start_in(&directory, "");
        assert!(number(&server) > next);
        assert!(!server.log().contains("was lost"));
        // A forged one proves nothing.
        let forged = cookie(2_000_000_000, now()).replace("PULL_GUEST=1.2", "PULL_GUEST=1.3");
        visit(&server, &[&forged]);
        assert!(number(&server) < 1_000_000);
    }
}

#[test]
fn numbers_left_to_the_site_stay_the_sites() {
    let directory = directory();
    let first_id = "[[guest.adopt]]\ncookie = \"MY\"\npattern = \"{id}.{hmac}\"\n\
                    algorithm = \"sha256\"\nencoding = \"hex\"\nkey = \"0123456789abcdef\"\n";
    let with = |first: u32| {
        let text = config("").replace("[guest]\n", &format!("[guest]\nfirst_id = {first}\n"));
        Server::start_in(
            Arc::clone(&directory),
            &numbers(),
            &format!("{text}{first_id}"),
        )
    };
    // HMAC-SHA256 by that key of "17".
    let key = hmac_of("17");
    let theirs = format!("Cookie: MY=17.{key}");
    let server = with(100_000);
    assert_eq!(visit(&server, &[&theirs]), Some(17));
    let before = number(&server);
    assert!(before >= 100_000);
    assert!(server.terminate().0);
    fs::write(directory.path().join("state/state.redb"), [0xa5; 9999]).unwrap();
    let server = with(100_000);
    assert_eq!(visit(&server, &[&theirs]), Some(17));
    assert!(number(&server) > before);
    // The cookie that pullgate gave for it proves no loss, and a cookie beyond makes nothing the site's.
    assert_eq!(visit(&server, &[&cookie(17, now())]), Some(17));
    assert!(!server.log().contains("the counter of guest ids was lost"));
    visit(&server, &[&cookie(900_000, now())]);
    let next = number(&server);
    assert!(next > 900_000);
    let theirs = format!("Cookie: MY=500000.{}", hmac_of("500000"));
    assert_ne!(visit(&server, &[&theirs]), Some(500_000));
}

fn hmac_of(text: &str) -> String {
    let mut php = Command::new("php");
    php.args([
        "-r",
        "echo hash_hmac('sha256', $argv[1], '0123456789abcdef');",
        text,
    ]);
    String::from_utf8(php.output().unwrap().stdout).unwrap()
}

#[test]
fn with_redis_the_shared_counter_rises_too() {
    let redis = RedisServer::start();
    let directory = directory();
    let server = start_in(&directory, &redis.history());
    assert!(number(&server) < 4096);
    visit(&server, &[&cookie(50_000, now())]);
    let mut shared = redis.connection();
    let mut counter = || shared.get::<_, u64>("pullgate:guest_ids").unwrap();
    wait_for(|| counter() > 50_000);
    wait_for(|| visit(&server, &[]).is_some_and(|number| number > 50_000));
    // Another node hears of it as soon as it begins, and a guest of one proves nothing new to the other.
    let other = start_in(&super::directory(), &redis.history());
    let number = number(&other);
    assert!(number > 50_000);
    // Each node reserves its next block meanwhile.
    let mut known = counter();
    wait_for(|| {
        std::thread::sleep(std::time::Duration::from_millis(1500));
        std::mem::replace(&mut known, counter()) == known
    });
    assert_eq!(visit(&server, &[&cookie(number, now())]), Some(number));
    assert_eq!(counter(), known);
    assert!(!other.log().contains("was lost"));
}
