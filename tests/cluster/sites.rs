//! Several sites of one pullgate on one Redis, by prefix, by database and by both: on two nodes each is a site of
//! its own.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::sync::Arc;

use redis::{Commands, Connection};
use tungstenite::WebSocket;

use super::redis_server::{RedisServer, start_with_history};
use super::{bodies_of, read};
use crate::guests::{PAGE, SECRET, numbers};
use crate::harness::{SIGNATURE_KEY, Server, get, pullgate, send, wait_for};
use crate::push::{A, B, bodies, publish, websocket_at};
use crate::reload::reload;

/// Name, database and prefix.
type Place = (&'static str, i64, &'static str);

const SITES: [Place; 4] = [
    ("plain", 0, ""),
    ("prefix", 0, "b:"),
    ("database", 2, ""),
    ("both", 2, "b:"),
];

/// A site at a node: where clients come, and where its PHP publishes.
struct Site<'a> {
    node: &'a Server,
    name: &'static str,
    clients: String,
    publish: String,
}

/// The tables of a site in a node's configuration.
fn tables(redis: &RedisServer, (name, database, prefix): &Place) -> String {
    let mut text = String::new();
    for role in ["site", "publish"] {
        text += &format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"{role}\"\nsite = \"{name}\"\n"
        );
    }
    let url = redis.url();
    text += &format!(
        "[[site]]\nname = \"{name}\"\nhosts = [\"{name}.example\"]\n\
         history.redis_url = \"{url}/{database}\"\n"
    );
    if !prefix.is_empty() {
        text += &format!("history.redis_prefix = \"{prefix}\"\n");
    }
    text
}

/// A node with these sites, each with listeners of its own.
fn node(redis: &RedisServer, sites: &[Place]) -> Server {
    let back_end = numbers();
    let mut text = format!(
        "[server]\nstate_dir = \"state\"\nthreads = 2\n[upstream]\nurl = \"{back_end}\"\n{SECRET}\
         [push]\nsignature_key = \"{SIGNATURE_KEY}\"\n[history]\nengine = \"redis\"\n"
    );
    text.extend(sites.iter().map(|site| tables(redis, site)));
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let node = Server::run_as_configured(pullgate(), directory, &text);
    let connected = || node.log().matches("connected to Redis").count() == sites.len();
    wait_for(connected);
    node
}

fn sites<'a>(node: &'a Server, places: &[Place]) -> Vec<Site<'a>> {
    let site = |(name, _, _): &Place| Site {
        node,
        name,
        clients: node.address(&format!("role=site site={name}")),
        publish: node.address(&format!("role=publish site={name}")),
    };
    places.iter().map(site).collect()
}

impl Site<'_> {
    fn signed(&self, channel: &str) -> String {
        let config = self.node.directory.path().join("pullgate.toml");
        let mut command = pullgate();
        command.args(["sign", "--site", self.name, channel, "--config"]);
        let output = command.arg(config).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// To `CHANNEL_ID=…` or `USER_ID=…`.
    fn publish(&self, to: &str, body: &str, expiry: u32) {
        let target = format!("/bitrix/pub/?{to}");
        let expiry = format!("Message-Expiry: {expiry}");
        let answer = send(&self.publish, "POST", &target, &[&expiry], body);
        assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    }

    fn is_online(&self) -> bool {
        let target = format!("/bitrix/pub/?CHANNEL_ID={A}");
        get(&self.publish, &target, &[]).body.contains(A)
    }

    /// A websocket on channel A that is registered.
    fn listen(&self) -> WebSocket<TcpStream> {
        let target = format!("/bitrix/subws/?CHANNEL_ID={}", self.signed(A));
        let socket = websocket_at(&self.clients, &target);
        wait_for(|| self.is_online());
        socket
    }

    fn stored(&self, channel: &str) -> Vec<String> {
        let (channel, all) = (self.signed(channel), "0".repeat(26));
        let target = format!("/bitrix/sub/?CHANNEL_ID={channel}&mid={all}");
        let answer = get(&self.clients, &target, &[]);
        let bodies = bodies(&answer.body).into_iter();
        bodies.map(str::to_owned).collect()
    }

    /// Of a new guest.
    fn number(&self) -> i64 {
        let mut number = None;
        wait_for(|| {
            number = get(&self.clients, "/", &PAGE).body.parse().ok();
            number.is_some()
        });
        number.unwrap()
    }

    fn moved(&self) -> u64 {
        let target = format!("/pullgate/login?guest=-1&channel={B}");
        let answer = send(&self.publish, "POST", &target, &[], "");
        answer.json()["moved"].as_u64().unwrap()
    }
}

/// All keys of a database.
fn keys(redis: &RedisServer, database: i64) -> BTreeSet<Vec<u8>> {
    let mut connection = in_database(redis, database);
    let keys = connection.scan::<Vec<u8>>().unwrap();
    keys.map(Result::unwrap).collect()
}

fn in_database(redis: &RedisServer, database: i64) -> Connection {
    let url = format!("{}/{database}", redis.url());
    redis::Client::open(url).unwrap().get_connection().unwrap()
}

