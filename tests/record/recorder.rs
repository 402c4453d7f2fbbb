//! A running recorder, traffic through it, and what is found in its recording.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "steps of other kinds are of no interest"
)]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use pullgate_recording::format::{Action, Recording, Side};
use tempfile::TempDir;
use tungstenite::{Message as Frame, WebSocket};

use crate::binary::{public_signature, publish, receiver};
use crate::harness::{Group, Response, Server, get, pullgate, send, wait_for};
use crate::push::{A, B, mid, signed, wait_until_online};

/// A running recorder and its folder.
pub(super) struct Recorder {
    pub(super) child: Group,
    pub(super) directory: TempDir,
    pub(super) address: String,
    pub(super) log: BufReader<std::process::ChildStderr>,
}

impl Recorder {
    pub(super) fn start(upstream: &str, more: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = pullgate();
        command
            .args(["record", "--listen", "127.0.0.1:0", "--upstream", upstream])
            .args(["--name", "r", "--out"])
            .arg(directory.path().join("out"))
            .args(more)
            .stderr(Stdio::piped());
        let mut child = Group::spawn(&mut command);
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        let address = line.split("address=").nth(1);
        let address = address.unwrap_or_else(|| panic!("no address: {line}"));
        let address = address.split(' ').next().unwrap().to_owned();
        Self {
            child,
            directory,
            address,
            log,
        }
    }

    pub(super) fn file(&self) -> PathBuf {
        self.directory.path().join("out/r.json")
    }

    /// SIGTERM; the recording, as text and read, and the log.
    pub(super) fn stop(mut self) -> (String, Recording, String) {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(self.child.wait().unwrap().success());
        let mut log = String::new();
        self.log.read_to_string(&mut log).unwrap();
        let mode = self.file().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = std::fs::read_to_string(self.file()).unwrap();
        let recording = serde_json::from_str(&text).unwrap();
        (text, recording, log)
    }

    pub(super) fn websocket(&self, query: &str) -> WebSocket<TcpStream> {
        crate::push::websocket_at(&self.address, &format!("/bitrix/subws/?{query}"))
    }

    pub(super) fn publish(&self, body: &str) {
        let target = format!("/bitrix/pub/?CHANNEL_ID={A}");
        let headers = ["Message-Expiry: 60", "Cookie: session=biscuit"];
        let answer = send(&self.address, "POST", &target, &headers, body);
        assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    }
}

/// What clients saw of the traffic that [`talk`] makes.
pub(super) struct Seen {
    pub(super) polls: Vec<Response>,
    pub(super) text: String,
    pub(super) binary: Vec<u8>,
    pub(super) from_client: Vec<u8>,
    pub(super) request: Vec<u8>,
}

pub(super) const C: &str = "00112233445566778899aabbccddeeff";
pub(super) const FIRST: &str = r#"{"command":"first","wörter":"Hühner"}"#;
pub(super) const SECOND: &str = "second words";
pub(super) const THIRD: &str = "third words, spoken by a client";

/// A poll, websockets of both kinds, publishing by the site and by a client, catching up, and an error.
pub(super) fn talk(server: &Server, recorder: &Recorder) -> Seen {
    let pair = signed(server, &format!("{A}:{B}"));
    let target = format!("/bitrix/sub/?CHANNEL_ID={pair}");
    let poll = thread::scope(|scope| {
        let poll = scope.spawn(|| get(&recorder.address, &target, &["User-Agent: Lynx"]));
        wait_until_online(server);
        recorder.publish(FIRST);
        poll.join().unwrap()
    });
    let mut text = recorder.websocket(&format!("CHANNEL_ID={pair}"));
    wait_until_online(server);
    // Its own channel beside tells when it listens.
    let both = format!("{pair}/{}", signed(server, C));
    let mut binary = recorder.websocket(&format!("CHANNEL_ID={both}&binaryMode=true"));
    let online = format!("/bitrix/pub/?CHANNEL_ID={C}");
    wait_for(|| get(&server.publish, &online, &[]).body.contains(C));
    recorder.publish(SECOND);
    let text_frame = text.read().unwrap().into_text().unwrap().to_string();
    let binary_frame = binary.read().unwrap().into_data().to_vec();
    let request = publish(&[receiver(B, false, &public_signature(server))], THIRD);
    binary.send(Frame::Binary(request.clone().into())).unwrap();
    let from_client = binary.read().unwrap().into_data().to_vec();
    text.read().unwrap();
    for mut socket in [text, binary] {
        socket.close(None).unwrap();
        while socket.read().is_ok() {}
    }
    let target = format!("{target}&mid={}", mid(&poll.body));
    let missed = get(&recorder.address, &target, &[]);
    let wrong = format!("/bitrix/sub/?CHANNEL_ID={A}.{}", "0".repeat(40));
    let refused = get(&recorder.address, &wrong, &[]);
    Seen {
        polls: vec![poll, missed, refused],
        text: text_frame,
        binary: binary_frame,
        from_client,
        request,
    }
}

/// The kinds of a recording's steps, with the connection's name.
pub(super) fn kinds(recording: &Recording) -> Vec<String> {
    let name = |kind: &str, conn: &str| format!("{kind} {conn}");
    let steps = recording.steps.iter();
    steps
        .map(|step| match &step.action {
            Action::Http { service, .. } => name("http", service),
            Action::PollStart { conn, .. } => name("poll-start", conn),
            Action::PollEnd { conn, .. } => name("poll-end", conn),
            Action::PollAbort { conn } => name("abort", conn),
            Action::WsOpen { conn, .. } => name("open", conn),
            Action::WsSend { conn, .. } => name("send", conn),
            Action::WsRecv { conn, .. } => name("recv", conn),
            Action::WsClose { conn, by, .. } => match by {
                Side::Client => name("close", conn),
                Side::Server => name("closed", conn),
            },
            Action::WsEnd { conn, .. } => name("end", conn),
            other => panic!("{other:?}"),
        })
        .collect()
}

/// Bodies of the answers to polls.
pub(super) fn polled(recording: &Recording) -> Vec<(u16, Vec<u8>)> {
    let steps = recording.steps.iter();
    steps
        .filter_map(|step| match &step.action {
            Action::PollEnd { response, .. } => {
                Some((response.status, response.body.clone().unwrap()))
            }
            _ => None,
        })
        .collect()
}

/// What came on websockets.
pub(super) fn frames(recording: &Recording) -> Vec<Vec<u8>> {
    let steps = recording.steps.iter();
    steps
        .filter_map(|step| match &step.action {
            Action::WsRecv { frame, .. } => frame.data.clone(),
            _ => None,
        })
        .collect()
}

/// What clients and the site published.
pub(super) fn sent(recording: &Recording) -> impl Iterator<Item = Vec<u8>> {
    recording
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::WsSend { frame, .. } => frame.data.clone(),
            Action::Http { request, .. } => request.body.clone(),
            _ => None,
        })
}
