//! What breaks of state and history keeps no site from being served.

mod numbers;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use pullgate_compat::guest::{GuestId, GuestKeys};
use tempfile::TempDir;

use crate::guests::{PAGE, SECRET, numbers};
use crate::harness::{SIGNATURE_KEY, Server, get, pullgate, send, wait_for};
use crate::push::{A, bodies, caught_up, publish, signed, wait_until_online, websocket};

const ADMIN: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"admin\"\n";

fn config(more: &str) -> String {
    format!("{SECRET}[push]\nsignature_key = \"{SIGNATURE_KEY}\"\n{ADMIN}{more}")
}

fn start_in(directory: &Arc<TempDir>, more: &str) -> Server {
    Server::start_in(Arc::clone(directory), &numbers(), &config(more))
}

/// The number that the site sees of a visitor, if it sees one.
fn visit(server: &Server, more: &[&str]) -> Option<u32> {
    let page = get(&server.site, "/", &[&PAGE, more].concat());
    assert_eq!(page.status, 200);
    let number: i32 = page.body.parse().ok()?;
    Some(number.unsigned_abs())
}

/// The same as soon as it sees one.
fn number(server: &Server) -> u32 {
    let mut number = None;
    wait_for(|| {
        number = visit(server, &[]);
        number.is_some()
    });
    number.unwrap()
}

/// A cookie for guest `number`, issued at `issued`.
fn cookie(number: u32, issued: u64) -> String {
    let keys = GuestKeys::derive(&["0123456789abcdef0123456789abcdef"], "").unwrap();
    let value = keys.sign_cookie(GuestId::new(number).unwrap(), issued);
    format!("Cookie: PULL_GUEST={value}")
}

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// Starts it where no file may have a byte, which is what a full disk is like.
fn start_full(directory: &Arc<TempDir>, more: &str) -> Server {
    start_by("ulimit -S -f 0", directory, &config(more))
}

/// Starts it behind a line of shell. The signal of a file that may not grow does not end it, as it is with a full disk.
fn start_by(line: &str, directory: &Arc<TempDir>, config: &str) -> Server {
    let mut command = Command::new("sh");
    let script = format!("trap '' XFSZ; {line}; exec \"$0\" \"$@\"");
    command.arg("-c").arg(script).arg(pullgate().get_program());
    Server::run(command, Arc::clone(directory), "", &numbers(), config)
}

/// How large files may be: `0`, or `unlimited`.
fn limit_files(server: &Server, size: &str) {
    let set = Command::new("prlimit")
        .args(["--pid", &server.pid().to_string()])
        .arg(format!("--fsize={size}:"))
        .status()
        .unwrap();
    assert!(set.success());
}

fn ready(server: &Server, path: &str) -> (u16, String) {
    let answer = get(&server.admin(), path, &[]);
    (answer.status, answer.body)
}

fn directory() -> Arc<TempDir> {
    Arc::new(tempfile::tempdir().unwrap())
}

/// Files in the state directory whose name begins so.
fn files(directory: &TempDir, name: &str) -> Vec<PathBuf> {
    let entries = directory.path().join("state").read_dir().unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            file.starts_with(name)
        })
        .collect()
}

#[test]
fn a_full_disk_stops_neither_the_start_nor_the_site() {
    for engine in ["memory", "disk"] {
        let directory = directory();
        let history = format!("[history]\nengine = \"{engine}\"\n");
        let server = start_full(&directory, &history);
        assert_eq!(visit(&server, &[]), None);
        // Who has a number keeps it.
        assert_eq!(visit(&server, &[&cookie(17, now())]), Some(17));
        let (status, body) = ready(&server, "/readyz");
        assert_eq!(status, 200);
        assert!(body.contains("new guests get no number"), "{body}");
        let (status, body) = ready(&server, "/readyz/push");
        assert_eq!(status, if engine == "disk" { 503 } else { 200 });
        assert_eq!(body.contains("history is not written"), engine == "disk");
        // Push goes on.
        let mut socket = websocket(&server, &format!("CHANNEL_ID={}", signed(&server, A)));
        wait_until_online(&server);
        publish(&server, A, "meanwhile", 600);
        let frame = socket.read().unwrap().into_text().unwrap();
        assert_eq!(bodies(&frame), ["meanwhile"]);
        assert_eq!(caught_up(&server), ["meanwhile"]);
        drop(socket);

        limit_files(&server, "unlimited");
        let first = number(&server);
        wait_for(|| ready(&server, "/readyz/push") == (200, "ok\n".to_owned()));
        publish(&server, A, "later", 600);
        assert!(server.terminate().0);
        let server = start_in(&directory, &history);
        assert!(number(&server) > first);
        if engine == "disk" {
            assert_eq!(caught_up(&server), ["meanwhile", "later"]);
        }
    }
}

