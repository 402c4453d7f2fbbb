//! What README tells to type, "In front of your own site", is taken from the page and run, in English and in
//! Russian. A port stands for the one that is free, `pullgate run` goes to the background, and a second of sleep is until
//! the poll before it waits, however long that takes: nothing else differs.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::harness::{Group, free_port, root, wait_for};

/// Before the first block. `cargo build` was done, and `pullgate run` ends the one before, as Ctrl-C does.
const PRELUDE: &str = r#"
set -eu
cargo() { :; }
pullgate() {
  if [[ $1 != run ]]; then command pullgate "$@"; return; fi
  if [[ ${server-} ]]; then kill "$server"; wait "$server"; fi
  until (: >/dev/tcp/127.0.0.1/8080) 2>/dev/null; do command sleep 0.05; done
  # That of the one before said "ready" too.
  : >pullgate.log
  command pullgate "$@" 2>pullgate.log &
  server=$!
  until grep -q ready pullgate.log; do kill -0 "$server"; command sleep 0.05; done
}
sleep() {
  until curl -s http://127.0.0.1:8895/server-stat/ | grep -q '"pollings":1'; do command sleep 0.05; done
}
"#;

/// The `sh` blocks between the second heading and "### 4".
fn blocks(page: &str) -> Vec<&str> {
    let (_, from) = page.split_once("\n### 1. ").unwrap();
    let (steps, _) = from.split_once("\n### 4. ").unwrap();
    let blocks = steps.split("\n```sh\n").skip(1);
    blocks
        .map(|block| block.split("\n```").next().unwrap())
        .collect()
}

/// Runs the blocks of a page in a folder; what each printed.
fn run(page: &str, folder: &Path) -> Vec<String> {
    let page = fs::read_to_string(root().join(page)).unwrap();
    fs::create_dir_all(folder.join("target/release")).unwrap();
    let built = folder.join("target/release/pullgate");
    symlink(env!("CARGO_BIN_EXE_pullgate"), built).unwrap();
    let mut script = PRELUDE.to_owned();
    for (index, block) in blocks(&page).iter().enumerate() {
        script.push_str(&format!("exec >printed.{index} 2>&1\n{block}\n"));
    }
    script.push_str("exec >/dev/null\nwait $(jobs -p | tail -n +3)\ntouch end\n");
    for port in ["8080", "8000", "8895"] {
        script = script.replace(port, &free_port().to_string());
    }
    fs::write(folder.join("script"), script).unwrap();
    let printed = |index| fs::read_to_string(folder.join(format!("printed.{index}")));
    let all = || {
        (0..)
            .map_while(|index| printed(index).ok())
            .collect::<Vec<_>>()
    };
    let mut shell = Group::spawn(Command::new("bash").arg("script").current_dir(folder));
    wait_for(|| {
        let ended = shell.try_wait().unwrap();
        assert!(ended.is_none_or(|status| status.success()), "{:#?}", all());
        ended.is_some()
    });
    all()
}

fn its_commands_do_what_it_says(page: &str) {
    let directory = tempfile::tempdir().unwrap();
    let printed = run(page, directory.path());
    let shown = |text: &str| printed.iter().filter(|block| block.contains(text)).count();
    for text in [
        // The page shows the number that its cookie holds.
        "Set-Cookie: PULL_GUEST=",
        "\r\n\r\n-1\n",
        "pullgate.toml: no errors",
        // The poll that waited, and what was stored.
        r#""text":{"text":"hello"}}#!NGINXNME!#"#,
        r#"{"infos":[{"#,
        r#""text":{"text":"later"}}#!NGINXNME!#"#,
    ] {
        assert_eq!(shown(text), 1, "{text}: {printed:#?}");
    }
    let hook = directory.path().join("pull_hit.php");
    let mode = fs::metadata(&hook).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let hook = fs::read_to_string(hook).unwrap();
    assert!(hook.starts_with("<?php") && !hook.contains("pullgate:keys"));
}

#[test]
fn its_commands_do_what_it_says_in_english() {
    its_commands_do_what_it_says("README.md");
}

#[test]
fn its_commands_do_what_it_says_in_russian() {
    its_commands_do_what_it_says("docs/ru/README.md");
}
