//! What pullgate leaves in Redis is what push server left there when it was recorded.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use data_encoding::{BASE64, HEXLOWER};
use pullgate_compat::wire::{
    Content, Notification, decode_message, decode_notifications, encode_message,
    encode_notification,
};
use redis::Commands;
use serde_json::Value;
use tungstenite::{Message as Frame, WebSocket};

use super::redis_server::RedisServer;
use crate::harness::{Server, root, wait_for};
use crate::push::websocket_at;

/// A recording's steps played against a node on a fresh Redis.
struct Stage {
    redis: RedisServer,
    node: Server,
    sockets: HashMap<String, WebSocket<TcpStream>>,
    polls: Vec<TcpStream>,
}

fn recording(name: &str) -> Value {
    let path = root().join(format!("fixtures/push-server-0.4.0/cluster/{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap()
}

/// A member by either of its forms.
fn bytes(value: &Value, member: &str) -> Vec<u8> {
    match value[format!("{member}_base64")].as_str() {
        Some(base64) => BASE64.decode(base64.as_bytes()).unwrap(),
        None => {
            let text = value[format!("{member}_utf8")].as_str();
            text.unwrap_or_default().as_bytes().to_vec()
        }
    }
}

impl Stage {
    fn new(recording: &Value) -> Self {
        let redis = RedisServer::start();
        let _: () = redis
            .connection()
            .set("server:startdate", 1_700_000_000)
            .unwrap();
        let key = text(recording, "security_key");
        let history = redis.history();
        let node = Server::start(
            "http://127.0.0.1:1",
            &format!("[push]\nsignature_key = \"{key}\"\n{history}"),
        );
        wait_for(|| node.log().contains("connected to Redis"));
        Self {
            redis,
            node,
            sockets: HashMap::new(),
            polls: Vec::new(),
        }
    }

    /// Plays a step; those that only look are for the caller.
    fn play(&mut self, step: &Value) {
        match text(step, "kind") {
            "http" => {
                let stream = self.request(&step["request"]);
                assert_eq!(crate::harness::read_response(stream).status, 200);
            }
            "poll-start" => {
                let poll = self.request(&step["request"]);
                self.polls.push(poll);
            }
            "poll-abort" => self.polls.clear(),
            "ws-open" => {
                let socket = websocket_at(&self.node.publish, text(step, "target"));
                self.sockets.insert(text(step, "conn").to_owned(), socket);
            }
            "ws-send" => {
                let frame = Frame::Binary(bytes(step, "data").into());
                let socket = self.sockets.get_mut(text(step, "conn")).unwrap();
                socket.send(frame).unwrap();
            }
            "ws-close" => {
                self.sockets.remove(text(step, "conn"));
            }
            "sleep" => thread::sleep(Duration::from_millis(step["ms"].as_u64().unwrap())),
            "ws-recv" | "ws-end" => {}
            other => panic!("unknown step {other}"),
        }
    }

    fn request(&self, request: &Value) -> TcpStream {
        let mut stream = TcpStream::connect(&self.node.publish).unwrap();
        let (method, target) = (text(request, "method"), text(request, "target"));
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\nConnection: close\r\n"
        )
        .unwrap();
        for header in request["headers"].as_array().unwrap() {
            let (name, value) = (header[0].as_str().unwrap(), header[1].as_str().unwrap());
            write!(stream, "{name}: {value}\r\n").unwrap();
        }
        stream.write_all(b"\r\n").unwrap();
        stream.write_all(&bytes(request, "body")).unwrap();
        stream
    }

    /// All keys but those of our own and the statistics.
    fn dump(&self) -> BTreeMap<String, Kept> {
        let mut redis = self.redis.connection();
        let keys: Vec<Vec<u8>> = redis.keys("*").unwrap();
        let kept = keys
            .into_iter()
            .filter(|key| !key.starts_with(b"pullgate:") && key != b"stats");
        // A mark of presence may go meanwhile.
        kept.filter_map(|key| {
            let kind: String = redis::cmd("TYPE").arg(&key).query(&mut redis).unwrap();
            let ttl = redis.ttl(&key).unwrap();
            let content = match kind.as_str() {
                "none" => return None,
                "string" => vec![masked(&redis.get::<_, Option<Vec<u8>>>(&key).unwrap()?)],
                "zset" => {
                    let members: Vec<(Vec<u8>, String)> =
                        redis.zrange_withscores(&key, 0, -1).unwrap();
                    let shown = |(member, score): &(Vec<u8>, String)| {
                        format!("{} {score}", HEXLOWER.encode(member))
                    };
                    members.iter().map(shown).collect()
                }
                other => panic!("{key:?} is a {other}"),
            };
            Some((HEXLOWER.encode(&key), Kept { ttl, content }))
        })
        .collect()
    }
}

#[derive(Debug)]
struct Kept {
    ttl: i64,
    content: Vec<String>,
}

/// A value in hex; of a message without the time at which it was published.
fn masked(value: &[u8]) -> String {
    match decode_message(value) {
        Ok(mut message) if value.starts_with(b"\x0a\x0d") => {
            assert_eq!(encode_message(&message), value);
            message.created = 0;
            HEXLOWER.encode(&encode_message(&message))
        }
        Ok(_) | Err(_) => HEXLOWER.encode(value),
    }
}

/// What a step of the recording found, in the same form.
fn recorded(step: &Value) -> BTreeMap<String, Kept> {
    let keys = step["keys"].as_array().unwrap();
    let kept = keys.iter().filter(|key| key["key"] != "stats");
    kept.map(|key| {
        let name = text(key, "key").split('<').next().unwrap();
        let suffix = key["key_suffix_hex"].as_str().unwrap_or_default();
        let content = match key["members"].as_array() {
            None => vec![masked(&bytes(key, "value"))],
            Some(members) => members
                .iter()
                .map(|member| format!("{} {}", text(member, "member_hex"), text(member, "score")))
                .collect(),
        };
        let name = HEXLOWER.encode(name.as_bytes()) + suffix;
        let ttl = key["ttl_s"].as_i64().unwrap();
        (name, Kept { ttl, content })
    })
    .collect()
}

/// pullgate marks every channel of a subscription as online, push server the first only. Once somebody has `left`,
/// pullgate takes the mark away, push server does not.
fn agree(ours: &BTreeMap<String, Kept>, recorded: &BTreeMap<String, Kept>, left: bool) -> bool {
    let online = HEXLOWER.encode(b"channel:online:");
    let all_there = recorded.iter().all(|(key, recorded)| match ours.get(key) {
        Some(ours) => {
            // What was kept a while ago lives less long already.
            let ttl = recorded.ttl - 30..=recorded.ttl + 5;
            ours.content == recorded.content && ttl.contains(&ours.ttl)
        }
        None => left && key.contains(&online),
    });
    let more = |key: &&String| !recorded.contains_key(*key);
    all_there && ours.keys().filter(more).all(|key| key.contains(&online))
}

#[test]
fn the_keys_are_those_of_push_server() {
    let recording = recording("redis_keys");
    let mut stage = Stage::new(&recording);
    let (mut compared, mut left) = (0, false);
    for step in recording["steps"].as_array().unwrap() {
        left |= ["ws-end", "poll-end"].contains(&text(step, "kind"));
        if text(step, "kind") != "redis-dump" {
            stage.play(step);
            continue;
        }
        let recorded = recorded(step);
        let began = std::time::Instant::now();
        while !agree(&stage.dump(), &recorded, left) {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "{:#?}\nrecorded {recorded:#?}",
                stage.dump()
            );
            thread::sleep(Duration::from_millis(10));
        }
        compared += 1;
    }
    assert_eq!(compared, 5);
}

#[test]
fn what_is_published_to_nodes_is_what_push_server_publishes() {
    let recording = recording("redis_pubsub");
    let mut stage = Stage::new(&recording);
    let mut listener = stage.redis.connection();
    let mut listener = listener.as_pubsub();
    listener.psubscribe("pushserver:*").unwrap();
    let mut compared = 0;
    for step in recording["steps"].as_array().unwrap() {
        if text(step, "kind") != "redis-pubsub" {
            stage.play(step);
            continue;
        }
        let came = listener.get_message().unwrap();
        let expected = bytes(step, "data");
        assert_eq!(undated(came.get_payload_bytes()), undated(&expected));
        compared += 1;
    }
    assert_eq!(compared, 3);
}

/// A notification without the time at which its message was published.
fn undated(payload: &[u8]) -> Notification {
    let mut notifications = decode_notifications(payload).unwrap();
    assert_eq!(notifications.len(), 1);
    let mut notification = notifications.remove(0);
    assert_eq!(encode_notification(&notification), payload);
    if let Content::Message(message) = &mut notification.content {
        message.created = 0;
    }
    notification
}
