//! A thousand subscribers that lose their connections all the time and catch up by `mid`, and 50,000
//! messages: nothing is lost, nothing comes twice, the order holds. The same for every engine of history.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use data_encoding::HEXLOWER;
use futures_util::StreamExt;
use pullgate_compat::signature::{Algorithm, SignatureKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::binary::field;
use crate::cluster::redis_server::{RedisServer, start_with_history};
use crate::harness::{SIGNATURE_KEY, Server};
use crate::ledger::{Had, Ledger};

const PUBLISHERS: usize = 5;
const CHANNELS_PER_PUBLISHER: usize = 50;
const SUBSCRIBERS_PER_CHANNEL: usize = 4;
const MESSAGES_PER_CHANNEL: usize = 200;
/// Messages of a channel in one request.
const BURST: usize = 2;
/// A catch-up brings 100 of a channel: nobody may be further behind.
const FURTHEST_BEHIND: usize = 90;

#[test]
fn with_redis() {
    let redis = RedisServer::start();
    nothing_is_lost_or_doubled(&redis.history());
}

#[test]
fn with_memory() {
    nothing_is_lost_or_doubled("[history]\nengine = \"memory\"\n");
}

#[test]
fn with_disk() {
    nothing_is_lost_or_doubled("[history]\nengine = \"disk\"\n");
}

/// One engine at a time, for each takes all there is of the machine.
static TURN: Mutex<()> = Mutex::new(());

/// `history`: that section of the configuration.
fn nothing_is_lost_or_doubled(history: &str) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let server = start_with_history("", history);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        let within = Duration::from_secs(300);
        let done = tokio::time::timeout(within, everybody(&server));
        assert!(done.await.is_ok(), "not all came within {within:?}");
    });
}

async fn everybody(server: &Server) {
    let (mut tasks, mut all) = (Vec::new(), Vec::new());
    for publisher in 0..PUBLISHERS {
        let mut channels = Vec::new();
        for number in 0..CHANNELS_PER_PUBLISHER {
            let id = format!("{:032x}", publisher * CHANNELS_PER_PUBLISHER + number + 1);
            let had: Vec<Rc<RefCell<Had>>> = (0..SUBSCRIBERS_PER_CHANNEL)
                .map(|number| {
                    let had = Rc::default();
                    let subscribing =
                        subscribe(server.site.clone(), id.clone(), number, Rc::clone(&had));
                    tasks.push(spawn_local(subscribing));
                    had
                })
                .collect();
            let ledger = Ledger::default();
            channels.push(Channel { id, ledger, had });
        }
        let channels = Rc::new(channels);
        all.push(Rc::clone(&channels));
        tasks.push(spawn_local(publish(server.publish.clone(), channels)));
    }
    for task in tasks {
        task.await.unwrap();
    }
    for channel in all.iter().flat_map(|channels| channels.iter()) {
        assert_eq!(channel.ledger.len(), MESSAGES_PER_CHANNEL);
        for had in &channel.had {
            let lost = had.borrow().lacks(&channel.ledger);
            assert!(lost.is_empty(), "{lost:?} of channel {}", channel.id);
        }
    }
}

struct Channel {
    id: String,
    ledger: Ledger,
    /// What each subscriber had.
    had: Vec<Rc<RefCell<Had>>>,
}

/// Publishes to each channel, as fast as its subscribers follow.
async fn publish(address: String, channels: Rc<Vec<Channel>>) {
    let mut stream = TcpStream::connect(&address).await.unwrap();
    for first in (0..MESSAGES_PER_CHANNEL).step_by(BURST) {
        let mut messages = Vec::new();
        for number in first..first + BURST {
            for Channel { id, had, .. } in channels.iter() {
                let is_behind =
                    |had: &Rc<RefCell<Had>>| had.borrow().len() + FURTHEST_BEHIND < number;
                while had.iter().any(is_behind) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let receiver = [
                    field(1, &HEXLOWER.decode(id.as_bytes()).unwrap()),
                    vec![2 << 3, 1],
                ];
                let message = [
                    field(1, &receiver.concat()),
                    field(3, number.to_string().as_bytes()),
                    vec![4 << 3, 100],
                ];
                messages.extend(field(1, &message.concat()));
            }
        }
        let request = field(1, &field(1, &messages));
        let length = request.len();
        let head = format!(
            "POST /bitrix/pub/?binaryMode=true HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&request).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
        for number in first..first + BURST {
            channels
                .iter()
                .for_each(|channel| channel.ledger.keep(number));
        }
    }
}

/// Connects, reads a while, cuts the connection, connects again, until it has all.
async fn subscribe(address: String, id: String, number: usize, had: Rc<RefCell<Had>>) {
    let key = SignatureKey::new(Algorithm::Sha1, SIGNATURE_KEY);
    let channel = format!("{id}.{}", key.sign(&id));
    let mut patience = 5 + 7 * number;
    let has_last = || had.borrow().last() == Some(MESSAGES_PER_CHANNEL - 1);
    while !has_last() {
        let stream = TcpStream::connect(&address).await.unwrap();
        let mid = had.borrow().mid.clone();
        let url = format!("ws://{address}/bitrix/subws/?CHANNEL_ID={channel}&mid={mid}");
        let (mut socket, _) = client_async(url, stream).await.unwrap();
        let until = had.borrow().len() + patience;
        patience = patience % 61 + 20;
        while had.borrow().len() < until && !has_last() {
            let Some(Ok(Message::Text(frames))) = socket.next().await else {
                panic!("the server ended a connection")
            };
            let taken = had.borrow_mut().take(&frames);
            taken.unwrap_or_else(|what| panic!("{what}, on channel {id}"));
        }
    }
}
