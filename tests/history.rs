//! What was answered with 200 is not lost.

use std::collections::HashMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread;
use std::time::Duration;

use tungstenite::Message;

use crate::engine::{Engine, on_every_engine};
use crate::harness::{SIGNATURE_KEY, Server, get, read_response, wait_for};
use crate::ledger::Had;
use crate::push::{A, bodies, mid, publish, signed, start, wait_until_online, websocket};

const NOWHERE: &str = "http://127.0.0.1:1";

fn start_in(directory: Arc<tempfile::TempDir>, more: &str) -> Server {
    Server::start_in(
        directory,
        NOWHERE,
        &format!("[push]\nsignature_key = \"{SIGNATURE_KEY}\"\n{more}"),
    )
}

#[test]
fn a_restart_loses_nothing() {
    let server = start("");
    let channel = signed(&server, A);
    let mut socket = websocket(&server, &format!("CHANNEL_ID={channel}"));
    wait_until_online(&server);
    publish(&server, A, "1", 60);
    let first = mid(&socket.read().unwrap().into_text().unwrap()).to_owned();
    publish(&server, A, "2", 60);
    publish(&server, A, "not stored", 0);
    let directory = Arc::clone(&server.directory);
    assert!(server.terminate().0);
    let server = start_in(directory, "");
    publish(&server, A, "3", 60);
    let target = format!("/bitrix/sub/?CHANNEL_ID={channel}&mid={first}");
    assert_eq!(bodies(&get(&server.site, &target, &[]).body), ["2", "3"]);
}

#[test]
fn a_damaged_history_is_kept_aside_and_the_service_starts() {
    let server = start("");
    let channel = signed(&server, A);
    publish(&server, A, "lost", 60);
    let directory = Arc::clone(&server.directory);
    assert!(server.terminate().0);
    let state = directory.path().join("state");
    let mut files = vec![state.join("history/data")];
    let mut damaged = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
        } else if path.metadata().unwrap().len() > 8 {
            std::fs::write(&path, [0xa5; 64]).unwrap();
            damaged += 1;
        }
    }
    assert!(damaged > 0);
    let server = start_in(Arc::clone(&directory), "");
    wait_for(|| server.log().contains("history is damaged"));
    publish(&server, A, "new", 60);
    let target = format!("/bitrix/sub/?CHANNEL_ID={channel}&mid={}", "0".repeat(26));
    assert_eq!(bodies(&get(&server.site, &target, &[]).body), ["new"]);
    let aside = state.read_dir().unwrap().any(|entry| {
        let name = entry.unwrap().file_name();
        name.to_string_lossy().starts_with("history.damaged-")
    });
    assert!(aside);
}

/// Whoever polls tells what it had last, and publishing does not wait for it to ask again.
fn between_two_polls_nothing_stored_is_lost(engine: &Engine) {
    const MESSAGES: usize = 300;
    let key = format!("[push]\nsignature_key = \"{SIGNATURE_KEY}\"\npoll_timeout = \"300s\"\n");
    let server = engine.start(NOWHERE, &key);
    let channel = signed(&server, A);
    let came = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..MESSAGES {
                wait_for(|| number < came.load(Ordering::Relaxed) + MAX_BEHIND);
                publish(&server, A, &number.to_string(), 600);
            }
        });
        let mut had = Had::default();
        while had.last() != Some(MESSAGES - 1) {
            let target = format!("/bitrix/sub/?CHANNEL_ID={channel}&mid={}", had.mid);
            let answer = get(&server.site, &target, &[]);
            assert_eq!(answer.status, 200, "{answer:?}");
            had.take(&answer.body).unwrap();
            came.store(had.len(), Ordering::Relaxed);
        }
        assert_eq!(had.len(), MESSAGES);
    });
}

on_every_engine!(between_two_polls_nothing_stored_is_lost);

/// One channel: who publishes to it, and who listens.
struct Pair {
    channel: String,
    signed: String,
    /// Numbers whose publishing was answered with 200.
    answered: Mutex<Vec<usize>>,
    /// How often each number came.
    received: Mutex<HashMap<usize, usize>>,
    sent: AtomicUsize,
    came: AtomicUsize,
}

/// The addresses of the server that runs now.
type Running = RwLock<Option<(String, String)>>;

const PAIRS: usize = 16;
const MESSAGES_PER_PAIR: usize = 1250;
const KILLS: usize = 5;

/// A catch-up brings a hundred: nobody may be further behind when the server is killed.
const MAX_BEHIND: usize = 50;

