//! Pages in a browser: starts what the scripts of `tests/browser` need and runs them.

use std::ffi::OsStr;
use std::process::Command;
use std::sync::Arc;

use crate::bitrix::Site;
use crate::engine::{Engine, on_every_engine};
use crate::guests::{SECRET, token_keys};
use crate::harness::{Php, SIGNATURE_KEY, Server, free_port, root};
use crate::tls;

/// Runs a script to its end.
#[allow(
    clippy::print_stdout,
    reason = "what held, for who reads the test's output"
)]
fn run(script: &str, arguments: &[&OsStr], server: &Server) {
    let scripts = root().join("tests/browser");
    assert!(
        scripts.join("node_modules/@bitrix24/b24jssdk").exists(),
        "npm packages are missing; run npm ci --prefix tests/browser"
    );
    let output = Command::new("node")
        .arg(scripts.join(script))
        .args(arguments)
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

/// With a site that the script itself puts up, on a unix socket.
fn run_with_site(engine: &Engine, script: &str, more: &str) {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let site = directory.path().join("site.sock");
    let server = engine.start_in(
        directory,
        &format!("unix:{}", site.display()),
        &format!(
            "[push]\nsignature_key = \"{SIGNATURE_KEY}\"\npoll_timeout = \"1s\"\n\
             [log]\naccess = false\n{more}"
        ),
    );
    let arguments = [
        OsStr::new(&server.site),
        OsStr::new(&server.publish),
        site.as_os_str(),
        OsStr::new(SIGNATURE_KEY),
    ];
    run(script, &arguments, &server);
}

fn the_client_of_bitrix_receives_catches_up_and_publishes(engine: &Engine) {
    run_with_site(engine, "pull_client.mjs", "");
}

fn pages_without_bitrix(engine: &Engine) {
    for version in [3, 4] {
        let guests = format!("{SECRET}[guest.push]\nversion = {version}\n");
        run_with_site(engine, "guest_pages.mjs", &guests);
    }
}

/// Pages of a site with the stub of the module, by one of the scenes of bitrix.mjs.
pub(crate) fn bitrix(scene: &str, site: &Site) {
    let url = format!("http://{}/", site.server.site);
    run(
        "bitrix.mjs",
        &[OsStr::new(scene), OsStr::new(&url)],
        &site.server,
    );
}

/// The demo's page, which asks, connects and catches up as the classic client does, on a PHP site.
fn demo(site: &Site) {
    let url = format!("http://{}/", site.server.site);
    run("demo.mjs", &[OsStr::new(&url)], &site.server);
}

fn guests_of_a_site_without_bitrix(engine: &Engine) {
    let port = free_port();
    let server = engine.start(
        &format!("http://127.0.0.1:{port}"),
        &format!(
            "{SECRET}[guest.push]\nversion = 3\n[push]\nsignature_key = \"{SIGNATURE_KEY}\"\n"
        ),
    );
    let publish = format!("http://{}", server.publish);
    let _php = Php::serve(
        port,
        "fixtures/site/",
        &[
            ("PULLGATE_TOKEN_KEYS", &token_keys(&server)),
            ("PULLGATE_PUBLISH_URL", &publish),
        ],
    );
    let url = format!("http://{}/", server.site);
    run("demo.mjs", &[OsStr::new(&url)], &server);
}

fn guests_of_a_module_that_drops_them(engine: &Engine) {
    demo(&Site::new(engine, "26.250", ""));
}

fn guests_of_a_module_that_serves_them(engine: &Engine) {
    demo(&Site::new(engine, "24.500", "enabled = false"));
}

on_every_engine!(
    the_client_of_bitrix_receives_catches_up_and_publishes,
    pages_without_bitrix,
    guests_of_a_site_without_bitrix,
    guests_of_a_module_that_drops_them,
    guests_of_a_module_that_serves_them,
);

#[test]
fn two_sites_by_https_over_http2_and_a_renewed_certificate() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["one", "two"] {
        tls::certificate(directory.path(), name, &[&format!("{name}.test")], 90);
    }
    let tls = "{ certificates = [\
               { cert = \"one.pem\", key = \"one.key\" }, { cert = \"two.pem\", key = \"two.key\" }] }";
    let port = free_port();
    let more = "[guest.push]\nversion = 3\n";
    let server = tls::start(
        directory,
        tls,
        "",
        &format!("http://127.0.0.1:{port}"),
        more,
    );
    let publish = format!("http://{}", server.publish);
    let environment = [
        ("PULLGATE_TOKEN_KEYS", token_keys(&server)),
        ("PULLGATE_PUBLISH_URL", publish),
    ];
    let environment = environment
        .each_ref()
        .map(|(key, value)| (*key, value.as_str()));
    let _php = Php::serve(port, "fixtures/site/", &environment);
    let listens = server.site.rsplit(':').next().unwrap();
    let pid = server.pid().to_string();
    let arguments = [
        OsStr::new(listens),
        server.directory.path().as_os_str(),
        OsStr::new(&pid),
    ];
    run("https.mjs", &arguments, &server);
}
