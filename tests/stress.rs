//! A thousand subscribers that lose their connections all the time and catch up by `mid`, and 50,000
//! messages: nothing is lost, nothing comes twice, the order holds. The same for every engine of history.

use std::cell::Cell;
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

use crate::cluster::redis_server::{RedisServer, start_with_history};
use crate::harness::{SIGNATURE_KEY, Server};
use crate::push::bodies;

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
        let within = Duration::from_secs(120);
        let done = tokio::time::timeout(within, everybody(&server));
        assert!(done.await.is_ok(), "not all came within {within:?}");
    });
}

async fn everybody(server: &Server) {
    let mut tasks = Vec::new();
    for publisher in 0..PUBLISHERS {
        let mut channels = Vec::new();
        for number in 0..CHANNELS_PER_PUBLISHER {
            let id = format!("{:032x}", publisher * CHANNELS_PER_PUBLISHER + number + 1);
            let had: Vec<Rc<Cell<usize>>> = (0..SUBSCRIBERS_PER_CHANNEL)
                .map(|number| {
                    let had = Rc::new(Cell::new(0));
                    let subscribing =
                        subscribe(server.site.clone(), id.clone(), number, Rc::clone(&had));
                    tasks.push(spawn_local(subscribing));
                    had
                })
                .collect();
            channels.push((id, had));
        }
        tasks.push(spawn_local(publish(server.publish.clone(), channels)));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

/// Publishes to each channel, as fast as its subscribers follow.
async fn publish(address: String, channels: Vec<(String, Vec<Rc<Cell<usize>>>)>) {
    let mut stream = TcpStream::connect(&address).await.unwrap();
    for first in (0..MESSAGES_PER_CHANNEL).step_by(BURST) {
        let mut messages = Vec::new();
        for number in first..first + BURST {
            for (id, had) in &channels {
                while had.iter().any(|had| had.get() + FURTHEST_BEHIND < number) {
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
    }
}

/// A field that holds bytes or a message.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 128 {
        bytes.push(u8::try_from(length % 128).unwrap() | 128);
        length /= 128;
    }
    bytes.push(u8::try_from(length).unwrap());
    bytes.extend_from_slice(content);
    bytes
}

/// Connects, reads a while, cuts the connection, connects again, until it has all.
async fn subscribe(address: String, id: String, number: usize, had: Rc<Cell<usize>>) {
    let key = SignatureKey::new(Algorithm::Sha1, SIGNATURE_KEY);
    let channel = format!("{id}.{}", key.sign(&id));
    let mut last = "0".repeat(26);
    let mut patience = 5 + 7 * number;
    while had.get() < MESSAGES_PER_CHANNEL {
        let stream = TcpStream::connect(&address).await.unwrap();
        let url = format!("ws://{address}/bitrix/subws/?CHANNEL_ID={channel}&mid={last}");
        let (mut socket, _) = client_async(url, stream).await.unwrap();
        let until = had.get() + patience;
        patience = patience % 61 + 20;
        while had.get() < until.min(MESSAGES_PER_CHANNEL) {
            let Some(Ok(Message::Text(frames))) = socket.next().await else {
                panic!("the server ended a connection")
            };
            for frame in frames.split_inclusive("#!NGINXNME!#") {
                let mid = crate::push::mid(frame);
                assert!(mid > last.as_str(), "{mid} after {last}");
                last = mid.to_owned();
                assert_eq!(bodies(frame), [had.get().to_string()], "of channel {id}");
                had.set(had.get() + 1);
            }
        }
    }
}
