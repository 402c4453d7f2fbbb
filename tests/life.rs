//! How it starts and ends under a service manager, and how another process takes over.

mod load;
mod manager;
mod secure;

use std::fs;
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use crate::harness::{SIGNATURE_KEY, Server, free_port, get, pullgate, signal, wait_for};
use crate::push::{A, bodies, caught_up, publish, signed, wait_until_online, websocket};
use crate::reload::site;

/// With listeners on ports of its own, which another process finds again.
fn config(upstream: &str, more: &str) -> String {
    let (site, publish) = (free_port(), free_port());
    format!(
        "[[listener]]\naddress = \"127.0.0.1:{site}\"\nrole = \"site\"\n\
         [[listener]]\naddress = \"127.0.0.1:{publish}\"\nrole = \"publish\"\n\
         [server]\nstate_dir = \"state\"\nthreads = 2\ndrain_timeout = \"300s\"\n\
         [upstream]\nurl = \"{upstream}\"\n[push]\nsignature_key = \"{SIGNATURE_KEY}\"\n{more}"
    )
}

fn directory() -> Arc<TempDir> {
    Arc::new(tempfile::tempdir().unwrap())
}

/// Lets another process take over from `pid`: the number of that one, or the line that says why none does.
fn upgrade(server: &Server, pid: u32) -> Result<u32, String> {
    let before = server.log().len();
    signal(pid, "USR2");
    let told = || taken_over(&server.log()[before..]);
    wait_for(|| told().is_some());
    told().unwrap()
}

/// What the log tells of how an upgrade ended, if it has.
pub(crate) fn taken_over(log: &str) -> Option<Result<u32, String>> {
    let line = log.lines().find(|line| {
        line.contains("process has taken over pid=") || line.contains("takes over: this one")
    })?;
    Some(match line.split_once("taken over pid=") {
        Some((_, pid)) => Ok(pid.trim().parse().unwrap()),
        None => Err(line.to_owned()),
    })
}

/// Starts it by a file of its own, which can be replaced. Another process writes it: what this one has open for writing,
/// a process that another test is just starting has too for a moment, and then the file cannot be run.
fn start_by_file(directory: &Arc<TempDir>, text: &str) -> (Server, std::path::PathBuf) {
    let program = directory.path().join("program");
    let mut copy = Command::new("cp");
    let copied = copy.arg(pullgate().get_program()).arg(&program).status();
    assert!(copied.unwrap().success());
    let command = Command::new(&program);
    let server = Server::run_as_configured(command, Arc::clone(directory), text);
    (server, program)
}

/// Puts a script in the place of a program that runs.
fn replace(program: &std::path::Path, script: &str) {
    let fresh = program.with_extension("new");
    let mut shell = Command::new("sh");
    let written = shell
        .args([
            "-c",
            "printf '#!/bin/bash\n%s\n' \"$1\" >\"$0\" && chmod 755 \"$0\"",
        ])
        .arg(&fresh)
        .arg(script)
        .status();
    assert!(written.unwrap().success());
    fs::rename(&fresh, program).unwrap();
}

#[test]
fn the_programs_file_takes_over_as_it_is_now() {
    let directory = directory();
    let (server, program) = start_by_file(&directory, &config(&site("page"), ""));
    publish(&server, A, "before", 600);
    let mut socket = websocket(&server, &format!("CHANNEL_ID={}", signed(&server, A)));
    wait_until_online(&server);
    let real = pullgate();
    let real = real.get_program().display();
    replace(
        &program,
        &format!("echo 'the new file' >&2; exec -a \"$0\" {real} \"$@\""),
    );
    let successor = upgrade(&server, server.pid()).unwrap();
    wait_for(|| server.log().contains("the new file"));
    assert_ne!(successor, server.pid());
    // Who listened is sent to it.
    let close = loop {
        if let tungstenite::Message::Close(close) = socket.read().unwrap() {
            break close.unwrap();
        }
    };
    assert_eq!(u16::from(close.code), 1001);
    assert_eq!(caught_up(&server), ["before"]);
    publish(&server, A, "after", 600);
    assert_eq!(caught_up(&server), ["before", "after"]);
    assert_eq!(get(&server.site, "/", &[]).body, "page");
    // It is stopped like the first one, which has ended.
    drop(socket);
    wait_for(|| server.log().matches("stopped").count() == 1);
    signal(successor, "TERM");
    wait_for(|| server.log().matches("stopped").count() == 2);
    assert!(server.terminate().0);
}

#[test]
fn a_new_process_that_fails_changes_nothing() {
    let directory = directory();
    let text = config(&site("page"), "");
    let (server, program) = start_by_file(&directory, &text);
    let mut socket = websocket(&server, &format!("CHANNEL_ID={}", signed(&server, A)));
    wait_until_online(&server);
    let file = directory.path().join("pullgate.toml");
    fs::write(&file, text.replace("threads = 2", "thread = 2")).unwrap();
    let why = upgrade(&server, server.pid()).unwrap_err();
    assert!(why.contains("its log says why"), "{why}");
    assert!(
        server.log().contains("did you mean \"threads\""),
        "{}",
        server.log()
    );
    // One that is no program.
    fs::write(&file, text).unwrap();
    let (kept, other) = (
        program.with_extension("kept"),
        program.with_extension("other"),
    );
    fs::hard_link(&program, &kept).unwrap();
    fs::write(&other, "").unwrap();
    fs::rename(&other, &program).unwrap();
    let why = upgrade(&server, server.pid()).unwrap_err();
    assert!(why.contains("ermission denied"), "{why}");
    fs::rename(&kept, &program).unwrap();
    // Nobody has noticed.
    publish(&server, A, "meanwhile", 600);
    let frame = socket.read().unwrap().into_text().unwrap();
    assert_eq!(bodies(&frame), ["meanwhile"]);
    assert_eq!(get(&server.site, "/", &[]).body, "page");
    upgrade(&server, server.pid()).unwrap();
    assert_eq!(caught_up(&server), ["meanwhile"]);
}

#[test]
fn what_a_failed_process_was_given_is_taken_back() {
    let directory = directory();
    let (server, program) = start_by_file(&directory, &config(&site("page"), ""));
    publish(&server, A, "before", 600);
    // It speaks as a new process does, until everything is released, and ends.
    replace(
        &program,
        "until read -rN1 byte && [ \"$byte\" = S ]; do :; done; printf p >&0; read -rN1 byte; exit 1",
    );
    for round in 0..2 {
        let why = upgrade(&server, server.pid()).unwrap_err();
        assert!(why.contains("its log says why"), "{why}");
        let mut socket = websocket(&server, &format!("CHANNEL_ID={}", signed(&server, A)));
        wait_until_online(&server);
        publish(&server, A, "after", 600);
        let frame = socket.read().unwrap().into_text().unwrap();
        assert_eq!(bodies(&frame), ["after"], "{round}");
        assert_eq!(get(&server.site, "/", &[]).body, "page");
    }
    assert_eq!(caught_up(&server), ["before", "after", "after"]);
    assert!(server.terminate().0);
}
