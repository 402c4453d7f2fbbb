//! What clients of HTTP/2 have been seen to flood servers with: each ends the connection, or is bounded.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::frames::{Client, END_HEADERS, END_STREAM, Kind, block, frame};
use crate::harness::{Server, upstream};
use crate::tls::{echo, start_one};

const ENHANCE_YOUR_CALM: u32 = 11;

/// What the server holds, KiB.
fn resident(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

const MIB: usize = 1024;

/// Sends these frames until the server is gone, or `most` times; whether it went.
fn flood(
    client: &mut Client,
    most: usize,
    mut frames: impl FnMut(usize, &mut Client) -> std::io::Result<()>,
) -> bool {
    (0..most).any(|round| frames(round, client).is_err())
}

/// Others are served as if nothing had been.
fn serves(server: &Server) {
    let mut client = Client::open(server);
    client.request(1, &[]);
    assert_eq!(client.response(1).status, "200");
}

fn head() -> Vec<u8> {
    block(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "site.test"),
        (":path", "/"),
    ])
}

/// CVE-2023-44487.
#[test]
fn rapid_resets() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let site = upstream(move |mut stream, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        let _ =
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    });
    let server = start_one("", &site, "");
    let mut client = Client::open(&server);
    let head = head();
    let mut together = Vec::new();
    let went = flood(&mut client, 100_000, |round, client| {
        let stream = 2 * u32::try_from(round).unwrap() + 1;
        let mut both = frame(Kind::Headers, END_HEADERS | END_STREAM, stream, &head);
        both.extend(frame(Kind::Reset, 0, stream, &8u32.to_be_bytes()));
        together.extend(both);
        // In one record, so that none can be looked at before its reset.
        match together.len() > 10_000 {
            true => client.try_send(&std::mem::take(&mut together)),
            false => Ok(()),
        }
    });
    assert!(went, "100,000 streams were taken");
    serves(&server);
    assert!(asked.load(Ordering::Relaxed) < 10_000);
}

/// CVE-2024-27316: a head that does not end.
#[test]
fn continuation_without_end() {
    let server = start_one("", &echo(), "");
    serves(&server);
    let before = resident(&server);
    let mut client = Client::open(&server);
    client.frame(Kind::Headers, END_STREAM, 1, &head());
    let field = block(&[("x-flood", &"f".repeat(16_000))]);
    let went = flood(&mut client, 20_000, |_, client| {
        client.try_frame(Kind::Continuation, 0, 1, &field)
    });
    assert!(went, "320 MB of a head were taken");
    assert!(resident(&server) < before + 64 * MIB, "{before} KiB before");
    serves(&server);
}

/// The same in frames that hold nothing.
#[test]
fn empty_continuation_without_end() {
    let server = start_one("header_timeout = \"2s\"\n", &echo(), "");
    let mut client = Client::open(&server);
    client.frame(Kind::Headers, END_STREAM, 1, &head());
    let went = flood(&mut client, 10_000_000, |_, client| {
        client.try_frame(Kind::Continuation, 0, 1, &[])
    });
    assert!(went);
    serves(&server);
}

/// A table that was filled once is named over and over: 16 KB on the wire stand for 64 MB.
#[test]
fn a_head_that_unfolds() {
    let server = start_one("", &echo(), "");
    serves(&server);
    let before = resident(&server);
    for _ in 0..10 {
        let mut client = Client::open(&server);
        let mut bomb = head();
        // A literal that goes into the table, where it is entry 62.
        bomb.push(0x40);
        bomb.extend([1, b'x', 127, 0xa0 | 0x01, 30]);
        let value = 127 + 0x21 + 30 * 128;
        bomb.extend(vec![b'v'; value]);
        bomb.extend(vec![0xbe; 12_000]);
        client.frame(
            Kind::Headers,
            END_STREAM | END_HEADERS,
            1,
            &bomb[..16_384.min(bomb.len())],
        );
        assert!(client.refused(1));
    }
    assert!(resident(&server) < before + 64 * MIB, "{before} KiB before");
    serves(&server);
}

/// CVE-2019-9512 and 9515: each asks for an answer, which nobody reads.
#[test]
fn pings_and_settings_whose_answers_nobody_reads() {
    let server = start_one("send_timeout = \"1s\"\n", &echo(), "");
    serves(&server);
    let before = resident(&server);
    for (kind, payload) in [
        (Kind::Ping, &[7; 8][..]),
        (Kind::Settings, &[0, 1, 0, 0, 16, 0]),
    ] {
        let mut client = Client::open(&server);
        let went = flood(&mut client, 10_000_000, |_, client| {
            client.try_frame(kind, 0, 0, payload)
        });
        assert!(went, "{kind:?}");
        assert!(
            resident(&server) < before + 64 * MIB,
            "{kind:?}: {before} KiB before"
        );
    }
    serves(&server);
}

/// More requests at a time than may be.
#[test]
fn streams_beyond_the_bound_are_refused() {
    let held = Arc::new(Mutex::new(Vec::new()));
    let hold = Arc::clone(&held);
    let site = upstream(move |stream, _| hold.lock().unwrap().push(stream));
    let server = start_one("", &site, "");
    let mut client = Client::open(&server);
    for at in 0..200 {
        client.request(2 * at + 1, &[]);
    }
    // REFUSED_STREAM: it may be asked for again.
    assert!(client.was_reset(2 * 150 + 1));
    assert!(held.lock().unwrap().len() <= 128);
}

/// CVE-2025-8671: what makes us reset a stream costs as much as a reset by the client.
#[test]
fn streams_that_we_are_made_to_reset() {
    let site = upstream(|mut stream, _| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let server = start_one("", &site, "");
    let mut client = Client::open(&server);
    let head = head();
    let most = 0x7fff_ffffu32.to_be_bytes();
    let went = flood(&mut client, 100_000, |round, client| {
        let stream = 2 * u32::try_from(round).unwrap() + 1;
        client.try_frame(Kind::Headers, END_HEADERS, stream, &head)?;
        client.try_frame(Kind::WindowUpdate, 0, stream, &most)
    });
    assert!(went, "100,000 streams were reset");
    assert!(matches!(client.end(), None | Some(ENHANCE_YOUR_CALM)));
}