#[test]
fn one_channel_id_is_a_channel_of_each_site_at_both_nodes() {
    let redis = RedisServer::start();
    let nodes = [node(&redis, &SITES), node(&redis, &SITES)];
    let [one, other] = nodes.each_ref().map(|node| sites(node, &SITES));

    // Who is online at one site is so at both nodes, and at no other site.
    let mut sockets = Vec::new();
    for (index, site) in one.iter().enumerate() {
        for later in &one[index..] {
            assert!(!later.is_online(), "{}", later.name);
        }
        sockets.push((site.listen(), other[index].listen()));
        for later in &other[index + 1..] {
            assert!(!later.is_online(), "{}", later.name);
        }
    }

    // Live: what any site of the one node publishes, its own subscribers at both hear.
    let channel = format!("CHANNEL_ID={A}");
    for number in 0..20 {
        for site in &one {
            site.publish(&channel, &format!("{} {number}", site.name), 60);
        }
    }
    for site in &other {
        site.publish(&channel, "end", 0);
    }
    for (site, (here, there)) in one.iter().zip(&mut sockets) {
        let stored: Vec<String> = (0..20)
            .map(|number| format!("{} {number}", site.name))
            .collect();
        let expected = [stored.clone(), vec!["end".to_owned()]].concat();
        for socket in [here, there] {
            assert_eq!(bodies_of(&read(socket, 21)), expected);
        }
        assert_eq!(site.stored(A), stored);
    }
}

#[test]
fn guests_of_each_site_have_its_own_numbers_and_messages() {
    let redis = RedisServer::start();
    let nodes = [node(&redis, &SITES), node(&redis, &SITES)];
    let [one, other] = nodes.each_ref().map(|node| sites(node, &SITES));
    for (here, there) in one.iter().zip(&other) {
        let numbers = [here.number(), there.number()];
        assert!(numbers.contains(&-1), "{numbers:?}");
        assert_ne!(numbers[0], numbers[1]);
        here.publish("USER_ID=-1", &format!("to a guest of {}", here.name), 60);
    }
    for (here, there) in one.iter().zip(&other) {
        assert_eq!(there.moved(), 1, "{}", here.name);
        assert_eq!(here.moved(), 0, "{}", here.name);
        let own = format!("to a guest of {}", here.name);
        assert_eq!(here.stored(B), [own]);
    }
}

/// Whatever a site does that has a name in Redis; somebody listens in the end.
fn do_everything(site: &Site<'_>) -> WebSocket<TcpStream> {
    let socket = site.listen();
    site.publish(&format!("CHANNEL_ID={A}"), "live", 60);
    site.number();
    site.publish("USER_ID=-1", "to a guest", 60);
    assert_eq!(site.moved(), 1);
    drop(socket);
    wait_for(|| !site.is_online());
    let statistics = get(&site.publish, "/server-stat/", &[]).json();
    assert_eq!(statistics.as_array().unwrap().len(), 1);
    site.listen()
}

#[test]
fn every_name_begins_with_the_prefix() {
    const PREFIXED: [Place; 2] = [SITES[1], SITES[3]];
    let redis = RedisServer::start();
    let mut all = redis.connection();
    let mut all = all.as_pubsub();
    all.psubscribe("*").unwrap();
    let node = node(&redis, &PREFIXED);
    for (site, (_, database, prefix)) in sites(&node, &PREFIXED).iter().zip(PREFIXED) {
        let mut told = in_database(&redis, database);
        wait_for(|| told.exists(format!("{prefix}stats")).unwrap());
        let _listens = do_everything(site);
        for kind in [
            "server:startdate",
            "server:messagecounter",
            "stats",
            "message:",
            "channel:messages:",
            "channel:online:",
            "pullgate:channel:online:",
            "pullgate:process:",
            "pullgate:carried:",
            "pullgate:moved:1",
            "pullgate:guest_ids",
        ] {
            let name = format!("{prefix}{kind}");
            // A mark of who is online comes a little later than its client.
            wait_for(|| {
                let keys = keys(&redis, database);
                keys.iter().any(|key| key.starts_with(name.as_bytes()))
            });
        }
        let keys = keys(&redis, database);
        let others = |key: &&Vec<u8>| !key.starts_with(prefix.as_bytes());
        assert_eq!(keys.iter().find(others), None);
    }
    // Each of the two publishes, and has signs of life.
    let mut missing = BTreeSet::from([
        "b:pushserver:",
        "b:pullgate:",
        "b:db2:pushserver:",
        "b:db2:pullgate:",
    ]);
    while !missing.is_empty() {
        let message = all.get_message().unwrap();
        let (kind, _) = message.get_channel_name().rsplit_once(':').unwrap();
        let kind = format!("{kind}:");
        assert!(kind.starts_with("b:"), "{kind}");
        missing.remove(kind.as_str());
    }
}

#[test]
fn a_site_that_is_removed_leaves_redis() {
    let redis = RedisServer::start();
    let node = node(&redis, &SITES[..2]);
    let mut admin = redis.connection();
    let mut connections = || {
        let list: String = redis::cmd("CLIENT").arg("LIST").query(&mut admin).unwrap();
        list.lines().count() - 1
    };
    wait_for(|| connections() == 4);
    let told = reload(&node, &tables(&redis, &SITES[1]), "");
    assert!(told.contains("site prefix: removed"), "{told}");
    wait_for(|| connections() == 2);
    let sites = sites(&node, &SITES[..1]);
    sites[0].publish(&format!("CHANNEL_ID={A}"), "still there", 600);
    assert_eq!(sites[0].stored(A), ["still there"]);
}

#[test]
fn a_single_site_says_nothing_of_its_database() {
    let redis = RedisServer::start();
    let third = format!("{}/3", redis.url());
    let history = redis.history().replace(&redis.url(), &third);
    let node = start_with_history("", &history);
    wait_for(|| node.log().contains("connected to Redis"));
    let mut all = redis.connection();
    let mut all = all.as_pubsub();
    all.psubscribe("*pushserver:*").unwrap();
    publish(&node, A, "as push server", 60);
    let message = all.get_message().unwrap();
    assert!(message.get_channel_name().starts_with("pushserver:"));
}
