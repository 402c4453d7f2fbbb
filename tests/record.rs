//! `pullgate record` in front of pullgate, and of servers of another kind.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "steps of other kinds are of no interest"
)]

mod arguments;
mod recorder;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;

use data_encoding::{BASE64, HEXLOWER};
use pullgate_compat::signature::{Algorithm, SignatureKey};
use pullgate_compat::wire::decode_response;
use pullgate_recording::format::Action;

use crate::harness::{SIGNATURE_KEY, Server, get, upstream, wait_for};
use crate::push::{A, B, bodies, signed, start, wait_until_online};
use crate::replay::replay;
use recorder::{C, Recorder, frames, kinds, polled, sent, talk};

#[test]
fn what_was_said_is_written_down() {
    let server = start("");
    let recorder = Recorder::start(&format!("http://{}", server.publish), &[]);
    let seen = talk(&server, &recorder);
    let (_, recording, log) = recorder.stop();
    let mut kinds = kinds(&recording);
    // These two stand in the order in which they came.
    kinds[5..].sort();
    let mut expected = [
        "poll-start p1",
        "http pub",
        "poll-end p1",
        "open w1",
        "open w2",
        "http pub",
        "recv w1",
        "recv w2",
        "send w2",
        "recv w1",
        "recv w2",
        "close w1",
        "closed w1",
        "end w1",
        "close w2",
        "closed w2",
        "end w2",
        "poll-start p2",
        "poll-end p2",
        "poll-start p3",
        "poll-end p3",
    ];
    expected[5..].sort();
    assert_eq!(kinds, expected);
    for (poll, (status, body)) in seen.polls.iter().zip(polled(&recording)) {
        assert_eq!((poll.status, poll.body.as_bytes()), (status, &body[..]));
    }
    let frames = frames(&recording);
    assert!(frames.contains(&seen.text.into_bytes()));
    assert!(frames.contains(&seen.binary) && frames.contains(&seen.from_client));
    for step in &recording.steps {
        match &step.action {
            Action::WsSend { frame, .. } => assert_eq!(frame.data.as_ref(), Some(&seen.request)),
            Action::PollStart { request, .. } if step.at_ms < 1.0 => {
                let agent = ("User-Agent".to_owned(), "Lynx".to_owned());
                assert!(request.headers.contains(&agent));
            }
            _ => {}
        }
    }
    assert!(recording.steps.is_sorted_by_key(|step| step.at_ms));
    assert_eq!(recording.security_key, "");
    assert!(
        log.contains("requests_recorded=7 requests_passed=0"),
        "{log}"
    );
}

#[test]
fn one_connection_may_say_much() {
    let server = start("");
    let recorder = Recorder::start(&format!("http://{}", server.publish), &[]);
    let mut stream = TcpStream::connect(&recorder.address).unwrap();
    let target = format!("/bitrix/pub/?CHANNEL_ID={A}");
    // Pipelined, one of them chunked, one for nobody, one in the old way; byte by byte.
    let requests = format!(
        "POST {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n4;x\r\n two\r\n0\r\n\r\n\
         GET /index.php HTTP/1.1\r\nHost: x\r\n\r\n\
         OPTIONS /bitrix/sub/ HTTP/1.1\r\nHost: x\r\n\r\n\
         HEAD {target} HTTP/1.1\r\nHost: x\r\n\r\n\
         GET {target} HTTP/1.0\r\nX: y\r\n\r\n"
    );
    for byte in requests.bytes() {
        stream.write_all(&[byte]).unwrap();
    }
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    let direct = {
        let mut stream = TcpStream::connect(&server.publish).unwrap();
        stream.write_all(requests.as_bytes()).unwrap();
        let mut answers = String::new();
        stream.read_to_string(&mut answers).unwrap();
        answers
    };
    assert_eq!(answers.len(), direct.len());
    let (_, recording, log) = recorder.stop();
    let steps = recording.steps.iter();
    let said: Vec<_> = steps
        .map(|step| match &step.action {
            Action::Http {
                request, response, ..
            } => (
                request.method.as_str(),
                request.version.as_deref(),
                request.body.as_deref(),
                response.status,
                response.body.as_deref().unwrap(),
            ),
            other => panic!("{other:?}"),
        })
        .collect();
    let infos = &b"{\"infos\":[]}"[..];
    assert_eq!(said.len(), 4, "{said:?}");
    assert_eq!(
        said[0],
        ("POST", None, Some(&b"one two"[..]), 200, &b""[..])
    );
    assert_eq!(
        (said[1].0, said[2].0, said[2].4),
        ("OPTIONS", "HEAD", &b""[..])
    );
    assert_eq!(said[3], ("GET", Some("HTTP/1.0"), None, 200, infos));
    assert!(
        log.contains("requests_recorded=4 requests_passed=1"),
        "{log}"
    );
}

