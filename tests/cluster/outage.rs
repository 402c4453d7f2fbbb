//! Redis becomes unreachable and comes back.

use std::collections::HashSet;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use redis::Commands;
use tungstenite::WebSocket;

use super::redis_server::RedisServer;
use super::{bodies_of, listen, read, read_frame};
use crate::harness::{Server, get, send, wait_for};
use crate::push::{A, bodies, publish, signed, wait_until_online};

fn wait_until(node: &Server, up: bool) {
    wait_for(|| node.metric("pullgate_redis_up") == u64::from(up));
}

/// Publishes until it arrives, and reads up to it.
fn reaches(node: &Server, socket: &mut WebSocket<TcpStream>) {
    publish(node, A, "reached", 0);
    assert_eq!(bodies_of(&read(socket, 1)), ["reached"]);
}

#[test]
fn what_is_published_meanwhile_comes_in_order_afterwards() {
    let mut redis = RedisServer::start();
    let (a, b) = (redis.node(), redis.node());
    let (mut at_a, mut at_b) = (listen(&a, ""), listen(&b, ""));
    publish(&a, A, "before", 60);
    assert_eq!(bodies_of(&read(&mut at_a, 1)), ["before"]);
    assert_eq!(bodies_of(&read(&mut at_b, 1)), ["before"]);
    redis.kill();
    wait_until(&a, false);
    let began = Instant::now();
    thread::scope(|scope| {
        // Each waits a second in vain for Redis.
        for number in 0..20 {
            let a = &a;
            scope.spawn(move || publish(a, A, &number.to_string(), 60 * (number % 2)));
            wait_for(|| a.metric("pullgate_redis_publishes_waiting") == u64::from(number) + 1);
        }
    });
    assert!(began.elapsed() > Duration::from_secs(1));
    // A subscriber without mid is served, one with mid is told to come back.
    let channel = signed(&a, A);
    let target = format!("/bitrix/sub/?CHANNEL_ID={channel}&mid={}", "0".repeat(26));
    assert_eq!(get(&a.site, &target, &[]).status, 400);
    let mut late = listen(&a, "");
    redis.begin();
    let expected: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    for socket in [&mut at_a, &mut late] {
        let came = read(socket, 20);
        assert_eq!(bodies_of(&came), expected);
        assert!(came.is_sorted_by(|one, other| one.0 < other.0));
    }
    // The other node may come back later, and then gets what was stored: every second one.
    let mut came: Vec<(String, String)> = Vec::new();
    while came.last().is_none_or(|(_, body)| body != "19") {
        came.extend(read_frame(&mut at_b));
    }
    assert!(came.is_sorted_by(|one, other| one.0 < other.0));
    let stored = |body: &&str| body.parse::<u32>().unwrap() % 2 == 1;
    let bodies: Vec<&str> = bodies_of(&came).into_iter().filter(stored).collect();
    assert_eq!(bodies.len(), 10);
    wait_for(|| a.metric("pullgate_redis_publishes_waiting") == 0);
    assert!(a.metric("pullgate_redis_connections_total") >= 2);
    reaches(&b, &mut at_a);
}

#[test]
fn what_others_stored_while_a_node_was_cut_off_is_delivered() {
    let redis = RedisServer::start();
    let (a, b) = (redis.node(), redis.node());
    let mut at_a = listen(&a, "");
    let mut told = redis.connection();
    publish(&b, A, "before", 60);
    assert_eq!(bodies_of(&read(&mut at_a, 1)), ["before"]);
    let mut sent = 0;
    for _ in 0..5 {
        // Both nodes lose all their connections, and no message gets lost or comes twice.
        let _: () = redis::cmd("CLIENT")
            .arg(&["KILL", "TYPE", "pubsub"])
            .query(&mut told)
            .unwrap();
        for _ in 0..40 {
            publish(&b, A, &sent.to_string(), 60);
            sent += 1;
        }
    }
    let expected: Vec<String> = (0..sent).map(|number| number.to_string()).collect();
    assert_eq!(bodies_of(&read(&mut at_a, sent)), expected);
    reaches(&b, &mut at_a);
}

/// What is stored comes by reading, what is not stored by pub/sub alone.
#[test]
fn what_is_not_stored_keeps_its_place_when_a_gap_is_filled() {
    const GAPS: usize = 8;
    let redis = RedisServer::start();
    let b = redis.node();
    let mut told = redis.connection();
    let of_b = pubsub_clients(&mut told);
    let a = redis.node();
    let mut socket = listen(&a, "");
    let goes_on = AtomicBool::new(true);
    let sent = thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut sent = 0;
            while goes_on.load(Ordering::Relaxed) {
                publish(&b, A, &sent.to_string(), 60 * (sent % 2));
                sent += 1;
            }
            publish(&b, A, "end", 60);
            sent
        });
        for _ in 0..GAPS {
            let connections = a.metric("pullgate_redis_connections_total");
            for client in pubsub_clients(&mut told).difference(&of_b) {
                // It may have gone by itself.
                let _: i32 = redis::cmd("CLIENT")
                    .arg(&["KILL", "ID", client])
                    .query(&mut told)
                    .unwrap();
            }
            wait_for(|| a.metric("pullgate_redis_connections_total") > connections);
            wait_until(&a, true);
        }
        goes_on.store(false, Ordering::Relaxed);
        publisher.join().unwrap()
    });
    let mut came: Vec<(String, String)> = Vec::new();
    while came.last().is_none_or(|(_, body)| body != "end") {
        came.extend(read_frame(&mut socket));
    }
    came.pop();
    assert!(came.is_sorted_by(|one, other| one.0 < other.0));
    let numbers = came.iter().map(|(_, body)| body.parse::<u32>().unwrap());
    let stored: Vec<u32> = numbers.filter(|number| number % 2 == 1).collect();
    let expected: Vec<u32> = (0..sent).filter(|number| number % 2 == 1).collect();
    assert_eq!(stored, expected);
}

