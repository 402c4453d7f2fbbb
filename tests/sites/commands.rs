//! `sign` and `php-hook` say for which site.

use super::{Sites, site};
use crate::push::A;

fn started() -> Sites {
    let table = |name| site(name, "http://127.0.0.1:1", "");
    let tables = ["shop", "blog"].map(table).concat();
    Sites::start(&["shop", "blog"], &tables)
}

/// What a command says on standard error as it fails.
fn refused(sites: &Sites, arguments: &[&str]) -> String {
    let output = sites.command(arguments);
    assert!(!output.status.success(), "{arguments:?}");
    assert_eq!(output.stdout, b"", "{arguments:?}");
    String::from_utf8(output.stderr).unwrap().trim().to_owned()
}

#[test]
fn with_several_sites_a_command_must_say_which() {
    let sites = started();
    for command in [&["sign", A][..], &["php-hook"]] {
        assert_eq!(
            refused(&sites, command),
            "--site is needed, one of: shop, blog"
        );
        let other = [command, &["--site", "other"]].concat();
        assert_eq!(
            refused(&sites, &other),
            "there is no site \"other\"; --site is one of: shop, blog"
        );
    }
    // The same for every site.
    let file = sites.command(&["php-hook", "Guest.php"]);
    assert!(file.status.success() && file.stdout.starts_with(b"<?php"));
}

#[test]
fn each_site_has_a_hook_and_signatures_of_its_own() {
    let sites = started();
    for command in [&["sign", A][..], &["php-hook"]] {
        let [shop, blog] = ["shop", "blog"].map(|name| {
            let output = sites.command(&[command, &["--site", name]].concat());
            assert!(output.status.success(), "{output:?}");
            output.stdout
        });
        assert_ne!(shop, blog, "{command:?}");
    }
}

#[test]
fn where_there_is_one_site_it_need_not_be_named() {
    let sites = Sites::start(&["shop"], &site("shop", "http://127.0.0.1:1", ""));
    let unnamed = sites.command(&["sign", A]);
    assert_eq!(sites.command(&["sign", A, "--site", "shop"]), unnamed);
    assert!(unnamed.status.success());
    let without = Sites {
        server: crate::harness::Server::start("http://127.0.0.1:1", ""),
    };
    assert_eq!(
        refused(&without, &["sign", A, "--site", "shop"]),
        "there is no site \"shop\": the file has no [[site]]"
    );
}
