//! `check`, `sign`, `php-hook`, and which configuration they and `run` take.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use crate::harness::{Group, free_port, pullgate, root};

const CHANNEL: &str = "0123456789abcdef0123456789abcdef";

fn output(arguments: &[&str]) -> (bool, String, String) {
    output_in(&root(), "", arguments)
}

/// In a folder, with the variable `PULLGATE_CONFIG`.
fn output_in(folder: &Path, variable: &str, arguments: &[&str]) -> (bool, String, String) {
    let output = pullgate()
        .args(arguments)
        .current_dir(folder)
        .env("PULLGATE_CONFIG", variable)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn check_names_every_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bad.toml");
    fs::write(
        &path,
        "[upstream]\nurl = \"https://x\"\n[push]\nping_interval = \"40\"\nsurprise = 1\n",
    )
    .unwrap();
    let (good, _, report) = output(&["check", "--config", path.to_str().unwrap()]);
    assert!(!good);
    for part in [
        "bad.toml:2:",
        "upstream.url",
        "bad.toml:4:",
        "push.ping_interval",
        "bad.toml:5:",
        "surprise",
    ] {
        assert!(report.contains(part), "{part} is missing in:\n{report}");
    }
}

#[test]
fn sign_and_hook_use_the_keys_of_the_config() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pullgate.toml");
    let secret = "s".repeat(32);
    let text = format!(
        "[upstream]\nurl = \"http://127.0.0.1:1\"\n[push]\nsignature_key = \"key\"\n[guest]\nheader = \"X-Visitor\"\nsecrets = [\"{secret}\"]\n"
    );
    fs::write(&path, text).unwrap();
    let config = path.to_str().unwrap();
    let (good, signed, _) = output(&["sign", "--config", config, CHANNEL]);
    assert!(good);
    let signature = signed.trim().strip_prefix(&format!("{CHANNEL}.")).unwrap();
    assert_eq!(signature.len(), 40);
    let (good, hook, _) = output(&["php-hook", "--config", config]);
    assert!(
        good && hook.starts_with("<?php") && !hook.contains("pullgate:keys"),
        "{hook}"
    );
    assert!(hook.contains("['HTTP_X_VISITOR']") && !hook.contains("HTTP_PULL_USER_ID"));
    assert!(
        !hook.contains(&secret),
        "the hook holds a derived key, not the secret"
    );
}

#[test]
fn the_files_for_the_site_are_printed_as_they_are() {
    for file in ["pull_hit.php", "Guest.php", "Stack.php"] {
        let (good, printed, report) = output(&["php-hook", file]);
        let source = fs::read_to_string(root().join("compat/php").join(file)).unwrap();
        assert!(good && printed == source, "{file}: {report}");
    }
    let (good, _, report) = output(&["php-hook", "../secret.php"]);
    assert!(!good && report.contains("Guest.php"), "{report}");
}

#[test]
fn sign_and_hook_work_beside_a_running_server() {
    let server = crate::harness::Server::start("http://127.0.0.1:1", "");
    let config = server.directory.path().join("pullgate.toml");
    let config = config.to_str().unwrap();
    let (good, signed, report) = output(&["sign", "--config", config, CHANNEL]);
    assert!(good && signed.starts_with(CHANNEL), "{report}");
    let target = format!("/bitrix/sub/?CHANNEL_ID={CHANNEL}.x");
    assert_eq!(crate::harness::get(&server.site, &target, &[]).status, 400);
    let (good, hook, report) = output(&["php-hook", "--config", config]);
    assert!(good && !hook.contains("pullgate:keys"), "{report}");
}

#[test]
fn no_secret_is_made_but_by_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("pullgate.toml");
    fs::write(
        &config,
        "server.state_dir = 'state'\nupstream.url = 'http://127.0.0.1:1'\n",
    )
    .unwrap();
    let config = config.to_str().unwrap();
    for (arguments, key, file) in [
        (
            &["sign", "--config", config, CHANNEL][..],
            "push.signature_key",
            "signature.key",
        ),
        (
            &["php-hook", "--config", config],
            "guest.secrets",
            "guest.secret",
        ),
    ] {
        let (good, printed, report) = output(arguments);
        assert!(!good && printed.is_empty(), "{printed}");
        for part in [key, file, "pullgate run"] {
            assert!(report.contains(part), "{part} is missing in: {report}");
        }
        assert!(!directory.path().join("state").exists(), "{arguments:?}");
    }
}