/// The ids of the connections for pub/sub.
fn pubsub_clients(redis: &mut redis::Connection) -> HashSet<String> {
    let list: String = redis::cmd("CLIENT")
        .arg(&["LIST", "TYPE", "pubsub"])
        .query(redis)
        .unwrap();
    let ids = list.lines().filter_map(|line| {
        let (id, _) = line.strip_prefix("id=")?.split_once(' ')?;
        Some(id.to_owned())
    });
    ids.collect()
}

#[test]
fn a_redis_that_came_back_empty_gives_no_id_twice() {
    let mut redis = RedisServer::start();
    let (a, b) = (redis.node(), redis.node());
    let (mut at_a, mut at_b) = (listen(&a, ""), listen(&b, ""));
    let mut last = String::new();
    let mut check = |node: &Server| {
        for _ in 0..5 {
            publish(node, A, "x", 60);
            let (mid, _) = read(&mut at_a, 1).remove(0);
            assert_eq!(read(&mut at_b, 1)[0].0, mid);
            assert!(mid > last, "{mid} after {last}");
            last = mid;
        }
        last.clone()
    };
    let first = check(&a);
    redis.kill();
    redis.begin();
    // The ten digits stay: push server processes go on with them.
    assert_eq!(check(&b)[..10], first[..10]);
    redis.kill();
    redis.begin();
    let mut told = redis.connection();
    let _: () = told.set("server:startdate", 1_000_000_000).unwrap();
    let _: () = told.set("server:messagecounter", 3).unwrap();
    assert_eq!(check(&a)[..10], first[..10]);
    // What is there is kept.
    let _: () = told.set("server:messagecounter", 77_000_000).unwrap();
    assert_eq!(check(&b)[10..], format!("{:016}", 77_000_005));
}

#[test]
fn too_much_that_waits_is_refused() {
    let mut redis = RedisServer::start();
    let node = redis.node_with("");
    let mut socket = listen(&node, "");
    reaches(&node, &mut socket);
    redis.kill();
    wait_until(&node, false);
    let large = "x".repeat(1 << 20);
    let target = format!("/bitrix/pub/?CHANNEL_ID={A}");
    let post = || {
        send(
            &node.publish,
            "POST",
            &target,
            &["Message-Expiry: 3600"],
            &large,
        )
        .status
    };
    // 64 MiB may wait: each of these counts a little more than 1 MiB.
    let statuses: Vec<u16> = thread::scope(|scope| {
        let posts: Vec<_> = (0..70).map(|_| scope.spawn(post)).collect();
        posts.into_iter().map(|post| post.join().unwrap()).collect()
    });
    let accepted = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(accepted, 63);
    assert!(statuses.iter().all(|status| [200, 503].contains(status)));
    assert_eq!(node.metric("pullgate_redis_publishes_refused_total"), 7);
    wait_for(|| node.log().contains("a publish was refused"));
    drop(socket);
    redis.begin();
    wait_for(|| node.metric("pullgate_redis_publishes_waiting") == 0);
    let stored: Vec<Vec<u8>> = redis.connection().keys("message:*").unwrap();
    assert_eq!(stored.len(), accepted);
}

#[test]
fn a_quiet_minute_without_redis_ends_well() {
    let mut redis = RedisServer::start();
    let (a, b) = (redis.node(), redis.node());
    let mut socket = listen(&a, "");
    reaches(&b, &mut socket);
    redis.kill();
    let began = Instant::now();
    // The socket must not see this as silence.
    socket
        .get_ref()
        .set_read_timeout(Some(Duration::from_secs(90)))
        .unwrap();
    wait_until(&a, false);
    wait_for(|| get(&a.admin(), "/readyz/push", &[]).status == 503);
    assert_eq!(get(&a.admin(), "/readyz", &[]).status, 200);
    thread::sleep(Duration::from_secs(60).saturating_sub(began.elapsed()));
    redis.begin();
    for node in [&a, &b] {
        wait_until(node, true);
        wait_for(|| get(&node.admin(), "/readyz/push", &[]).status == 200);
    }
    reaches(&b, &mut socket);
    reaches(&a, &mut socket);
}

#[test]
fn a_node_starts_without_redis() {
    let mut redis = RedisServer::start();
    redis.kill();
    let node = super::redis_server::start_with_history("", &redis.history());
    let admin = node.admin();
    assert_eq!(get(&admin, "/readyz", &[]).status, 503);
    assert_eq!(get(&admin, "/healthz", &[]).status, 200);
    let mut socket = listen(&node, "");
    publish(&node, A, "waits", 60);
    redis.begin();
    assert_eq!(bodies_of(&read(&mut socket, 1)), ["waits"]);
    wait_for(|| get(&admin, "/readyz", &[]).status == 200);
    wait_until_online(&node);
    let target = format!(
        "/bitrix/sub/?CHANNEL_ID={}&mid={}",
        signed(&node, A),
        "0".repeat(26)
    );
    assert_eq!(bodies(&get(&node.site, &target, &[]).body), ["waits"]);
}

#[test]
fn a_frozen_redis_is_given_up() {
    let redis = RedisServer::start();
    let node = redis.node();
    let mut socket = listen(&node, "");
    reaches(&node, &mut socket);
    redis.freeze();
    wait_until(&node, false);
    redis.thaw();
    wait_until(&node, true);
    reaches(&node, &mut socket);
}
