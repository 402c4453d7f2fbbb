//! SIGHUP: the configuration is read again, what can change does, and nobody is disconnected for it.

mod load;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use tungstenite::{Message, WebSocket};

use crate::harness::{
    Response, SIGNATURE_KEY, Server, connect, get, pullgate, read_head, send, signal, upstream,
    wait_for,
};
use crate::push::{A, B, publish, signed, start, websocket};

/// A site that answers every request with one word, on connections of their own.
pub(crate) fn site(word: &'static str) -> String {
    upstream(move |mut stream, _| {
        let length = word.len();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all(format!("{head}{word}").as_bytes());
    })
}

/// Replaces a part of the configuration, and reloads it: the log lines that tell of it.
pub(crate) fn reload(server: &Server, from: &str, to: &str) -> String {
    let file = server.directory.path().join("pullgate.toml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{from:?} is not in {text}");
    fs::write(&file, text.replacen(from, to, 1)).unwrap();
    read_again(server)
}

/// Has the configuration read again: the log lines that tell of it.
pub(crate) fn read_again(server: &Server) -> String {
    let before = server.log().len();
    signal(server.pid(), "HUP");
    let told = || server.log()[before..].to_owned();
    wait_for(|| {
        let told = told();
        told.contains("was read again") || told.contains("nothing was changed")
    });
    told()
}