#[test]
fn a_site_passes_byte_for_byte() {
    let big: Vec<u8> = (0..30_000_000_u32).map(|n| (n % 251) as u8).collect();
    let answer = big.clone();
    let url = upstream(move |mut stream, head| {
        let length = head.split("Content-Length: ").nth(1).unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        assert!(body == answer);
        write!(stream, "HTTP/1.1 200 OK\r\n\r\n").unwrap();
        for part in answer.chunks(77_777) {
            stream.write_all(part).unwrap();
        }
    });
    let recorder = Recorder::start(&url, &[]);
    for path in ["/upload.php", "/bitrix/pub/"] {
        let mut stream = TcpStream::connect(&recorder.address).unwrap();
        let length = big.len();
        let head = format!("POST {path} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&big).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.ends_with(&big) && answer.len() < big.len() + 50);
    }
    let (_, recording, log) = recorder.stop();
    assert!(recording.steps.is_empty());
    assert!(log.contains("its body is too long"), "{log}");
}

#[test]
fn what_cannot_be_read_passes() {
    let url = upstream(|mut stream, head| {
        stream.write_all(head.to_uppercase().as_bytes()).unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        stream.write_all(rest.as_bytes()).unwrap();
    });
    let recorder = Recorder::start(&url, &[]);
    let mut stream = TcpStream::connect(&recorder.address).unwrap();
    write!(stream, "\x16\x03 no http\r\n\r\nand more").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "\x16\x03 NO HTTP\r\n\r\nand more");
    let (_, recording, log) = recorder.stop();
    assert!(recording.steps.is_empty());
    assert_eq!(log.matches("cannot be read").count(), 1, "{log}");
}

