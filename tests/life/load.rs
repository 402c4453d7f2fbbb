//! Two upgrades in a row under load: no connection refused, no request answered wrongly, no message lost or twice, no
//! guest's number given twice.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use futures_util::StreamExt;
use pullgate_compat::signature::{Algorithm, SignatureKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, interval, sleep};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use super::{config, directory, upgrade};
use crate::guests::{SECRET, numbers};
use crate::harness::{SIGNATURE_KEY, Server, pullgate};
use crate::ledger::{Had, Ledger};

const CHANNELS: usize = 50;
const WEBSOCKETS_PER_CHANNEL: usize = 4;
const PUBLISHERS: usize = 5;
const PUBLISHES_PER_SECOND: u32 = 200;
const VISITORS: u32 = 10;
const VISITS_PER_SECOND: u32 = 200;

struct Channel {
    id: String,
    ledger: Ledger,
    had: Vec<Rc<RefCell<Had>>>,
}

/// What all the clients share.
struct Load {
    site: String,
    publish: String,
    channels: Vec<Channel>,
    done: Cell<bool>,
    /// Numbers that new visitors got.
    guests: RefCell<HashSet<String>>,
}

#[test]
fn two_upgrades_under_load() {
    let text = config(&numbers(), SECRET);
    let server = Server::run_as_configured(pullgate(), Arc::clone(&directory()), &text);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    std::thread::scope(|threads| {
        let (connected, ready) = mpsc::channel::<()>();
        let upgrading = threads.spawn(|| {
            ready.into_iter().for_each(drop);
            let mut pid = server.pid();
            for _ in 0..2 {
                std::thread::sleep(Duration::from_secs(1));
                pid = upgrade(&server, pid).unwrap();
            }
            std::thread::sleep(Duration::from_secs(1));
        });
        let done = || upgrading.is_finished();
        LocalSet::new().block_on(&runtime, async {
            let within = Duration::from_secs(240);
            let all = tokio::time::timeout(within, everybody(&server, connected, &done)).await;
            assert!(all.is_ok(), "not done within {within:?}");
        });
        upgrading.join().unwrap();
    });
}

async fn everybody(server: &Server, connected: mpsc::Sender<()>, upgraded: &dyn Fn() -> bool) {
    let load = Rc::new(Load {
        site: server.site.clone(),
        publish: server.publish.clone(),
        channels: (1..=CHANNELS).map(channel).collect(),
        done: Cell::new(false),
        guests: RefCell::default(),
    });
    let began = Instant::now();
    for channel in &load.channels {
        for had in &channel.had {
            spawn_local(listen(
                load.site.clone(),
                channel.id.clone(),
                Rc::clone(had),
            ));
        }
    }
    let mut tasks = Vec::new();
    for publisher in 0..PUBLISHERS {
        tasks.push(spawn_local(publish(Rc::clone(&load), publisher)));
    }
    for _ in 0..VISITORS {
        tasks.push(spawn_local(visit(Rc::clone(&load))));
    }
    drop(connected);
    while !upgraded() {
        sleep(Duration::from_millis(10)).await;
    }
    load.done.set(true);
    for task in tasks {
        task.await.unwrap();
    }
    let until = Instant::now() + Duration::from_secs(60);
    for channel in &load.channels {
        for had in &channel.had {
            while !had.borrow().lacks(&channel.ledger).is_empty() && Instant::now() < until {
                sleep(Duration::from_millis(10)).await;
            }
            let lost = had.borrow().lacks(&channel.ledger);
            assert!(lost.is_empty(), "{lost:?} of channel {}", channel.id);
        }
    }
    let published: usize = load
        .channels
        .iter()
        .map(|channel| channel.ledger.len())
        .sum();
    let (guests, within) = (load.guests.borrow().len(), began.elapsed());
    assert!(published > 0 && guests > 0);
    eprintln!("{published} messages and {guests} guests in {within:?}, with two upgrades");
}

fn channel(number: usize) -> Channel {
    Channel {
        id: format!("{number:032x}"),
        ledger: Ledger::default(),
        had: (0..WEBSOCKETS_PER_CHANNEL).map(|_| Rc::default()).collect(),
    }
}

/// Notes what comes, and comes back with what it had when it is sent away.
async fn listen(site: String, id: String, had: Rc<RefCell<Had>>) {
    let key = SignatureKey::new(Algorithm::Sha1, SIGNATURE_KEY);
    let signature = key.sign(&id);
    loop {
        let mid = had.borrow().mid.clone();
        let url = format!("ws://{site}/bitrix/subws/?CHANNEL_ID={id}.{signature}&mid={mid}");
        let stream = TcpStream::connect(&site).await.unwrap();
        let (mut socket, _) = client_async(url, stream).await.unwrap();
        while let Some(message) = socket.next().await {
            match message.unwrap() {
                Message::Text(frames) => had.borrow_mut().take(&frames).unwrap(),
                Message::Close(Some(close)) => assert_eq!(u16::from(close.code), 1001),
                Message::Close(None) => panic!("closed without a word"),
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }
}

/// A message after the other, to each of its share of the channels in turn, each on a connection of its own, as PHP
/// does.
async fn publish(load: Rc<Load>, publisher: usize) {
    let mut pace = interval(
        Duration::from_secs(1) * u32::try_from(PUBLISHERS).unwrap() / PUBLISHES_PER_SECOND,
    );
    for number in 0.. {
        for channel in load.channels.iter().skip(publisher).step_by(PUBLISHERS) {
            if load.done.get() {
                return;
            }
            pace.tick().await;
            let body = number.to_string();
            let answer = ask(
                &load.publish,
                &format!(
                    "POST /bitrix/pub/?CHANNEL_ID={} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                     Message-Expiry: 600\r\nContent-Length: {}\r\n\r\n{body}",
                    channel.id,
                    body.len()
                ),
            )
            .await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            channel.ledger.keep(number);
        }
    }
}

/// New visitors, each with a connection and a number of its own.
async fn visit(load: Rc<Load>) {
    let mut pace = interval(Duration::from_secs(1) * VISITORS / VISITS_PER_SECOND);
    while !load.done.get() {
        pace.tick().await;
        let answer = ask(
            &load.site,
            "GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\nUser-Agent: Mozilla/5.0\r\n\
             Connection: close\r\n\r\n",
        )
        .await;
        let (head, number) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        assert_ne!(number, "none", "{answer}");
        assert!(
            load.guests.borrow_mut().insert(number.to_owned()),
            "{number} twice"
        );
    }
}

async fn ask(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