/// The next text, or the close frame.
fn next(client: &mut WebSocket<TcpStream>) -> String {
    loop {
        match client.read().unwrap() {
            Message::Text(text) => return text.to_string(),
            Message::Close(close) => return format!("{close:?}"),
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

fn page(server: &Server, host: &str) -> Response {
    let mut stream = connect(&server.site);
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    crate::harness::read_response(stream)
}

#[test]
fn what_has_errors_changes_nothing() {
    let server = Server::start(
        &site("old"),
        "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"admin\"\n",
    );
    let metrics = || get(&server.admin(), "/metrics", &[]).body;
    let before = metrics();
    assert!(before.contains("pullgate_config_last_reload_successful 1"));
    let told = reload(&server, "[upstream]", "[upstream]\nidle_timeout = \"4\"");
    assert!(
        told.contains("upstream.idle_timeout: found \"4\", expected a duration"),
        "{told}"
    );
    assert!(told.contains("nothing was changed"), "{told}");
    assert_eq!(page(&server, "x").body, "old");
    assert!(metrics().contains("pullgate_config_last_reload_successful 0"));
    let told = reload(&server, "\"4\"", "\"3s\"");
    assert!(told.contains("changes=\"upstream\""), "{told}");
    let after = metrics();
    assert!(
        after.contains("pullgate_config_last_reload_successful 1"),
        "{told}{after}"
    );
    let hash = |metrics: &str| {
        metrics
            .lines()
            .find(|line| line.contains("_config_info{"))
            .unwrap()
            .to_owned()
    };
    assert_ne!(hash(&after), hash(&before));
}

#[test]
fn an_address_in_use_changes_nothing() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let server = Server::start(&site("old"), "");
    let told = reload(
        &server,
        "[upstream]\nurl",
        &format!("[[listener]]\naddress = \"{address}\"\n[upstream]\nidle_timeout = \"1s\"\nurl"),
    );
    assert!(told.contains("cannot listen on"), "{told}");
    assert!(told.contains("nothing was changed"), "{told}");
    assert_eq!(page(&server, "x").body, "old");
}

#[test]
fn everything_that_can_change_does_and_nobody_is_closed() {
    let server = Server::start(
        &site("old"),
        &format!(
            "[push]\nsignature_key = \"{SIGNATURE_KEY}\"\n[push.limits]\nmax_payload = \"1KiB\"\n"
        ),
    );
    let mut client = websocket(&server, &format!("CHANNEL_ID={}", signed(&server, A)));
    let mut kept = connect(&server.site);
    let ask = |kept: &mut TcpStream| {
        kept.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let head = read_head(kept);
        let mut body = [0; 3];
        kept.read_exact(&mut body).unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        String::from_utf8(body.to_vec()).unwrap()
    };
    assert_eq!(ask(&mut kept), "old");
    let post = |body: &str| {
        let target = format!("/bitrix/pub/?CHANNEL_ID={A}");
        send(&server.publish, "POST", &target, &[], body).status
    };
    let large = "x".repeat(2000);
    assert_eq!(post(&large), 413);

    // The old address becomes a comment.
    let url = format!("[upstream]\nurl = \"{}\"\n# \"", site("new"));
    let told = reload(&server, "[upstream]\nurl = \"", &url);
    assert!(told.contains("changes=\"upstream\""), "{told}");
    let told = reload(&server, "max_payload = \"1KiB\"", "max_payload = \"1MiB\"");
    assert!(told.contains("changes=\"push\""), "{told}");
    assert_eq!(
        ask(&mut kept),
        "new",
        "on the connection that was there before"
    );
    assert_eq!(post(&large), 200);
    assert!(next(&mut client).contains(&large));
    let has_access_line = |server: &Server| {
        let length = server.log().len();
        assert_eq!(page(server, "x").body, "new");
        // The line of the next reload comes behind it.
        reload(server, "[push.limits]", "[push.limits]");
        server.log()[length..].contains(" access: ")
    };
    assert!(has_access_line(&server));
    let quiet = "[log]\nlevel = \"info,access=warn\"\n[push]\n";
    let told = reload(&server, "[push]\n", quiet);
    assert!(told.contains("changes=\"log\""), "{told}");
    assert!(!has_access_line(&server), "the level holds");
    reload(&server, quiet, "[push]\n");
    assert!(has_access_line(&server));
    reload(&server, "[push]\n", "[log]\naccess = false\n[push]\n");
    assert!(!has_access_line(&server), "there are none any more");
}

#[test]
fn what_only_a_start_can_change_is_named() {
    let server = start("");
    let mut client = websocket(&server, &format!("CHANNEL_ID={}", signed(&server, A)));
    let told = reload(
        &server,
        "state_dir = \"state\"\nthreads = 2\n",
        "state_dir = \"other\"\nthreads = 1\nbody_timeout = \"9s\"\n[history]\nengine = \"memory\"\n",
    );
    for key in ["server.state_dir", "server.threads", "history.engine"] {
        assert!(told.contains(&format!("{key} keeps its value")), "{told}");
    }
    assert!(told.contains("changes=\"server\""), "{told}");
    assert!(!server.directory.path().join("other").exists());
    publish(&server, A, "one", 60);
    assert!(next(&mut client).contains("one"));
}

#[test]
fn another_key_closes_those_whom_only_the_old_one_proves() {
    let server = Server::start(
        &site("page"),
        &format!(
            "[guest]\nsecrets = [\"a secret that is long enough for guests\"]\n\
             [push]\nsignature_key = \"{SIGNATURE_KEY}\"\n"
        ),
    );
    let old = signed(&server, A);
    let mut client = websocket(&server, &format!("CHANNEL_ID={old}"));
    let guest = get(
        &server.site,
        "/",
        &["Accept: text/html", "User-Agent: Mozilla/5.0"],
    );
    let cookie = guest.cookie().unwrap().to_owned();
    let mut events = connect(&server.site);
    let request = format!("GET /pullgate/events HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n\r\n");
    events.write_all(request.as_bytes()).unwrap();
    assert!(read_head(&mut events).starts_with("HTTP/1.1 200"));

    let told = reload(&server, SIGNATURE_KEY, "another signature key");
    assert!(told.contains("changes=\"push\""), "{told}");
    assert!(
        !server.log().contains("another signature key"),
        "a secret in the log"
    );
    let close = next(&mut client);
    assert!(close.contains("4010"), "{close}");
    let refused = get(&server.site, &format!("/bitrix/sub/?CHANNEL_ID={old}"), &[]);
    assert_eq!(refused.status, 400, "{refused:?}");
    let mut client = websocket(&server, &format!("CHANNEL_ID={}", signed(&server, A)));
    publish(&server, A, "for the new key", 0);
    assert!(next(&mut client).contains("for the new key"));
    // Whom the cookie proves listens on.
    let target = "/bitrix/pub/?USER_ID=0";
    assert_eq!(
        send(&server.publish, "POST", target, &[], "to all guests").status,
        200
    );
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("to all guests") {
        let mut piece = [0; 256];
        let read = events.read(&mut piece).unwrap();
        assert!(
            read > 0,
            "the events ended: {:?}",
            String::from_utf8_lossy(&seen)
        );
        seen.extend_from_slice(&piece[..read]);
    }
}

#[test]
fn sites_and_listeners_come_and_go() {
    let server = Server::start(
        &site("one"),
        &format!("[push]\nsignature_key = \"{SIGNATURE_KEY}\"\n"),
    );
    let mut client = websocket(&server, &format!("CHANNEL_ID={}", signed(&server, A)));
    publish(&server, A, "before", 60);
    assert!(next(&mut client).contains("before"));

    // The one site becomes one of two: nothing of it is lost.
    let port = crate::harness::free_port();
    let two = format!(
        "role = \"publish\"\nsite = \"one\"\n\
         [[listener]]\naddress = \"127.0.0.1:{port}\"\nrole = \"publish\"\nsite = \"two\"\n\
         [[site]]\nname = \"one\"\ndefault = true\noriginal = true\n\
         [[site]]\nname = \"two\"\nhosts = [\"two.example\"]\nupstream.url = \"{}\"\n",
        site("two")
    );
    let told = reload(&server, "role = \"publish\"\n", &two);
    assert!(told.contains("site two: new"), "{told}");
    assert_eq!(page(&server, "x").body, "one");
    assert_eq!(page(&server, "two.example:80").body, "two");
    publish(&server, A, "after", 60);
    assert!(next(&mut client).contains("after"));
    let other = format!("127.0.0.1:{port}");
    let target = format!("/bitrix/pub/?CHANNEL_ID={A}/{B}");
    let kept = send(&other, "POST", &target, &["Message-Expiry: 600"], "of two");
    assert_eq!(kept.status, 200);
    let online = |address: &str| get(address, &target, &[]).body.contains(A);
    assert!(online(&server.publish) && !online(&other));

    // And the only one again. The other's address is free.
    let told = reload(&server, &two, "role = \"publish\"\n");
    assert!(told.contains("site two: removed"), "{told}");
    assert_eq!(page(&server, "two.example").body, "one");
    wait_for(|| TcpStream::connect(&other).is_err());
    publish(&server, A, "alone", 60);
    assert!(
        next(&mut client).contains("alone"),
        "nothing of the other site came"
    );
    let missed = get(
        &server.site,
        &format!(
            "/bitrix/sub/?CHANNEL_ID={}&mid={:026}",
            signed(&server, A),
            0
        ),
        &[],
    );
    let bodies = crate::push::bodies(&missed.body);
    assert_eq!(bodies, ["before", "after", "alone"]);

    // It comes back as it was, once nobody has its files any more.
    let lock = server.directory.path().join("state/sites/two/lock");
    let lock = fs::File::open(lock).unwrap();
    wait_for(|| lock.try_lock().is_ok());
    drop(lock);
    let told = reload(&server, "role = \"publish\"\n", &two);
    assert!(told.contains("site two: new"), "{told}");
    let signed = pullgate()
        .args(["sign", "--site", "two", A, "--config"])
        .arg(server.directory.path().join("pullgate.toml"))
        .output()
        .unwrap();
    let signed = String::from_utf8(signed.stdout).unwrap();
    let target = format!("/bitrix/sub/?CHANNEL_ID={}&mid={:026}", signed.trim(), 0);
    let missed = get(&other, &target, &[]);
    assert_eq!(crate::push::bodies(&missed.body), ["of two"]);
}
