//! What docs/sites.md tells to type is taken from the page and run, in English and in Russian. A port stands for
//! the one that is free: nothing else differs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::harness::{Group, free_port, root, wait_for};

const PORTS: [&str; 5] = ["8000", "8081", "8082", "8895", "8896"];

/// Its `sh` blocks.
fn blocks(page: &str) -> Vec<&str> {
    let blocks = page.split("\n```sh\n").skip(1);
    blocks
        .map(|block| block.split("\n```").next().unwrap())
        .collect()
}

/// Runs the blocks of a page in a folder; what each printed.
fn run(page: &str, folder: &Path) -> Vec<String> {
    let page = fs::read_to_string(root().join(page)).unwrap();
    fs::create_dir(folder.join("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_pullgate"), folder.join("bin/pullgate")).unwrap();
    let mut script = "set -eu\nPATH=$PWD/bin:$PATH\n".to_owned();
    for (index, block) in blocks(&page).iter().enumerate() {
        script.push_str(&format!("exec >printed.{index} 2>&1\n{block}\n"));
    }
    for port in PORTS {
        script = script.replace(port, &free_port().to_string());
    }
    fs::write(folder.join("script"), script).unwrap();
    let printed = |index| fs::read_to_string(folder.join(format!("printed.{index}")));
    let all = || (0..).map_while(|index| printed(index).ok());
    let mut shell = Group::spawn(Command::new("bash").arg("script").current_dir(folder));
    wait_for(|| {
        let ended = shell.try_wait().unwrap();
        let good = ended.is_none_or(|status| status.success());
        assert!(good, "{:#?}", all().collect::<Vec<_>>());
        ended.is_some()
    });
    all().collect()
}

fn its_commands_do_what_it_says(page: &str) {
    let directory = tempfile::tempdir().unwrap();
    let printed = run(page, directory.path());
    let shown = |text: &str| printed.iter().filter(|block| block.contains(text)).count();
    for text in [
        "pullgate.toml: no errors",
        "shop, guest -1\nblog, guest -1\n",
        // Each site's poll has the message of its own publisher, and no other.
        r#""text":{"to":"shop"}}#!NGINXNME!#"#,
        r#""text":{"to":"blog"}}#!NGINXNME!#"#,
    ] {
        assert_eq!(shown(text), 1, "{text}: {printed:#?}");
    }
    assert_eq!(printed.concat().matches("#!NGINXNME!#").count(), 2);
    let hooks = ["shop", "blog"].map(|site| {
        let path = directory.path().join(format!("{site}-pull_hit.php"));
        fs::read_to_string(path).unwrap()
    });
    assert!(hooks[0].starts_with("<?php") && hooks[0] != hooks[1]);
}

#[test]
fn its_commands_do_what_it_says_in_english() {
    its_commands_do_what_it_says("docs/sites.md");
}

#[test]
fn its_commands_do_what_it_says_in_russian() {
    its_commands_do_what_it_says("docs/ru/sites.md");
}
