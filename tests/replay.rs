//! Every recording of the reference server played against pullgate.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use serde_json::Value;

use crate::harness::{Server, pullgate, root, upstream};

fn recordings() -> PathBuf {
    root().join("fixtures/push-server-0.4.0")
}

fn list() -> PathBuf {
    recordings().join("differences.toml")
}

fn read(name: &str) -> Value {
    let path = recordings().join(format!("{name}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A server with the key, the limits and the timers of the reference.
fn start() -> Server {
    let recording = read("poll_text_message");
    let limit = |name: &str| recording["limits"][name].as_u64().unwrap();
    Server::start(
        "http://127.0.0.1:1",
        &format!(
            "[push]\nsignature_key = {}\nping_interval = \"120s\"\npoll_timeout = \"40s\"\n\
             [push.limits]\nmax_payload = \"{}KiB\"\nmax_connections_per_channel = {}\n\
             max_messages_per_request = {}\nmax_channels_per_request = {}\n",
            recording["security_key"],
            limit("maxPayload") / 1024,
            limit("maxConnPerChannel"),
            limit("maxMessagesPerRequest"),
            limit("maxChannelsPerRequest"),
        ),
    )
}

/// Plays against the publish listener, which serves every push path. Whether all was alike, and the report.
pub(crate) fn replay(server: &Server, arguments: &[&str], paths: &[&Path]) -> (bool, String) {
    replay_at(&format!("http://{}", server.publish), arguments, paths)
}

fn replay_at(url: &str, arguments: &[&str], paths: &[&Path]) -> (bool, String) {
    let output = pullgate()
        .args(["replay", "--target", url])
        .args(arguments)
        .args(paths)
        .output()
        .unwrap();
    let report = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(report).unwrap())
}

fn has_parts(report: &str, parts: &[&str]) {
    for part in parts {
        assert!(report.contains(part), "{part:?} is missing in:\n{report}");
    }
}

/// Takes four minutes: the longest recording waits for two pings.
#[test]
fn every_recording_comes_out_as_recorded_or_as_reviewed() {
    let server = start();
    let list = list();
    let arguments = ["--jobs", "16", "--allow", list.to_str().unwrap()];
    let (good, report) = replay(&server, &arguments, &[&recordings()]);
    let totals = report
        .lines()
        .find(|line| line.contains(" recordings: "))
        .unwrap_or_else(|| panic!("{report}"));
    println!("{totals}");
    assert!(good, "{}", failures(&report));
    assert!(totals.starts_with("80 recordings: "), "{totals}");
    assert!(totals.ends_with(", 0 failed"), "{totals}");
}

/// What is said of the recordings that failed.
fn failures(report: &str) -> String {
    let mut failed = false;
    let lines = report.lines().filter(|line| {
        if !line.starts_with(' ') {
            failed = line.ends_with(": FAILED");
        }
        failed
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The numbered paragraphs of docs/compatibility.md.
fn paragraphs() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("docs/compatibility.md")).unwrap();
    let mut paragraphs: Vec<String> = Vec::new();
    for line in text.lines() {
        let number = format!("{}. ", paragraphs.len() + 1);
        if line.starts_with(&number) {
            paragraphs.push(line.to_owned());
        } else if let (Some(paragraph), true) = (paragraphs.last_mut(), line.starts_with("   ")) {
            paragraph.push_str(line);
        }
    }
    paragraphs
}

#[test]
fn the_list_of_differences_and_its_reasons_agree() {
    let list: toml::Table = std::fs::read_to_string(list()).unwrap().parse().unwrap();
    let listed: BTreeSet<(usize, String)> = list["difference"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let line = entry["line"].as_integer().unwrap();
            let recording = entry["recording"].as_str().unwrap().to_owned();
            (line.try_into().unwrap(), recording)
        })
        .collect();
    let paragraphs = paragraphs();
    for (line, recording) in &listed {
        assert!((1..=paragraphs.len()).contains(line), "no paragraph {line}");
        assert!(
            recordings().join(format!("{recording}.json")).exists(),
            "{recording}"
        );
    }
    for (index, paragraph) in paragraphs.iter().enumerate() {
        // What is between backticks, if there is a recording of that name.
        for name in paragraph.split('`').skip(1).step_by(2) {
            if recordings().join(format!("{name}.json")).exists() {
                let entry = (index + 1, name.to_owned());
                assert!(listed.contains(&entry), "not on the list: {entry:?}");
            }
        }
    }
}

/// Writes `recording` to a file, changed.
fn changed(directory: &Path, name: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
    let mut recording = read(name);
    change(&mut recording["steps"]);
    let path = directory.join(format!("{name}.json"));
    std::fs::write(&path, recording.to_string()).unwrap();
    path
}

#[test]
fn a_status_that_is_not_as_recorded_fails() {
    let server = start();
    let directory = tempfile::tempdir().unwrap();
    let altered = changed(directory.path(), "rest_error_4012", |steps| {
        steps[4]["response"]["status"] = 403.into();
    });
    let (good, report) = replay(&server, &[], &[&altered]);
    assert!(!good);
    let parts = [
        "rest_error_4012: FAILED\n",
        "step 4 http POST // empty: response/status\n    expected 403\n    actual   400\n",
        "1 recordings: 0 equal, 0 allowed, 1 failed\n",
    ];
    has_parts(&report, &parts);
    assert_eq!(report.matches("step ").count(), 1, "{report}");
}

#[test]
fn a_byte_that_is_not_as_recorded_fails() {
    let server = start();
    let directory = tempfile::tempdir().unwrap();
    let text = changed(directory.path(), "ws_text_message", |steps| {
        let frame = steps[2]["data_utf8"].as_str().unwrap();
        steps[2]["data_utf8"] = frame.replace("hello", "hullo").into();
    });
    let binary = changed(directory.path(), "poll_binary_message", |steps| {
        let batch = &mut steps[2]["response"]["body_base64"];
        let mut bytes = BASE64.decode(batch.as_str().unwrap().as_bytes()).unwrap();
        // The sender's type.
        *bytes.last_mut().unwrap() = 0;
        *batch = BASE64.encode(&bytes).into();
    });
    let (good, report) = replay(&server, &["--jobs", "2"], &[&text, &binary]);
    assert!(!good);
    let parts = [
        "step 2 ws-recv w1: message 1/body\n",
        "step 2 poll-end p1: response/body/message 1/sender\n",
    ];
    has_parts(&report, &parts);
    assert_eq!(report.matches("step ").count(), 2, "{report}");
}

#[test]
fn a_listed_difference_that_does_not_show_fails() {
    let server = start();
    let directory = tempfile::tempdir().unwrap();
    let list = directory.path().join("list.toml");
    let entry = "[[difference]]\nrecording = \"options_sub\"\nsteps = [1]\nline = 1\n";
    let options = recordings().join("options_sub.json");
    let arguments = ["--allow", list.to_str().unwrap()];

    std::fs::write(&list, entry).unwrap();
    let (good, report) = replay(&server, &arguments, &[&options]);
    assert!(
        !good && report.contains("step 1 shows no difference any more"),
        "{report}"
    );
    assert!(report.contains("list.toml:3"), "{report}");

    std::fs::write(&list, format!("{entry}sometimes = true\n")).unwrap();
    let (good, report) = replay(&server, &arguments, &[&options]);
    assert!(good, "{report}");

    std::fs::write(&list, entry.replace("[1]", "[99]")).unwrap();
    let (good, report) = replay(&server, &arguments, &[&options]);
    assert!(
        !good && report.contains("list.toml:3: steps: options_sub has no step 99"),
        "{report}"
    );
}

#[test]
fn nobody_at_the_target_is_one_clear_error() {
    let (good, report) = replay_at("http://127.0.0.1:1", &[], &[&recordings()]);
    assert!(
        !good && report.starts_with("http://127.0.0.1:1: "),
        "{report}"
    );
}

#[test]
fn where_nothing_is_recorded_nothing_is_proved() {
    let url = upstream(|_, _| {});
    let directory = tempfile::tempdir().unwrap();
    let says = |path: &Path, what: &str| {
        let error = format!("{}: {what}\n", path.display());
        assert_eq!(replay_at(&url, &[], &[path]), (false, error));
    };
    says(directory.path(), "no recordings (*.json)");
    let empty = directory.path().join("empty.json");
    std::fs::write(&empty, "\n").unwrap();
    says(&empty, "the file is empty");

    let nothing = "nothing in it came from a server: there is nothing to compare";
    let without_steps = changed(directory.path(), "options_sub", |steps| {
        *steps = Value::Array(Vec::new());
    });
    says(&without_steps, nothing);
    let asked_only = changed(directory.path(), "poll_between_polls", |steps| {
        steps.as_array_mut().unwrap().truncate(1);
        assert_eq!(steps[0]["kind"], "poll-start");
    });
    says(&asked_only, nothing);
}

#[test]
fn whatever_answers_the_play_ends_with_a_report() {
    let answers: [&[u8]; 3] = [
        b"",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    ];
    for answer in answers {
        let url = upstream(move |mut stream, _| {
            let _ = stream.write_all(answer);
        });
        let recording = recordings().join("rest_error_4012.json");
        let (good, report) = replay_at(&url, &[], &[&recording]);
        assert!(!good);
        assert_eq!(report.matches(": response\n").count(), 8, "{report}");
    }
}
