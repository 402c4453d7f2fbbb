//! `check`, `sign`, `php-hook`.

use crate::harness::{pullgate, root};

const CHANNEL: &str = "0123456789abcdef0123456789abcdef";

fn output(arguments: &[&str]) -> (bool, String, String) {
    let output = pullgate()
        .args(arguments)
        .current_dir(root())
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
fn check_names_every_fault() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bad.toml");
    std::fs::write(
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
    std::fs::write(&path, text).unwrap();
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
        let source = std::fs::read_to_string(root().join("compat/php").join(file)).unwrap();
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
