//! Several nodes on one Redis: pullgate's own, and one that behaves as push server does.

pub(crate) mod outage;
mod presence;
mod recorded;
pub(crate) mod redis_server;
mod sites;
mod ways;

use std::collections::HashSet;
use std::net::TcpStream;
use std::thread;

use data_encoding::HEXLOWER;
use pullgate_compat::channel::{ChannelId, Receiver};
use pullgate_compat::message::{Body, Message, MessageId, Sender};
use pullgate_compat::wire::{
    Content, Notification, Recipient, decode_message, decode_notifications, encode_message,
    encode_notification,
};
use redis::Commands;
use tungstenite::{Message as Frame, WebSocket};

use crate::harness::{Server, get, wait_for};
use crate::push::{A, B, bodies, mid, publish, signed, wait_until_online, websocket};
use redis_server::RedisServer;

/// Reads `count` text messages: their ids and bodies.
pub(crate) fn read(socket: &mut WebSocket<TcpStream>, count: usize) -> Vec<(String, String)> {
    let mut read = Vec::new();
    while read.len() < count {
        read.extend(read_frame(socket));
    }
    assert_eq!(read.len(), count, "{read:?}");
    read
}

/// The messages of the next frame.
pub(crate) fn read_frame(socket: &mut WebSocket<TcpStream>) -> Vec<(String, String)> {
    let frame = socket.read().unwrap();
    let Frame::Text(messages) = &frame else {
        return Vec::new();
    };
    let messages = messages.as_str().split_inclusive("#!NGINXNME!#");
    messages
        .map(|message| (mid(message).to_owned(), bodies(message)[0].to_owned()))
        .collect()
}

pub(crate) fn bodies_of(read: &[(String, String)]) -> Vec<&str> {
    read.iter().map(|(_, body)| body.as_str()).collect()
}

/// A websocket on channel A that the node has registered.
pub(crate) fn listen(node: &Server, query: &str) -> WebSocket<TcpStream> {
    let channel = signed(node, A);
    let socket = websocket(node, &format!("CHANNEL_ID={channel}{query}"));
    wait_until_online(node);
    socket
}

fn id_of(hex: &str) -> ChannelId {
    let bytes = HEXLOWER.decode(hex.as_bytes()).unwrap();
    ChannelId::from_bytes(bytes.try_into().unwrap())
}

