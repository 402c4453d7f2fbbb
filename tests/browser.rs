//! Bitrix's own client in a browser: starts what `tests/browser/pull_client.mjs` needs and runs it.

use std::process::Command;
use std::sync::Arc;

use crate::harness::{SIGNATURE_KEY, Server, root};

#[test]
fn the_client_of_bitrix_receives_catches_up_and_publishes() {
    let scripts = root().join("tests/browser");
    assert!(
        scripts.join("node_modules/@bitrix24/b24jssdk").exists(),
        "npm packages are missing; run npm ci --prefix tests/browser"
    );
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let site = directory.path().join("site.sock");
    let server = Server::start_in(
        directory,
        &format!("unix:{}", site.display()),
        &format!(
            "[push]\nsignature_key = \"{SIGNATURE_KEY}\"\npoll_timeout = \"1s\"\n[log]\naccess = false\n"
        ),
    );
    let output = Command::new("node")
        .arg(scripts.join("pull_client.mjs"))
        .args([&server.site, &server.publish])
        .arg(&site)
        .arg(SIGNATURE_KEY)
        .output()
        .unwrap_or_else(|error| panic!("node: {error}; install nodejs"));
    print!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        server.log()
    );
}
