//! Ten reloads in a row under load: no message is lost, no connection refused, no request answered wrongly.

use std::cell::Cell;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use futures_util::StreamExt;
use pullgate_compat::signature::{Algorithm, SignatureKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, interval, sleep};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use super::{reload, site};
use crate::harness::{SIGNATURE_KEY, Server};
use crate::ledger::{Had, Ledger};

const WEBSOCKETS: usize = 1000;
const CHANNELS: usize = 250;
const PUBLISHES_PER_SECOND: u32 = 500;
const REQUESTS_PER_SECOND: u32 = 1000;
const REQUESTERS: u32 = 20;
const PUBLISHERS: u32 = 5;

struct Channel {
    id: String,
    ledger: Ledger,
    had: Vec<Rc<RefCell<Had>>>,
}

#[test]
fn ten_reloads_under_load() {
    let server = Server::start(
        &site("page"),
        &format!(
            "[push]\nsignature_key = \"{SIGNATURE_KEY}\"\n[push.limits]\nmax_payload = \"1MiB\"\n"
        ),
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    std::thread::scope(|threads| {
        let (connected, ready) = mpsc::channel();
        // Beside the load, not in its way.
        let reloading = threads.spawn(|| {
            ready.into_iter().for_each(drop);
            for (from, to) in changes() {
                std::thread::sleep(Duration::from_millis(500));
                let told = reload(&server, &from, &to);
                assert!(told.contains("changes="), "{told}");
            }
        });
        let done = || reloading.is_finished();
        LocalSet::new().block_on(&runtime, async {
            let within = Duration::from_secs(180);
            let all = everybody(&server, connected, &done);
            let all = tokio::time::timeout(within, all).await;
            assert!(all.is_ok(), "not done within {within:?}");
        });
        reloading.join().unwrap();
    });
}

async fn everybody(server: &Server, connected: mpsc::Sender<()>, reloaded: &dyn Fn() -> bool) {
    let done = Rc::new(Cell::new(false));
    let channels: Vec<Channel> = (0..CHANNELS).map(|number| channel(number + 1)).collect();
    let channels = Rc::new(channels);
    for channel in channels.iter() {
        for had in &channel.had {
            listen(server, &channel.id, Rc::clone(had)).await;
        }
    }
    let mut tasks = Vec::new();
    for publisher in 0..PUBLISHERS {
        let (channels, done) = (Rc::clone(&channels), Rc::clone(&done));
        let publishing = publish(server.publish.clone(), channels, publisher, done);
        tasks.push(spawn_local(publishing));
    }
    let answered = Rc::new(Cell::new(0));
    for _ in 0..REQUESTERS {
        let (answered, done) = (Rc::clone(&answered), Rc::clone(&done));
        tasks.push(spawn_local(ask(server.site.clone(), answered, done)));
    }
    let began = Instant::now();
    drop(connected);
    while !reloaded() {
        sleep(Duration::from_millis(10)).await;
    }
    done.set(true);
    for task in tasks {
        task.await.unwrap();
    }
    let until = Instant::now() + Duration::from_secs(60);
    for channel in channels.iter() {
        for had in &channel.had {
            while !had.borrow().lacks(&channel.ledger).is_empty() && Instant::now() < until {
                sleep(Duration::from_millis(10)).await;
            }
            let lost = had.borrow().lacks(&channel.ledger);
            assert!(lost.is_empty(), "{lost:?} of channel {}", channel.id);
        }
    }
    let published: usize = channels.iter().map(|channel| channel.ledger.len()).sum();
    assert!(published > 0 && answered.get() > 0);
    let (requests, within) = (answered.get(), began.elapsed());
    eprintln!("{published} messages and {requests} requests in {within:?}, with ten reloads");
}

/// Ten of them: limits, the back end, timeouts, a second site with a listener that comes and goes, twice.
fn changes() -> Vec<(String, String)> {
    let publish = "role = \"publish\"\n";
    let two = "role = \"publish\"\nsite = \"one\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"publish\"\nsite = \"two\"\n\
         [[site]]\nname = \"one\"\ndefault = true\noriginal = true\n\
         [[site]]\nname = \"two\"\nhosts = [\"two.example\"]\n";
    let back_end = |word| format!("url = \"{}\"\n# ", site(word));
    let change = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    vec![
        change("\"1MiB\"", "\"2MiB\""),
        change(publish, two),
        change("[push]", "[push]\nping_interval = \"30s\""),
        change("url = ", &back_end("page")),
        change(two, publish),
        change("threads = 2\n", "threads = 2\nbody_timeout = \"9s\"\n"),
        change("[push]", "[guest]\nnew_per_minute = 5\n[push]"),
        change(publish, two),
        change("\"2MiB\"", "\"1MiB\""),
        change(two, publish),
    ]
}

fn channel(number: usize) -> Channel {
    Channel {
        id: format!("{number:032x}"),
        ledger: Ledger::default(),
        had: (0..WEBSOCKETS / CHANNELS).map(|_| Rc::default()).collect(),
    }
}

/// Connects, and notes what comes for ever. Whoever is closed is a failure.
async fn listen(server: &Server, id: &str, had: Rc<RefCell<Had>>) {
    let key = SignatureKey::new(Algorithm::Sha1, SIGNATURE_KEY);
    let url = format!(
        "ws://{}/bitrix/subws/?CHANNEL_ID={id}.{}",
        server.site,
        key.sign(id)
    );
    let stream = TcpStream::connect(&server.site).await.unwrap();
    let (mut socket, _) = client_async(url, stream).await.unwrap();
    spawn_local(async move {
        while let Some(message) = socket.next().await {
            match message.unwrap() {
                Message::Text(frames) => had.borrow_mut().take(&frames).unwrap(),
                Message::Close(close) => panic!("a websocket was closed: {close:?}"),
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    });
}

/// A message after the other, to each of its share of the channels in turn, on a connection that stays.
async fn publish(
    address: String,
    channels: Rc<Vec<Channel>>,
    publisher: u32,
    done: Rc<Cell<bool>>,
) {
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let mut pace = interval(Duration::from_secs(1) * PUBLISHERS / PUBLISHES_PER_SECOND);
    for number in 0.. {
        let own = channels.iter().skip(publisher as usize);
        for channel in own.step_by(PUBLISHERS as usize) {
            if done.get() {
                return;
            }
            pace.tick().await;
            let body = number.to_string();
            let request = format!(
                "POST /bitrix/pub/?CHANNEL_ID={} HTTP/1.1\r\nHost: x\r\nMessage-Expiry: 600\r\nContent-Length: {}\r\n\r\n{body}",
                channel.id,
                body.len()
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let head = head(&mut stream).await;
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            channel.ledger.keep(number);
        }
    }
}

/// Requests pages, each on a connection of its own.
async fn ask(address: String, answered: Rc<Cell<usize>>, done: Rc<Cell<bool>>) {
    let mut pace = interval(Duration::from_secs(1) * REQUESTERS / REQUESTS_PER_SECOND);
    while !done.get() {
        pace.tick().await;
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("page"),
            "{answer}"
        );
        answered.set(answered.get() + 1);
    }
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}
