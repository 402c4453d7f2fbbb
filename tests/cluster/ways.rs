//! The ways to Redis: a unix socket, TLS, a user with few rights, Sentinel.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tungstenite::Message as Frame;

use super::redis_server::{RedisServer, start_with_history};
use super::{bodies_of, listen, read};
use crate::harness::{Group, SIGNATURE_KEY, Server, free_port, get, root, wait_for};
use crate::push::{A, publish, signed, websocket};

fn history(url: &str) -> String {
    format!("[history]\nengine = \"redis\"\nredis_url = \"{url}\"\n")
}

/// Publishes through Redis and catches up from it.
fn works(node: &Server) {
    wait_for(|| node.log().contains("connected to Redis"));
    let mut socket = listen(node, "");
    publish(node, A, "stored", 60);
    assert_eq!(bodies_of(&read(&mut socket, 1)), ["stored"]);
    let mut later = listen(node, &format!("&mid={}", "0".repeat(26)));
    assert_eq!(bodies_of(&read(&mut later, 1)), ["stored"]);
    // No password is ever shown.
    assert!(!node.log().contains("hush"), "{}", node.log());
}

#[test]
fn a_unix_socket_and_a_database() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("redis.sock");
    let socket = socket.to_str().unwrap();
    let _redis = RedisServer::start_with(&["--unixsocket", socket]);
    works(&start_with_history(
        "",
        &history(&format!("redis+unix://{socket}?db=3")),
    ));
}

#[test]
fn a_user_who_may_do_what_is_documented() {
    let text = fs::read_to_string(root().join("docs/history.md")).unwrap();
    let (_, rights) = text.split_once("ACL SETUSER pullgate ").unwrap();
    let rights = rights.lines().next().unwrap();
    let mut arguments = vec!["--user", "pullgate"];
    let rights = rights.replace(">password", ">hush");
    arguments.extend(rights.split(' '));
    let redis = RedisServer::start_with(&arguments);
    let url = format!("redis://pullgate:hush@127.0.0.1:{}", redis.port);
    let node = start_with_history("", &history(&url));
    works(&node);
    let stats = get(&node.publish, "/server-stat/", &[]).json();
    assert_eq!(stats.as_array().unwrap().len(), 1);
    assert!(!node.log().contains("NOPERM"), "{}", node.log());
}

#[test]
fn a_redis_that_refuses_to_read_means_4011() {
    // Recording error_4011.
    let acl = [
        "--user",
        "pullgate",
        "on",
        "nopass",
        "~*",
        "&*",
        "+@all",
        "-zrevrangebylex",
    ];
    let redis = RedisServer::start_with(&acl);
    let history = redis.history().replace("redis://", "redis://pullgate:x@");
    let node = start_with_history("", &history);
    wait_for(|| node.log().contains("connected to Redis"));
    let channel = signed(&node, A);
    let zeros = "0".repeat(26);
    for mode in ["", "&binaryMode=true"] {
        let target = format!("/bitrix/subws/?CHANNEL_ID={channel}&mid={zeros}{mode}");
        let answer = get(&node.site, &target, &[]);
        let expected = "4011: Couldn't get last messages.";
        assert_eq!((answer.status, answer.body.as_str()), (400, expected));
        let exposed = answer.header("access-control-expose-headers");
        assert_eq!(exposed, Some("Last-Message-Id"));
    }
    let mut refused = websocket(&node, &format!("CHANNEL_ID={channel}&mid={zeros}"));
    let Frame::Close(Some(close)) = refused.read().unwrap() else {
        panic!("no close frame")
    };
    assert_eq!(
        (u16::from(close.code), close.reason.as_str()),
        (4011, "4011: Couldn't get last messages.")
    );
    let mut served = listen(&node, "");
    publish(&node, A, "live", 60);
    assert_eq!(bodies_of(&read(&mut served, 1)), ["live"]);
}

#[test]
fn tls_to_a_server_whose_authority_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (key, certificate) = (file("key.pem"), file("cert.pem"));
    let made = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", &key, "-out", &certificate])
        .stderr(Stdio::null())
        .status()
        .expect("openssl is installed");
    assert!(made.success());
    let port = free_port().to_string();
    let _redis = RedisServer::start_with(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-auth-clients",
        "no",
        "--requirepass",
        "",
    ]);
    let config = format!(
        "[push]\nsignature_key = \"{SIGNATURE_KEY}\"\n{}",
        history(&format!("rediss://localhost:{port}"))
    );
    let nowhere = "http://127.0.0.1:1";
    works(&Server::start_believing(
        Path::new(&certificate),
        nowhere,
        &config,
    ));
    let distrustful = Server::start(nowhere, &config);
    wait_for(|| distrustful.log().contains("Redis is unreachable"));
    assert!(!distrustful.log().contains("connected to Redis"));
}

/// Watches one master, and makes its replica the master after a second.
struct Sentinel {
    _process: Group,
    port: u16,
    _directory: TempDir,
}

impl Sentinel {
    fn start(master: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("sentinel.conf");
        let port = free_port();
        let text = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 {master} 1\n\
             sentinel down-after-milliseconds mymaster 1000\n\
             sentinel failover-timeout mymaster 3000\n"
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new("redis-server");
        command.arg(&config).arg("--sentinel").stdout(Stdio::null());
        Self {
            _process: Group::spawn(&mut command),
            port,
            _directory: directory,
        }
    }

    fn knows_replica(&self) -> bool {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap();
        let Ok(mut connection) = client.get_connection() else {
            return false;
        };
        let replicas: Result<Vec<redis::Value>, _> = redis::cmd("SENTINEL")
            .arg(&["replicas", "mymaster"])
            .query(&mut connection);
        replicas.is_ok_and(|replicas| !replicas.is_empty())
    }
}

#[test]
fn sentinels_tell_of_the_new_master() {
    let mut master = RedisServer::start();
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    let sentinel = Sentinel::start(master.port);
    wait_for(|| sentinel.knows_replica());
    let url = format!("redis+sentinel://127.0.0.1:{}/mymaster/0", sentinel.port);
    let node = start_with_history("", &history(&url));
    works(&node);
    // What is stored is with the replica before the master goes.
    let copied = || {
        let keys: Vec<Vec<u8>> = redis::cmd("KEYS")
            .arg("message:*")
            .query(&mut replica.connection())
            .unwrap();
        keys.len() == 1
    };
    wait_for(copied);
    master.kill();
    publish(&node, A, "after", 60);
    let connected = || node.log().matches("connected to Redis").count() >= 2;
    wait_for(connected);
    wait_for(|| node.metric("pullgate_redis_publishes_waiting") == 0);
    let mut later = listen(&node, &format!("&mid={}", "0".repeat(26)));
    assert_eq!(bodies_of(&read(&mut later, 2)), ["stored", "after"]);
}
