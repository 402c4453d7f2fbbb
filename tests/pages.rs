//! What visitors see while the site does not answer: the site's own pages, and maintenance.

use std::fs;

use crate::guests::PAGE;
use crate::harness::{Server, get, send};
use crate::proxy::mirror;
use crate::reload::read_again;

const PUBLISH: &str = "/bitrix/pub/?CHANNEL_ID=0123456789abcdef0123456789abcdef";

#[test]
fn a_site_has_error_pages_of_its_own() {
    let directory = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let folder = directory.path().join("pages");
    fs::create_dir(&folder).unwrap();
    let page = "<h1>\u{441}\u{430}\u{439}\u{442}</h1> {request_id}";
    fs::write(folder.join("50x.html"), page).unwrap();
    fs::write(folder.join("logo.svg"), [0xff]).unwrap();
    let more = "[pages]\nerror_pages = \"pages\"\n";
    let server = Server::start_in(directory, "http://127.0.0.1:1", more);
    let seen = get(&server.site, "/", &[]);
    let id = seen.header("x-request-id").unwrap();
    assert_eq!(seen.body, page.replace("{request_id}", id));
    assert_eq!(seen.status, 502);
    assert_eq!(
        seen.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    // Another status, without a page.
    let other = send(&server.site, "TRACE", "/", &[], "");
    assert!(other.body.contains("405 Method Not Allowed"), "{other:?}");

    fs::write(folder.join("502.html"), "nearer").unwrap();
    assert_eq!(get(&server.site, "/", &[]).status, 502);
    assert!(read_again(&server).contains("was read again"));
    assert_eq!(get(&server.site, "/", &[]).body, "nearer");
    // What cannot be used changes nothing.
    fs::write(folder.join("502.html"), vec![b'x'; (64 << 10) + 1]).unwrap();
    assert!(read_again(&server).contains("nothing was changed"));
    assert_eq!(get(&server.site, "/", &[]).body, "nearer");
}

#[test]
fn maintenance_keeps_push_alive() {
    let more = "[pages]\nmaintenance = true\nmaintenance_allow = [\"203.0.113.0/24\"]\n";
    let server = Server::start(&mirror(), more);
    let page = get(&server.site, "/", &[]);
    assert_eq!(page.status, 503);
    assert!(page.body.contains("maintenance"), "{page:?}");
    assert_eq!(page.header("retry-after"), Some("60"));
    assert_eq!(page.header("x-robots-tag"), Some("noindex"));
    let allowed = get(&server.site, "/", &["X-Forwarded-For: 203.0.113.9"]);
    assert_eq!(allowed.status, 200);
    assert_eq!(
        send(&server.publish, "POST", PUBLISH, &[], "text").status,
        200
    );
    let script = get(&server.site, "/pullgate/guest.js", &[]);
    assert_eq!(script.status, 200);
    assert_eq!(script.header("x-robots-tag"), Some("noindex"));
    // A guest who was here before asks for its configuration, which is no other's and not the site's.
    let known = get(
        &server.site,
        "/",
        &["X-Forwarded-For: 203.0.113.9", PAGE[0], PAGE[1]],
    );
    let cookie = format!("Cookie: {}", known.cookie().unwrap());
    let config = "/rest/pull.config.get.json";
    let asked = |form| send(&server.site, "POST", config, &[&cookie], form);
    let answer = asked("pull_guest_id=-1&CACHE=N");
    let id = &answer.json()["result"]["channels"]["private"]["id"];
    assert_eq!((answer.status, id.is_string()), (200, true), "{answer:?}");
    assert_eq!(asked("CACHE=N").status, 503);
    // No websocket of the site's own, either.
    let upgrade = ["Upgrade: websocket"];
    assert_eq!(get(&server.site, "/own", &upgrade).status, 503);

    let file = server.directory.path().join("pullgate.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        text.replace("maintenance = true", "maintenance = false"),
    )
    .unwrap();
    assert!(read_again(&server).contains("was read again"));
    assert_eq!(get(&server.site, "/", &[]).status, 200);
}

#[test]
fn a_file_turns_maintenance_on_and_off() {
    let server = Server::start(&mirror(), "[pages]\nmaintenance_file = \"closed\"\n");
    let file = server.directory.path().join("closed");
    for _ in 0..2 {
        assert_eq!(get(&server.site, "/", &[]).status, 200);
        fs::write(&file, "").unwrap();
        assert_eq!(get(&server.site, "/", &[]).status, 503);
        fs::remove_file(&file).unwrap();
    }
}