#[test]
fn what_is_published_at_one_node_comes_in_order_at_the_other() {
    const PUBLISHERS: usize = 4;
    const MESSAGES: usize = 500;
    let redis = RedisServer::start();
    let (a, b) = (redis.node(), redis.node());
    let mut at_a = listen(&a, "");
    let mut at_b = listen(&b, "");
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let node = if publisher % 2 == 0 { &a } else { &b };
            scope.spawn(move || {
                for number in 0..MESSAGES {
                    let expiry = if number % 3 == 0 { 0 } else { 60 };
                    publish(node, A, &format!("{publisher} {number}"), expiry);
                }
            });
        }
        let of_a = scope.spawn(|| read(&mut at_a, PUBLISHERS * MESSAGES));
        let of_b = scope.spawn(|| read(&mut at_b, PUBLISHERS * MESSAGES));
        let (of_a, of_b) = (of_a.join().unwrap(), of_b.join().unwrap());
        assert!(of_a.is_sorted_by(|one, other| one.0 < other.0));
        assert_eq!(of_a, of_b);
        for publisher in 0..PUBLISHERS {
            let prefix = format!("{publisher} ");
            let numbers: Vec<usize> = of_a
                .iter()
                .filter_map(|(_, body)| body.strip_prefix(&prefix)?.parse().ok())
                .collect();
            assert_eq!(numbers, (0..MESSAGES).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_killed_node_loses_nothing_that_was_stored() {
    let redis = RedisServer::start();
    let (a, b) = (redis.node(), redis.node());
    let mut socket = listen(&a, "");
    for number in 0..10 {
        publish(&a, A, &number.to_string(), 60);
    }
    let before = read(&mut socket, 10);
    let last = before[4].0.clone();
    a.kill();
    for number in 10..20 {
        publish(&b, A, &number.to_string(), 60);
    }
    let mut socket = listen(&b, &format!("&mid={last}"));
    let missed = read(&mut socket, 15);
    let expected: Vec<String> = (5..20).map(|number| number.to_string()).collect();
    assert_eq!(bodies_of(&missed), expected);
    // Live goes on behind it, and another node is as good as the first.
    let c = redis.node();
    publish(&c, A, "live", 0);
    assert_eq!(bodies_of(&read(&mut socket, 1)), ["live"]);
}

#[test]
fn catching_up_sees_a_message_on_two_channels_once() {
    let redis = RedisServer::start();
    let node = redis.node();
    publish(&node, &format!("{A}/{B}"), "both", 60);
    publish(&node, B, "second", 60);
    let channels = format!("{}/{}", signed(&node, A), signed(&node, B));
    let target = format!("/bitrix/sub/?CHANNEL_ID={channels}&mid={}", "0".repeat(26));
    let answer = get(&node.site, &target, &[]);
    assert_eq!(bodies(&answer.body), ["both", "second"]);
    let mut socket = websocket(&node, &format!("CHANNEL_ID={channels}"));
    wait_until_online(&node);
    publish(&node, &format!("{A}/{B}"), "live", 60);
    publish(&node, A, "end", 0);
    assert_eq!(bodies_of(&read(&mut socket, 2)), ["live", "end"]);
}

/// What push server does for one message.
fn publish_as_push_server(redis: &RedisServer, receivers: &[Receiver], body: &str, expiry: u32) {
    let mut redis = redis.connection();
    let _: () = redis::cmd("SETNX")
        .arg("server:startdate")
        .arg(1_700_000_000)
        .query(&mut redis)
        .unwrap();
    let start: u32 = redis.get("server:startdate").unwrap();
    let counter: u64 = redis.incr("server:messagecounter", 1).unwrap();
    let message = Message {
        id: MessageId::new(start, counter),
        body: Body::from(body.to_owned()),
        expiry,
        created: 1_700_000_000,
        sender: Sender::Backend,
    };
    if expiry > 0 {
        let mut transaction = redis::pipe();
        transaction.atomic().set_ex(
            [b"message:", message.id.as_bytes().as_slice()].concat(),
            encode_message(&message),
            expiry.into(),
        );
        for receiver in receivers {
            let (prefix, id) = match receiver {
                Receiver::Private(id) => ("channel:messages:", id.as_bytes()),
                Receiver::Public(id) => ("pubchannel:messages:", id.as_bytes()),
            };
            let key = [prefix.as_bytes(), id].concat();
            transaction.zadd(key, message.id.as_bytes(), 0);
        }
        let _: () = transaction.query(&mut redis).unwrap();
    }
    let recipients = receivers.iter().map(|receiver| Recipient {
        receiver: *receiver,
        signature: Vec::new(),
    });
    let notification = encode_notification(&Notification {
        recipients: recipients.collect(),
        content: Content::Message(message),
    });
    let _: () = redis.publish("pushserver:n0de", notification).unwrap();
}

#[test]
fn a_push_server_process_is_a_node_like_any_other() {
    let redis = RedisServer::start();
    let node = redis.node();
    let mut socket = listen(&node, "");
    let mut others = redis.connection();
    let mut others = others.as_pubsub();
    others.psubscribe("pushserver:*").unwrap();
    let a = Receiver::Private(id_of(A));

    publish_as_push_server(&redis, &[a], "from a push server", 60);
    publish_as_push_server(&redis, &[a], "not stored", 0);
    publish(&node, A, "from pullgate", 60);
    let live = read(&mut socket, 3);
    let expected = ["from a push server", "not stored", "from pullgate"];
    assert_eq!(bodies_of(&live), expected);

    // It sees what pullgate publishes, and finds it as its own.
    let seen = (0..3).map(|_| others.get_message().unwrap());
    let last = seen.last().unwrap();
    let name = last.get_channel_name().strip_prefix("pushserver:").unwrap();
    assert!(name.len() == 8 && name.chars().all(|c| c.is_ascii_alphanumeric()));
    let notified = decode_notifications(last.get_payload_bytes()).unwrap();
    let Content::Message(published) = &notified[0].content else {
        panic!("no message in {notified:?}")
    };
    let mut redis_now = redis.connection();
    let key = [b"message:", published.id.as_bytes().as_slice()].concat();
    let stored: Vec<u8> = redis_now.get(key).unwrap();
    assert_eq!(decode_message(&stored).unwrap(), *published);

    // And pullgate catches up on what the other stored.
    let target = format!(
        "/bitrix/sub/?CHANNEL_ID={}&mid={}",
        signed(&node, A),
        "0".repeat(26)
    );
    let answer = get(&node.site, &target, &[]);
    assert_eq!(
        bodies(&answer.body),
        ["from a push server", "from pullgate"]
    );
    // A message that comes with a smaller id than the last one, as theirs may, is delivered.
    let late = Message {
        id: MessageId::new(1_700_000_000, 1),
        body: Body::from("late"),
        expiry: 0,
        created: 0,
        sender: Sender::Backend,
    };
    let notification = encode_notification(&Notification {
        recipients: vec![Recipient {
            receiver: a,
            signature: Vec::new(),
        }],
        content: Content::Message(late),
    });
    let _: () = redis_now.publish("pushserver:n0de", notification).unwrap();
    assert_eq!(bodies_of(&read(&mut socket, 1)), ["late"]);
    // Nonsense on their channel does not stop anything.
    let _: () = redis_now.publish("pushserver:n0de", "\u{1}\u{2}").unwrap();
    publish(&node, A, "still there", 0);
    assert_eq!(bodies_of(&read(&mut socket, 1)), ["still there"]);
}

#[test]
fn a_catch_up_is_not_ahead_of_what_comes_live() {
    let redis = RedisServer::start();
    let node = redis.node();
    publish(&node, A, "before", 60);
    // Two that have their ids, of which the second is stored already, but not told of.
    let mut redis_now = redis.connection();
    let start: u32 = redis_now.get("server:startdate").unwrap();
    let counter: u64 = redis_now.incr("server:messagecounter", 2).unwrap();
    let message = |body: &str, counter: u64, expiry: u32| Message {
        id: MessageId::new(start, counter),
        body: Body::from(body.to_owned()),
        expiry,
        created: 1_700_000_000,
        sender: Sender::Backend,
    };
    let messages = [
        message("not stored", counter - 1, 0),
        message("stored", counter, 60),
    ];
    let id = messages[1].id;
    let stored = [b"message:", id.as_bytes().as_slice()].concat();
    let _: () = redis_now
        .set_ex(stored, encode_message(&messages[1]), 60)
        .unwrap();
    let list = [b"channel:messages:", id_of(A).as_bytes().as_slice()].concat();
    let _: () = redis_now.zadd(list, id.as_bytes(), 0).unwrap();
    let mut socket = listen(&node, &format!("&mid={}", "0".repeat(26)));
    assert_eq!(bodies_of(&read(&mut socket, 1)), ["before"]);
    for message in messages {
        let notification = encode_notification(&Notification {
            recipients: vec![Recipient {
                receiver: Receiver::Private(id_of(A)),
                signature: Vec::new(),
            }],
            content: Content::Message(message),
        });
        let _: () = redis_now.publish("pushserver:n0de", notification).unwrap();
    }
    let live = read(&mut socket, 2);
    assert_eq!(bodies_of(&live), ["not stored", "stored"]);
}

#[test]
fn statistics_tell_of_all_nodes() {
    let redis = RedisServer::start();
    let (a, b) = (redis.node(), redis.node());
    let mut redis_now = redis.connection();
    let old = r#"{"pid":1,"date":1700000000000,"processUniqueId":"old"}"#;
    let _: () = redis_now.hset("stats", "old", old).unwrap();
    let pids = |node: &Server| -> HashSet<u64> {
        let processes = get(&node.publish, "/server-stat/", &[]).json();
        let processes = processes.as_array().unwrap();
        assert!(
            processes
                .iter()
                .all(|process| process["clusterMode"] == true)
        );
        processes
            .iter()
            .map(|process| process["pid"].as_u64().unwrap())
            .collect()
    };
    let both = HashSet::from([u64::from(a.pid()), u64::from(b.pid())]);
    wait_for(|| pids(&a) == both);
    wait_for(|| pids(&b) == both);
    wait_for(|| !redis_now.hexists::<_, _, bool>("stats", "old").unwrap());
}

#[test]
fn guests_of_two_nodes_have_different_numbers() {
    let mut redis = RedisServer::start();
    let upstream = crate::guests::numbers();
    let secret = "0123456789abcdef0123456789abcdef";
    let config = format!(
        "[guest]\nsecrets = [\"{secret}\"]\nnew_per_minute = 1000\n{}",
        redis.history()
    );
    let nodes = [
        Server::start(&upstream, &config),
        Server::start(&upstream, &config),
    ];
    let number = |node: &Server| {
        let number = get(&node.site, "/", &crate::guests::PAGE).body;
        number.starts_with('-').then_some(number)
    };
    for node in &nodes {
        wait_for(|| number(node).is_some());
    }
    let mut seen = HashSet::new();
    for round in 0..200 {
        let number = number(&nodes[round % 2]).unwrap();
        assert!(seen.insert(number.clone()), "{number} twice");
    }
    let mut redis_now = redis.connection();
    // Each has reserved the next block, too.
    wait_for(|| redis_now.get::<_, u64>("pullgate:guest_ids").unwrap() >= 4 * 4096);
    // Redis forgets them; the nodes do not.
    redis.kill();
    redis.begin();
    wait_for(|| redis.connection().exists("pullgate:guest_ids").unwrap());
    let third = Server::start(&upstream, &config);
    wait_for(|| number(&third).is_some());
    for node in nodes.iter().chain([&third]) {
        // What was reserved may be somebody's since, and is not given.
        let mut given = None;
        wait_for(|| {
            given = number(node);
            given.is_some()
        });
        let number = given.unwrap();
        assert!(seen.insert(number.clone()), "{number} twice");
    }
}

#[test]
fn a_stop_publishes_what_was_accepted() {
    let redis = RedisServer::start();
    let (a, b) = (redis.node(), redis.node());
    let mut socket = listen(&b, "");
    for number in 0..50 {
        publish(&a, A, &number.to_string(), 0);
    }
    assert!(a.terminate().0);
    assert_eq!(read(&mut socket, 50)[49].1, "49");
}
