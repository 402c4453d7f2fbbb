//! An upgrade under load of HTTP/2 and of websockets, both over TLS: every request is answered as it should be, whoever listens
//! is told to come back, and everybody goes on with the next process.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use pullgate_compat::signature::{Algorithm, SignatureKey};
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use super::{config, directory, upgrade};
use crate::guests::{PAGE, SECRET, numbers};
use crate::harness::{SIGNATURE_KEY, Server, pullgate};
use crate::push::{A, bodies, publish};
use crate::tls::certificate;
use crate::tls::roads::{Http2, secure};

const CONNECTIONS: usize = 4;
/// Of each connection, one after the other.
const REQUESTS_AT_A_TIME: usize = 8;
const WEBSOCKETS: usize = 20;
const WITHIN: Duration = Duration::from_secs(240);

/// What all the clients share.
struct Load {
    address: String,
    /// Nothing more is to be asked.
    done: Cell<bool>,
    answered: Cell<usize>,
    guests: RefCell<HashSet<String>>,
    /// Websockets opened so far.
    open: Cell<usize>,
    /// Those that heard the last message.
    heard: Cell<usize>,
}

#[test]
fn an_upgrade_under_load_over_tls() {
    let directory = directory();
    certificate(directory.path(), "site", &["site.test"], 90);
    let text = config(&numbers(), SECRET);
    let tls = "role = \"site\"\ntls = { cert = \"site.pem\", key = \"site.key\" }\n";
    let text = text.replacen("role = \"site\"\n", tls, 1);
    let server = Server::run_as_configured(pullgate(), Arc::clone(&directory), &text);
    let load = Rc::new(Load {
        address: server.site.clone(),
        done: Cell::new(false),
        answered: Cell::new(0),
        guests: RefCell::default(),
        open: Cell::new(0),
        heard: Cell::new(0),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let all = async { timeout(WITHIN, everybody(&load, server)).await };
    let all = LocalSet::new().block_on(&runtime, all);
    assert!(all.is_ok(), "not done within {WITHIN:?}");
}

async fn everybody(load: &Rc<Load>, server: Server) {
    let mut asking = Vec::new();
    let connections: Vec<_> = (0..CONNECTIONS)
        .map(|_| Rc::new(Http2::to(&load.address)))
        .collect();
    for connection in &connections {
        for _ in 0..REQUESTS_AT_A_TIME {
            asking.push(spawn_local(ask(Rc::clone(load), Rc::clone(connection))));
        }
    }
    let listening: Vec<_> = (0..WEBSOCKETS)
        .map(|_| spawn_local(listen(Rc::clone(load))))
        .collect();
    until(|| load.open.get() == WEBSOCKETS && load.answered.get() > 100).await;

    let server = Arc::new(server);
    let upgraded = tokio::task::spawn_blocking({
        let server = Arc::clone(&server);
        move || upgrade(&server, server.pid())
    });
    upgraded.await.unwrap().unwrap();
    // Each of them has come back, and is answered there.
    until(|| load.open.get() == 2 * WEBSOCKETS).await;
    let before = load.answered.get();
    until(|| load.answered.get() > before + 100).await;
    let told = Arc::clone(&server);
    tokio::task::spawn_blocking(move || publish(&told, A, "after", 600))
        .await
        .unwrap();
    until(|| load.heard.get() == WEBSOCKETS).await;
    load.done.set(true);
    for task in asking.into_iter().chain(listening) {
        task.await.unwrap();
    }
    for connection in connections {
        assert_eq!(connection.opened(), 2, "one with each process");
    }
    assert_eq!(load.guests.borrow().len(), load.answered.get());
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        sleep(Duration::from_millis(10)).await;
    }
}

/// New visitors one after the other, each with a number of its own.
async fn ask(load: Rc<Load>, connection: Rc<Http2>) {
    while !load.done.get() {
        let response = connection.get("/", &PAGE).await.unwrap();
        assert_eq!(response.status, 200, "{response:?}");
        assert_ne!(response.body, "none");
        assert!(
            load.guests.borrow_mut().insert(response.body.clone()),
            "{} twice",
            response.body
        );
        load.answered.set(load.answered.get() + 1);
        sleep(Duration::from_millis(20)).await;
    }
}

/// Listens with the first process until it is sent away, and then with the next until something comes.
async fn listen(load: Rc<Load>) {
    let signature = SignatureKey::new(Algorithm::Sha1, SIGNATURE_KEY).sign(A);
    let url = format!("ws://site.test/bitrix/subws/?CHANNEL_ID={A}.{signature}");
    for process in 0..2 {
        let stream = TcpStream::connect(&load.address).await.unwrap();
        let stream = secure(stream, "http/1.1").await.unwrap();
        let (mut socket, _) = client_async(url.as_str(), stream).await.unwrap();
        load.open.set(load.open.get() + 1);
        loop {
            match socket.next().await.unwrap().unwrap() {
                Message::Text(frames) => {
                    assert_eq!((process, bodies(&frames)), (1, vec!["after"]));
                    load.heard.set(load.heard.get() + 1);
                    break;
                }
                Message::Close(close) => {
                    assert_eq!(u16::from(close.unwrap().code), 1001);
                    assert_eq!(process, 0, "nobody is sent away twice");
                    break;
                }
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }
}