#[test]
fn what_was_answered_survives_kill_9() {
    let mut server = start("[history]\ndurability = \"always\"\n");
    let pairs: Vec<Pair> = (0..PAIRS)
        .map(|number| {
            let channel = format!("{number:032x}");
            Pair {
                signed: signed(&server, &channel),
                channel,
                answered: Mutex::default(),
                received: Mutex::default(),
                sent: AtomicUsize::new(0),
                came: AtomicUsize::new(0),
            }
        })
        .collect();
    let running = Running::default();
    let all_came = AtomicBool::new(false);
    let now = |server: &Server| Some((server.site.clone(), server.publish.clone()));
    *running.write().unwrap() = now(&server);
    thread::scope(|scope| {
        for pair in &pairs {
            scope.spawn(|| listen(pair, &running, &all_came));
        }
        let publishers: Vec<_> = pairs
            .iter()
            .map(|pair| scope.spawn(|| publish_all(pair, &running)))
            .collect();
        let total = PAIRS * MESSAGES_PER_PAIR;
        for kill in 1..=KILLS {
            // At no particular moment of what the server does.
            let reached =
                || -> usize { pairs.iter().map(|p| p.sent.load(Ordering::Relaxed)).sum() };
            wait_for_long(|| reached() > total * kill / (KILLS + 1));
            let directory = server.kill();
            *running.write().unwrap() = None;
            server = start_in(directory, "[history]\ndurability = \"always\"\n");
            *running.write().unwrap() = now(&server);
        }
        for publisher in publishers {
            publisher.join().unwrap();
        }
        // The last message of each was answered: everything before it has come when it has.
        wait_for(|| {
            pairs.iter().all(|pair| {
                let last = *pair.answered.lock().unwrap().last().unwrap();
                pair.received.lock().unwrap().contains_key(&last)
            })
        });
        all_came.store(true, Ordering::Relaxed);
    });
    let mut answered = 0;
    for pair in &pairs {
        let received = pair.received.lock().unwrap();
        for number in pair.answered.lock().unwrap().iter() {
            assert_eq!(received.get(number), Some(&1), "{} {number}", pair.channel);
            answered += 1;
        }
        assert!(received.values().all(|&times| times == 1));
    }
    // What was under way when the server was killed may not have been answered, and no more.
    let total = PAIRS * MESSAGES_PER_PAIR;
    assert!(answered > total - total / 20, "{answered} of {total}");
}

fn wait_for_long(mut condition: impl FnMut() -> bool) {
    while !condition() {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Publishes to one channel, one message at a time; what is not answered is left alone.
fn publish_all(pair: &Pair, running: &Running) {
    let mut number = 0;
    while number < MESSAGES_PER_PAIR {
        // Only once the listener is back, or the catch-up would not reach.
        let came = || pair.came.load(Ordering::Relaxed);
        wait_for(|| {
            running.read().unwrap().is_some()
                && pair.answered.lock().unwrap().len() < came() + MAX_BEHIND
        });
        let address = running.read().unwrap().clone();
        let Some(stream) = address.and_then(|(_, publish)| TcpStream::connect(publish).ok()) else {
            continue;
        };
        if is_answered(stream, &pair.channel, number).is_some() {
            pair.answered.lock().unwrap().push(number);
        }
        pair.sent.fetch_add(1, Ordering::Relaxed);
        number += 1;
    }
}

/// Publishes `number`; None when the server died over it.
fn is_answered(mut stream: TcpStream, channel: &str, number: usize) -> Option<()> {
    let body = number.to_string();
    let length = body.len();
    write!(
        stream,
        "POST /bitrix/pub/?CHANNEL_ID={channel} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Message-Expiry: 600\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .ok()?;
    stream.peek(&mut [0]).ok().filter(|&read| read > 0)?;
    (read_response(stream).status == 200).then_some(())
}

/// Listens, and comes back with the last mid whenever it was cut off.
fn listen(pair: &Pair, running: &Running, all_came: &AtomicBool) {
    let mut last = "0".repeat(26);
    while !all_came.load(Ordering::Relaxed) {
        let Some((site, _)) = running.read().unwrap().clone() else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        let Ok(stream) = TcpStream::connect(&site) else {
            continue;
        };
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let url = format!(
            "ws://{site}/bitrix/subws/?CHANNEL_ID={}&mid={last}",
            pair.signed
        );
        let Ok((mut socket, _)) = tungstenite::client(url, stream) else {
            continue;
        };
        while let Ok(Message::Text(frames)) = socket.read() {
            mid(&frames).clone_into(&mut last);
            let mut received = pair.received.lock().unwrap();
            for body in bodies(&frames) {
                *received.entry(body.parse().unwrap()).or_default() += 1;
                pair.came.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