#[test]
fn goodbyes_are_told_apart() {
    let server = start("");
    let recorder = Recorder::start(&format!("http://{}", server.publish), &[]);
    let channel = signed(&server, A);
    let target = format!("/bitrix/sub/?CHANNEL_ID={channel}");
    let mut poll = TcpStream::connect(&recorder.address).unwrap();
    write!(poll, "GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let online = format!("/bitrix/pub/?CHANNEL_ID={A}");
    let listeners = |count: &str| {
        wait_for(|| get(&server.publish, &online, &[]).body.contains(count));
    };
    listeners("\"subscribers\":1");
    drop(poll);
    listeners("[]");
    let socket = recorder.websocket(&format!("CHANNEL_ID={channel}"));
    listeners("\"subscribers\":1");
    drop(socket);
    listeners("[]");
    let mut socket = recorder.websocket(&format!("CHANNEL_ID={channel}"));
    listeners("\"subscribers\":1");
    drop(server.kill());
    assert!(socket.read().is_err());
    // Nobody is there any more.
    let mut stream = TcpStream::connect(&recorder.address).unwrap();
    assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    let (_, recording, log) = recorder.stop();
    assert_eq!(
        kinds(&recording),
        [
            "poll-start p1",
            "abort p1",
            "open w1",
            "abort w1",
            "open w2",
            "end w2"
        ]
    );
    assert!(log.contains("cannot connect"), "{log}");
}

#[test]
fn a_full_recording_ends_and_traffic_goes_on() {
    let server = start("");
    let more = ["--max-steps", "3"];
    let recorder = Recorder::start(&format!("http://{}", server.publish), &more);
    for number in 0..10 {
        recorder.publish(&number.to_string());
    }
    // Written before the end too.
    wait_for(|| recorder.file().exists());
    let (_, recording, log) = recorder.stop();
    assert_eq!(recording.steps.len(), 3);
    assert_eq!(log.matches("THE RECORDING IS FULL").count(), 1, "{log}");
}

#[test]
fn a_masked_recording_tells_nothing() {
    let server = start("");
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    std::fs::write(&key, format!("{SIGNATURE_KEY}\n")).unwrap();
    let more = ["--mask", "--signature-key-file", key.to_str().unwrap()];
    let recorder = Recorder::start(&format!("http://{}", server.publish), &more);
    let address = recorder.address.clone();
    let seen = talk(&server, &recorder);
    let (mut text, recording, _) = recorder.stop();
    // Everything that is stored in Base64, laid open; a character for each byte.
    for data in frames(&recording).into_iter().chain(sent(&recording)) {
        text.extend(data.into_iter().map(char::from));
    }
    let mut secrets: Vec<String> = [
        "first",
        "Hühner",
        "Hhner",
        "second",
        "words",
        "third",
        "spoken",
        "biscuit",
        "session",
        "Lynx",
        SIGNATURE_KEY,
        &server.publish,
    ]
    .map(str::to_owned)
    .to_vec();
    let key = SignatureKey::new(Algorithm::Sha1, SIGNATURE_KEY);
    let pair = format!("{A}:{B}");
    for hex in [
        A.to_owned(),
        B.to_owned(),
        C.to_owned(),
        key.sign(&pair),
        key.sign(C),
        key.sign(&format!("public:{B}")),
    ] {
        let raw = HEXLOWER.decode(hex.as_bytes()).unwrap();
        for skipped in 0..3 {
            let whole = (raw.len() - skipped) / 3 * 3;
            secrets.push(BASE64.encode(&raw[skipped..skipped + whole]));
        }
        secrets.push(raw.iter().copied().map(char::from).collect());
        secrets.push(hex);
    }
    for secret in &secrets {
        assert!(!text.contains(secret.as_str()), "{secret}");
    }

    // It is the same traffic for all that.
    for (poll, (status, body)) in seen.polls.iter().zip(polled(&recording)) {
        assert_eq!((poll.status, poll.body.len()), (status, body.len()));
    }
    let masked = polled(&recording);
    let first = String::from_utf8(masked[0].1.clone()).unwrap();
    assert_eq!(bodies(&first), [r#"{"xxxxxxx":"xxxxx","xжxxxx":"xжxxxx"}"#]);
    let new = SignatureKey::new(Algorithm::Sha1, &recording.security_key);
    let published: Vec<_> = sent(&recording).collect();
    assert!(
        published
            .iter()
            .any(|body| bodies(&first)[0].as_bytes() == body)
    );
    for frame in frames(&recording) {
        assert!(frame.starts_with(b"#!NGINXNMS!#") || decode_response(&frame).is_ok());
    }
    for step in &recording.steps {
        if let Action::PollStart { request, .. } = &step.action {
            let host = ("Host".to_owned(), address.clone());
            assert!(request.headers.contains(&host));
            let value = request.target.split("CHANNEL_ID=").nth(1).unwrap();
            let (ids, signature) = value.split_once('.').unwrap();
            let is_right = signature.starts_with(&new.sign(ids));
            assert_eq!(is_right, ids.contains(':'), "{value}");
        }
    }
}

/// Plays a recording against a new pullgate with this key: whether all was alike, and the report.
fn replayed(recording: &Path, key: &str) -> (bool, String) {
    let key = format!("[push]\nsignature_key = \"{key}\"\n");
    let server = Server::start("http://127.0.0.1:1", &key);
    replay(&server, &[], &[recording])
}

#[test]
fn what_was_recorded_is_played_alike() {
    let server = start("");
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    std::fs::write(&key, SIGNATURE_KEY).unwrap();
    let key = ["--signature-key-file", key.to_str().unwrap()];
    for more in [&key[..], &[&key[..], &["--mask"]].concat()] {
        let recorder = Recorder::start(&format!("http://{}", server.publish), more);
        talk(&server, &recorder);
        // Who left without a word is not online any more.
        let socket = recorder.websocket(&format!("CHANNEL_ID={}", signed(&server, A)));
        wait_until_online(&server);
        drop(socket);
        let online = format!("/bitrix/pub/?CHANNEL_ID={A}");
        wait_for(|| !get(&server.publish, &online, &[]).body.contains(A));
        assert_eq!(get(&recorder.address, &online, &[]).body, "{\"infos\":[]}");
        let (text, recording, _) = recorder.stop();
        let file = directory.path().join("r.json");
        std::fs::write(&file, text).unwrap();
        let (alike, report) = replayed(&file, &recording.security_key);
        assert!(alike, "{report}");
        let (alike, report) = replayed(&file, "another key");
        assert!(!alike && report.contains("4010"), "{report}");
    }
}
