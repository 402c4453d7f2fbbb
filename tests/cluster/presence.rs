//! Who is online, at one node and at all.

use data_encoding::HEXLOWER;
use redis::Commands;
use tungstenite::Message as Frame;

use super::listen;
use super::redis_server::{RedisServer, start_with_history};
use crate::harness::{Server, get, wait_for};
use crate::push::{A, B, signed, websocket};

#[test]
fn who_is_online_at_one_node_is_online_at_all() {
    let redis = RedisServer::start();
    let (a, b) = (redis.node_with("ping_interval = \"5s\"\n"), redis.node());
    let both = format!("{}/{}", signed(&a, A), signed(&a, &format!("{B}:{A}")));
    let mut socket = websocket(&a, &format!("CHANNEL_ID={both}"));
    let target = format!("/bitrix/pub/?CHANNEL_ID={A}/{B}/{}", "0".repeat(32));
    let online = |node: &Server| get(&node.publish, &target, &[]).body;
    let expected = format!(
        r#"{{"infos":[{{"channel":"{A}","subscribers":1}},{{"channel":"{B}","subscribers":1}}]}}"#
    );
    wait_for(|| online(&a) == expected);
    wait_for(|| online(&b) == expected);
    // A mark is renewed by every pong.
    let mut marks = redis.connection();
    let key = |prefix: &str, hex: &str| {
        let id = HEXLOWER.decode(hex.as_bytes()).unwrap();
        [prefix.as_bytes(), &id].concat()
    };
    let ttl: i64 = marks.ttl(key("channel:online:", B)).unwrap();
    assert!((120..=130).contains(&ttl), "{ttl}");
    let public: String = marks.get(key("pubchannel:online:", A)).unwrap();
    assert_eq!(public, "1");
    let _: () = marks.del(key("channel:online:", B)).unwrap();
    assert!(!online(&b).contains(B));
    assert!(matches!(socket.read().unwrap(), Frame::Ping(_)));
    socket.flush().unwrap();
    wait_for(|| online(&b) == expected);
}

#[test]
fn who_has_left_every_node_is_offline() {
    let redis = RedisServer::start();
    let (a, b) = (redis.node(), redis.node());
    // Both have said that they are pullgate's.
    let mut told = redis.connection();
    wait_for(|| {
        told.keys::<_, Vec<String>>("pullgate:process:*")
            .unwrap()
            .len()
            == 2
    });
    let target = format!("/bitrix/pub/?CHANNEL_ID={A}");
    let online = |node: &Server| get(&node.publish, &target, &[]).body.contains(A);
    let (mut at_a, mut at_b) = (listen(&a, ""), listen(&b, ""));
    // So that both marks are there.
    let marks = [
        b"pullgate:channel:online:".as_slice(),
        &HEXLOWER.decode(A.as_bytes()).unwrap(),
    ];
    let marks = marks.concat();
    wait_for(|| told.zcard::<_, usize>(&marks).unwrap() == 2);
    at_a.close(None).unwrap();
    drop(at_a);
    wait_for(|| told.zcard::<_, usize>(&marks).unwrap() == 1);
    assert!(online(&a) && online(&b));
    at_b.close(None).unwrap();
    drop(at_b);
    wait_for(|| !online(&a) && !online(&b));

    // Where push server runs too, nobody knows who listens there: the mark goes by itself.
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let report = format!("{{\"pid\":1,\"date\":{now},\"processUniqueId\":\"n0de\"}}");
    let _: () = told.hset("stats", "n0de", report).unwrap();
    let socket = listen(&a, "");
    wait_for(|| told.zcard::<_, usize>(&marks).unwrap() == 1);
    drop(socket);
    wait_for(|| told.zcard::<_, usize>(&marks).unwrap() == 0);
    assert!(online(&a) && online(&b));
}

#[test]
fn between_two_polls_a_client_stays_online() {
    let redis = RedisServer::start();
    let disk = String::new();
    let memory = "[history]\nengine = \"memory\"\n".to_owned();
    for history in [disk, memory, redis.history()] {
        let poll = "poll_timeout = \"1s\"\n";
        let node = start_with_history(poll, &history);
        if history.contains("redis") {
            let mut told = redis.connection();
            wait_for(|| told.exists::<_, bool>("stats").unwrap());
        }
        let target = format!("/bitrix/pub/?CHANNEL_ID={A}");
        let online = || get(&node.publish, &target, &[]).body.contains(A);
        assert!(!online());
        let poll = format!("/bitrix/sub/?CHANNEL_ID={}", signed(&node, A));
        for _ in 0..2 {
            assert_eq!(get(&node.site, &poll, &[]).status, 304);
            assert!(online());
        }
        wait_for(|| !online());
        // A websocket says when it goes.
        drop(listen(&node, ""));
        wait_for(|| !online());
    }
}
