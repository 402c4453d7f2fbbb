//! The log: its forms, and who does not read it.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

use serde_json::Value;

use crate::harness::{Group, Server, free_port, get, pullgate, signal, wait_for};

/// A key that comes twice is lost in most readers.
fn keys(line: &str) -> Vec<String> {
    let object: Value =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let keys: Vec<String> = object.as_object().unwrap().keys().cloned().collect();
    for key in &keys {
        let times = line.matches(&format!("\"{key}\":")).count();
        assert_eq!(times, 1, "{key} in {line}");
    }
    keys
}

#[test]
fn access_lines_name_each_thing_once() {
    let directory = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let config = format!(
        "server.state_dir = 'state'\nupstream.url = 'http://127.0.0.1:1'\nlog.format = 'json'\n\
         [[listener]]\naddress = '{address}'\n"
    );
    let path = directory.path().join("pullgate.toml");
    std::fs::write(&path, config).unwrap();
    let mut command = pullgate();
    command.args(["run", "--config", path.to_str().unwrap()]);
    let mut server = Group::spawn(command.stderr(Stdio::piped()));
    wait_for(|| TcpStream::connect(&address).is_ok());
    get(&address, "/pullgate/guest.js?a=1", &[]);
    let lines = BufReader::new(server.stderr.take().unwrap()).lines();
    let line = lines
        .map_while(Result::ok)
        .find(|line| line.contains("guest.js"))
        .unwrap();
    let keys = keys(&line);
    for key in [
        "timestamp",
        "target",
        "client",
        "request",
        "method",
        "uri",
        "status",
        "ms",
    ] {
        assert!(keys.iter().any(|found| found == key), "{key}: {line}");
    }
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["target"], "access");
    assert_eq!(line["uri"], "/pullgate/guest.js?a=1");
}

#[test]
fn why_it_cannot_start_is_told_in_the_form_that_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let in_use = format!(
        "server.state_dir = 'state'\nupstream.url = 'http://127.0.0.1:1'\n[[listener]]\naddress = '{address}'"
    );
    for (config, part) in [
        (in_use.as_str(), "cannot listen on"),
        (
            "push.surprise = 1\nupstream.url = 'http://127.0.0.1:1'",
            "push.surprise",
        ),
        ("upstream.url = 'https://127.0.0.1:1'", "upstream.url"),
    ] {
        let path = directory.path().join("pullgate.toml");
        std::fs::write(&path, format!("log.format = 'json'\n{config}\n")).unwrap();
        let output = pullgate()
            .args(["run", "--config", path.to_str().unwrap()])
            .output()
            .unwrap();
        assert!(!output.status.success());
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(log.contains(part), "{log}");
        for line in log.lines() {
            assert!(keys(line).contains(&"level".to_owned()), "{line}");
        }
    }
}

/// Nobody reads standard error; 64 KiB fit into the pipe.
#[test]
fn a_log_that_nobody_reads_stops_nothing() {
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
        .arg("--state-dir")
        .arg(directory.path());
    let mut server = Group::spawn(command.stderr(Stdio::piped()));
    wait_for(|| TcpStream::connect(&address).is_ok());
    // 6 MB of access lines: more than may wait.
    let target = format!("/pullgate/guest.js?{}", "x".repeat(15 << 10));
    for _ in 0..400 {
        assert_eq!(get(&address, &target, &[]).status, 200);
    }
    // Who reads again is told.
    let log = server.stderr.take().unwrap();
    let mut lines = BufReader::new(log).lines().map_while(Result::ok);
    let told = lines
        .find(|line| line.contains("lines of the log"))
        .unwrap();
    let (_, dropped) = told.split_once("dropped=").unwrap();
    let dropped: u64 = dropped.split(' ').next().unwrap().parse().unwrap();
    assert!((1..400).contains(&dropped), "{told}");
}

/// What was logged last is written before the process ends.
#[test]
fn the_end_is_in_the_log() {
    let server = Server::start("http://127.0.0.1:1", "");
    signal(server.pid(), "TERM");
    wait_for(|| server.log().contains("stopped"));
}
