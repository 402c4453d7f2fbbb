//! A disk that takes as long as it likes to sync what was written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tempfile::TempDir;

use super::{key, push_goes_on};
use crate::guests::{PAGE, SECRET, numbers};
use crate::harness::{Server, get, pullgate, wait_for};
use crate::push::{A, B, bodies, caught_up, publish, signed, wait_until_online, websocket};
use crate::request_buffering::ADMIN;

/// What the server is made to load: its calls of `fsync` and `fdatasync` end in it.
const SOURCE: &str = include_str!("slow_disk.c");

/// The disk of one server: slow while a file is there, for which its syncs look.
struct Disk {
    directory: Arc<TempDir>,
    slow: PathBuf,
}

impl Disk {
    fn new() -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let slow = directory.path().join("slow");
        let source = directory.path().join("slow_disk.c");
        fs::write(&source, SOURCE).unwrap();
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&library(directory.path()), &source])
            .status();
        assert!(compiled.unwrap().success());
        Self { directory, slow }
    }

    fn start(&self, more: &str) -> Server {
        let mut command = pullgate();
        command
            .env("LD_PRELOAD", library(self.directory.path()))
            .env("SLOW_DISK", &self.slow);
        let more = format!("{SECRET}{}{ADMIN}{more}", key());
        let directory = Arc::clone(&self.directory);
        Server::run(command, directory, "", &numbers(), &more)
    }

    fn slow_down(&self) {
        fs::write(&self.slow, "").unwrap();
    }

    fn wait_until_waited_for(&self) {
        wait_for(|| self.slow.with_extension("waits").exists());
    }

    fn recover(&self) {
        fs::remove_file(&self.slow).unwrap();
    }
}

fn library(directory: &Path) -> PathBuf {
    directory.join("slow_disk.so")
}

/// The site, its guests, and what tells of health.
fn the_site_goes_on(server: &Server) {
    for _ in 0..100 {
        let page = get(&server.site, "/", &PAGE);
        assert_eq!(page.status, 200);
        assert!(page.body.starts_with('-'), "no number: {page:?}");
    }
    for path in ["/healthz", "/readyz", "/readyz/push", "/metrics"] {
        assert_eq!(get(&server.admin(), path, &[]).status, 200, "{path}");
    }
}

#[test]
fn nobody_waits_for_a_slow_disk() {
    let disk = Disk::new();
    let server = disk.start("[history]\nengine = \"disk\"\ndurability = \"interval\"\n");
    disk.slow_down();
    publish(&server, B, "is to be synced", 600);
    disk.wait_until_waited_for();
    // None of this would come before the disk is quick again, if it waited.
    push_goes_on(&server);
    the_site_goes_on(&server);
    let channel = signed(&server, A);
    let mut socket = websocket(&server, &format!("CHANNEL_ID={channel}"));
    for number in 0..100 {
        publish(&server, A, &number.to_string(), 600);
        let frame = socket.read().unwrap().into_text().unwrap();
        assert_eq!(bodies(&frame), [number.to_string()]);
    }
    disk.recover();
    let directory = Arc::clone(&server.directory);
    assert!(server.terminate().0);
    // All that was published meanwhile is in the files; a catch-up is the newest hundred.
    let server = Server::start_in(directory, &numbers(), &key());
    let numbers: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(caught_up(&server), numbers);
}

#[test]
fn who_publishes_for_good_waits_for_a_slow_disk_and_nobody_else() {
    const PUBLISHERS: usize = 20;
    let disk = Disk::new();
    let server = disk.start("[history]\nengine = \"disk\"\ndurability = \"always\"\n");
    let channel = signed(&server, A);
    let mut socket = websocket(&server, &format!("CHANNEL_ID={channel}"));
    wait_until_online(&server);
    disk.slow_down();
    let answered = AtomicUsize::new(0);
    let mut expected: Vec<String> = (0..PUBLISHERS).map(|number| number.to_string()).collect();
    expected.sort();
    let sorted = |mut bodies: Vec<String>| {
        bodies.sort();
        bodies
    };
    thread::scope(|scope| {
        for number in &expected {
            scope.spawn(|| {
                publish(&server, A, number, 600);
                answered.fetch_add(1, Ordering::Relaxed);
            });
        }
        disk.wait_until_waited_for();
        // Who listens has them before they are on disk.
        let mut came = Vec::new();
        while came.len() < PUBLISHERS {
            let frames = socket.read().unwrap().into_text().unwrap();
            came.extend(bodies(&frames).into_iter().map(str::to_owned));
        }
        assert_eq!(sorted(came), expected);
        the_site_goes_on(&server);
        // What need not be kept does not wait.
        publish(&server, A, "not to be kept", 0);
        let frame = socket.read().unwrap().into_text().unwrap();
        assert_eq!(bodies(&frame), ["not to be kept"]);
        assert_eq!(answered.load(Ordering::Relaxed), 0, "nothing is on disk");
        disk.recover();
    });
    assert_eq!(answered.load(Ordering::Relaxed), PUBLISHERS);
    let server = Server::start_in(server.kill(), &numbers(), &key());
    assert_eq!(sorted(caught_up(&server)), expected);
}