#[test]
fn only_channels_are_signed() {
    let directory = tempfile::tempdir().unwrap();
    let config = "upstream.url = 'http://127.0.0.1:1'\npush.signature_key = 'key'\n";
    fs::write(directory.path().join("pullgate.toml"), config).unwrap();
    let sign = |channel: &str| output_in(directory.path(), "", &["sign", channel]);
    let upper = CHANNEL.to_uppercase();
    let long = format!("{CHANNEL}0");
    let half = format!("{CHANNEL}:");
    let list = format!("{CHANNEL}/{CHANNEL}");
    for wrong in ["xyz", "", &upper, &long, &half, &list] {
        let (good, printed, report) = sign(wrong);
        assert!(!good && printed.is_empty(), "{wrong}: {printed}");
        assert!(report.contains("32 lower-case hex digits"), "{report}");
    }
    for channel in [format!("{CHANNEL}:{CHANNEL}"), format!("public:{CHANNEL}")] {
        let (good, printed, report) = sign(&channel);
        assert!(
            good && printed.starts_with(&format!("{channel}.")),
            "{report}"
        );
    }
}

#[test]
fn every_command_finds_the_configuration_alike() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path();
    let empty = folder.join("empty");
    fs::create_dir(&empty).unwrap();
    // Wrong on purpose, each in its way: the report tells which one was read.
    fs::write(folder.join("pullgate.toml"), "in_the_folder = 1\n").unwrap();
    fs::write(folder.join("variable.toml"), "of_the_variable = 1\n").unwrap();
    fs::write(folder.join("named.toml"), "named = 1\n").unwrap();
    let named = folder.join("named.toml");
    let variable = folder.join("variable.toml");
    let (named, variable) = (named.to_str().unwrap(), variable.to_str().unwrap());
    for command in [&["run"][..], &["check"], &["sign", CHANNEL], &["php-hook"]] {
        let report = |folder: &Path, variable: &str, more: &[&str]| {
            let (good, _, report) = output_in(folder, variable, &[command, more].concat());
            assert!(!good, "{command:?}");
            report
        };
        assert!(
            report(folder, "", &[]).contains("in_the_folder"),
            "{command:?}"
        );
        assert!(report(folder, variable, &[]).contains("of_the_variable"));
        assert!(report(folder, variable, &["--config", named]).contains("named"));
    }
    let (good, hook, _) = output_in(&empty, "", &["php-hook"]);
    assert!(
        good && hook.contains("pullgate:keys"),
        "the hook needs no configuration"
    );
    let (good, _, report) = output_in(&empty, "", &["run"]);
    assert!(
        !good && report.contains("pullgate.toml: cannot be read"),
        "{report}"
    );
}

#[test]
fn check_looks_at_what_the_file_names() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path();
    fs::write(folder.join("file"), "").unwrap();
    for (file, mode) in [("open", 0o644), ("closed", 0o600)] {
        let path = folder.join(file);
        fs::write(&path, "k".repeat(32)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let config = "[server]\nstate_dir = 'file/state'\n\
                  [upstream]\nurl = 'http://no-such-host.invalid'\n\
                  [guest]\nsecrets = ['file:open', 'file:closed']\n\
                  [push]\nsignature_key = 'file:open'\n";
    fs::write(folder.join("pullgate.toml"), config).unwrap();
    let (good, _, report) = output_in(folder, "", &["check"]);
    assert!(
        !good && report.contains("pullgate.toml:2:13: server.state_dir: "),
        "{report}"
    );

    fs::write(
        folder.join("pullgate.toml"),
        config.replace("file/state", "new/state"),
    )
    .unwrap();
    let (good, _, report) = output_in(folder, "", &["check"]);
    assert!(good, "{report}");
    for part in [
        "pullgate.toml:4:7: warning: upstream.url: no address of no-such-host.invalid",
        "pullgate.toml:6:12: warning: guest.secrets[0]: every user of this machine can read",
        "pullgate.toml:8:17: warning: push.signature_key: every user of this machine can read",
    ] {
        assert!(report.contains(part), "{part} is missing in:\n{report}");
    }
    assert!(!report.contains("secrets[1]"), "{report}");
    assert!(!folder.join("new").exists(), "nothing is made");
}

#[test]
fn without_a_file_one_port_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = pullgate();
    command
        .args([
            "run",
            "--upstream",
            "http://127.0.0.1:1",
            "--listen",
            &address,
        ])
        .args(["--state-dir", directory.path().to_str().unwrap()]);
    let mut server = Group::spawn(command.stderr(Stdio::piped()));
    let log = BufReader::new(server.stderr.take().unwrap());
    let lines = log.lines().map_while(Result::ok);
    let before_ready: Vec<String> = lines.take_while(|line| !line.contains("ready")).collect();
    drop(server);
    let listening = before_ready
        .iter()
        .filter(|line| line.contains("listening"));
    let listening: Vec<_> = listening.collect();
    assert!(
        listening.len() == 1 && listening[0].contains(&address),
        "{listening:?}"
    );
}