#[test]
fn without_its_secrets_the_site_is_served() {
    // Neither of them is configured, and neither can be kept.
    let directory = directory();
    let server = start_by("ulimit -S -f 0", &directory, ADMIN);
    assert_eq!(visit(&server, &[]), None);
    let (status, body) = ready(&server, "/readyz");
    assert_eq!(status, 200);
    assert!(body.contains("guests are not served"), "{body}");
    assert!(server.terminate().0);
    // A damaged one is left for the administrator.
    fs::write(directory.path().join("state/guest.secret"), "cut o").unwrap();
    let server = Server::start_in(Arc::clone(&directory), &numbers(), ADMIN);
    assert_eq!(visit(&server, &[]), None);
    wait_for(|| server.log().contains("it holds no whole secret"));
    let secret = directory.path().join("state/guest.secret");
    assert_eq!(fs::read_to_string(secret).unwrap(), "cut o");
}

#[test]
fn a_disk_that_becomes_full_is_used_again_when_it_is_not() {
    let directory = directory();
    let history = "[history]\ndurability = \"always\"\n";
    let server = start_by(":", &directory, &config(history));
    publish(&server, A, "before", 600);
    limit_files(&server, "0");
    let target = format!("/bitrix/pub/?CHANNEL_ID={A}");
    let post = |body: &str| {
        send(
            &server.publish,
            "POST",
            &target,
            &["Message-Expiry: 600"],
            body,
        )
        .status
    };
    // It is not durable, and the publisher is told.
    assert_eq!(post("meanwhile"), 503);
    assert_eq!(ready(&server, "/readyz/push").0, 503);
    assert_eq!(ready(&server, "/readyz").0, 200);
    // What is not to be stored is delivered.
    publish(&server, A, "not stored", 0);
    limit_files(&server, "unlimited");
    wait_for(|| ready(&server, "/readyz/push").0 == 200);
    wait_for(|| server.log().contains("history is written to disk again"));
    publish(&server, A, "after", 600);
    assert_eq!(caught_up(&server), ["before", "meanwhile", "after"]);
    server.kill();
    let server = start_in(&directory, history);
    assert_eq!(caught_up(&server), ["before", "meanwhile", "after"]);
}

#[test]
fn a_damaged_format_is_put_aside_and_a_newer_one_is_left_alone() {
    let directory = directory();
    let server = start_in(&directory, "");
    publish(&server, A, "lost", 600);
    assert!(server.terminate().0);
    let format = directory.path().join("state/history/FORMAT");
    for garbage in ["", "pullgate hi", "\u{fffd}\u{0}\n"] {
        fs::write(&format, garbage).unwrap();
        let server = start_in(&directory, "");
        wait_for(|| server.log().contains("history is damaged"));
        number(&server);
        publish(&server, A, "new", 600);
        assert_eq!(caught_up(&server), ["new"]);
        assert!(server.terminate().0);
    }
    assert_eq!(files(&directory, "history.damaged-").len(), 3);

    fs::write(&format, "pullgate history 99\n").unwrap();
    let server = start_in(&directory, "");
    wait_for(|| server.log().contains("pullgate history 99"));
    number(&server);
    publish(&server, A, "in memory", 600);
    assert_eq!(caught_up(&server), ["in memory"]);
    let (status, body) = ready(&server, "/readyz/push");
    assert_eq!(status, 503);
    assert!(body.contains("pullgate history 99"), "{body}");
    assert!(server.terminate().0);
    assert_eq!(
        fs::read_to_string(&format).unwrap(),
        "pullgate history 99\n"
    );
    // Once it is out of the way, a new one is made.
    let server = start_in(&directory, "");
    fs::rename(
        directory.path().join("state/history"),
        directory.path().join("state/history.new"),
    )
    .unwrap();
    wait_for(|| ready(&server, "/readyz/push").0 == 200);
}

#[test]
fn a_second_pullgate_on_the_same_state_does_not_start() {
    for broken in [false, true] {
        let directory = directory();
        let server = match broken {
            false => start_in(&directory, ""),
            true => start_full(&directory, ""),
        };
        let config = directory.path().join("pullgate.toml");
        let second = pullgate()
            .args(["run", "--config", config.to_str().unwrap()])
            .output()
            .unwrap();
        assert!(!second.status.success());
        let said = [second.stdout, second.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("in use by another pullgate"), "{said}");
        assert!(visit(&server, &[&cookie(17, now())]).is_some());
    }
}
