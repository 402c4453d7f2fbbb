//! Minutes of mixed traffic, polite and rude, in the clear, by TLS and by HTTP/2, while the site and Redis are killed and come
//! back, the configuration changes, certificates are renewed, and in the middle another process takes over. In the end memory
//! is flat, and no message was lost, came twice or out of order. Ignored by `cargo test`; `scripts/soak` runs it.

mod kills;
mod memory;
mod polite;
mod reloads;
mod report;
mod rude;
mod upgrade;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use pullgate_compat::signature::{Algorithm, SignatureKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::cluster::redis_server::RedisServer;
use crate::engine::Engine;
use crate::guests::SECRET;
use crate::harness::{Response, SIGNATURE_KEY, Server, free_port, pullgate};
use crate::ledger::{Had, Ledger};
use crate::tls::certificate;
use crate::tls::roads::{Http2, Stream, secure};
use kills::{Part, Site};
use memory::Memory;

const CHANNELS: usize = 8;
/// Between two messages of a channel. Who is away for a second and a half must find all within a catch-up's hundred.
const PAUSE: Duration = Duration::from_millis(100);
/// A channel of large messages, on which the slow readers are.
const BULK_BODY: usize = 32 << 10;
/// Seconds. Short, so that soon as much expires as is stored.
const EXPIRY: u32 = 20;
/// How long the last messages may take to come.
const SETTLING: Duration = Duration::from_secs(60);
const SAMPLING: Duration = Duration::from_millis(250);

#[test]
#[ignore = "takes minutes: scripts/soak"]
fn on_memory() {
    soak(Engine::Memory);
}

#[test]
#[ignore = "takes minutes: scripts/soak"]
fn on_disk() {
    soak(Engine::Disk);
}

#[test]
#[ignore = "takes minutes: scripts/soak"]
fn on_redis() {
    // What was answered is written before the answer goes out, so a kill takes none of it.
    let kept = ["--appendonly", "yes", "--appendfsync", "no"];
    soak(Engine::Redis(RedisServer::start_with(&kept)));
}

/// SOAK_MINUTES says how long; the default is for a look.
fn length() -> Duration {
    let minutes = std::env::var("SOAK_MINUTES").map_or(1.0, |text| text.parse().unwrap());
    Duration::from_secs_f64(60.0 * minutes)
}

fn soak(engine: Engine) {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    certificate(directory.path(), "site", &["site.test"], 90);
    // Ports of its own, which another process finds again.
    let [back_end, site, publish, by_tls] = std::array::from_fn(|_| free_port());
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:{site}\"\n\
         [[listener]]\naddress = \"127.0.0.1:{publish}\"\nrole = \"publish\"\n\
         [[listener]]\naddress = \"127.0.0.1:{by_tls}\"\n\
         tls = {{ cert = \"site.pem\", key = \"site.key\" }}\n\
         [server]\nstate_dir = \"state\"\nthreads = 2\n\
         [upstream]\nurl = \"http://127.0.0.1:{back_end}\"\n\
         {}max_memory = \"32MiB\"\n{SECRET}[push]\nsignature_key = \"{SIGNATURE_KEY}\"\n\
         poll_timeout = \"5s\"\nping_interval = \"10s\"\n\
         [push.limits]\nmessage_ttl = \"{EXPIRY}s\"\n[log]\naccess = false\n",
        engine.history()
    );
    let server = Server::run_as_configured(pullgate(), directory, &text);
    engine.wait_for(&server);
    let site = Site::new(back_end, &server);
    let by_tls = format!("127.0.0.1:{by_tls}");
    let soak = Rc::new(Soak::new(server, by_tls, length()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let memory = LocalSet::new().block_on(&runtime, traffic(&soak, site, engine));
    report::conclude(&soak, &memory);
}

/// How somebody comes to the site, and comes again.
#[derive(Clone)]
enum Road {
    Clear,
    Tls,
    /// Over a connection that others have, too.
    Http2(Rc<Http2>),
}

/// A channel of numbered messages.
struct Channel {
    id: String,
    signed: String,
    /// How large its messages are, at least.
    body: usize,
    ledger: Ledger,
    /// Everybody who must have all of it.
    subscribers: RefCell<Vec<Rc<RefCell<Had>>>>,
}

/// What all the traffic shares.
struct Soak {
    server: Server,
    /// The process that serves. It changes with an upgrade.
    pid: Cell<u32>,
    /// Held by who does something with the process that bears nothing else beside it.
    one_at_a_time: Mutex<()>,
    /// Where the site listens with TLS.
    by_tls: String,
    roads: [Road; 3],
    ends: Cell<Instant>,
    channels: Vec<Rc<Channel>>,
    bulk: Rc<Channel>,
    /// Nobody publishes to it.
    quiet: Rc<Channel>,
    back_end: Part,
    redis: Part,
    counts: report::Counts,
    /// Guests' numbers: none is given twice.
    numbers: RefCell<HashSet<String>>,
    /// What was not as it must be.
    wrong: RefCell<Vec<String>>,
}

impl Soak {
    fn new(server: Server, by_tls: String, length: Duration) -> Self {
        let key = SignatureKey::new(Algorithm::Sha1, SIGNATURE_KEY);
        let channel = |number: usize, body: usize| {
            let id = HEXLOWER.encode(&(number as u128 + 1).to_be_bytes());
            Rc::new(Channel {
                signed: format!("{id}.{}", key.sign(&id)),
                id,
                body,
                ledger: Ledger::default(),
                subscribers: RefCell::default(),
            })
        };
        Self {
            pid: Cell::new(server.pid()),
            one_at_a_time: Mutex::default(),
            roads: [
                Road::Clear,
                Road::Tls,
                Road::Http2(Rc::new(Http2::to(&by_tls))),
            ],
            by_tls,
            server,
            ends: Cell::new(Instant::now() + length),
            channels: (0..CHANNELS).map(|number| channel(number, 100)).collect(),
            bulk: channel(CHANNELS, BULK_BODY),
            quiet: channel(CHANNELS + 1, 0),
            back_end: Part::default(),
            redis: Part::default(),
            counts: report::Counts::default(),
            numbers: RefCell::default(),
            wrong: RefCell::default(),
        }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.ends.get()
    }

    fn wrong(&self, what: impl Into<String>) {
        self.wrong.borrow_mut().push(what.into());
    }

    fn all_channels(&self) -> impl Iterator<Item = &Rc<Channel>> {
        self.channels.iter().chain([&self.bulk])
    }

    /// Messages that somebody should have and has not.
    fn lacking(&self) -> Vec<String> {
        let mut lacking = Vec::new();
        for channel in self.all_channels() {
            for (nth, had) in channel.subscribers.borrow().iter().enumerate() {
                let had = had.borrow();
                let lacks = had.lacks(&channel.ledger).into_iter();
                let of = (&channel.id, nth, had.last());
                lacking.extend(
                    lacks.map(|number| format!("{number} (channel, subscriber, its last: {of:?})")),
                );
            }
        }
        lacking
    }

    /// One after the other for those that are numbered.
    fn road(&self, nth: usize) -> Road {
        self.roads[nth % self.roads.len()].clone()
    }

    async fn get(&self, road: &Road, target: &str, headers: &[&str]) -> io::Result<Response> {
        match road {
            Road::Http2(connection) => {
                let response = connection.get(target, headers).await;
                response.map_err(|error| io::Error::other(format!("{error:?}")))
            }
            Road::Clear | Road::Tls => {
                let mut stream = self.connect(road).await?;
                ask(&mut stream, "GET", target, headers, "").await
            }
        }
    }

    async fn publish(&self, target: &str, headers: &[&str], body: &str) -> io::Result<Response> {
        let mut stream = TcpStream::connect(&self.server.publish).await?;
        ask(&mut stream, "POST", target, headers, body).await
    }

    /// A connection of HTTP/1.1, which those who come by HTTP/2 need for a websocket, too.
    async fn connect(&self, road: &Road) -> io::Result<Box<dyn Stream>> {
        match road {
            Road::Clear => Ok(Box::new(TcpStream::connect(&self.server.site).await?)),
            Road::Tls | Road::Http2(_) => {
                let stream = TcpStream::connect(&self.by_tls).await?;
                Ok(Box::new(secure(stream, "http/1.1").await?))
            }
        }
    }

    /// A websocket on the channel, from this message on.
    async fn websocket<S: Stream>(
        &self,
        stream: S,
        channel: &Channel,
        mid: &str,
    ) -> tungstenite::Result<WebSocketStream<S>> {
        let (site, id) = (&self.server.site, &channel.signed);
        let url = format!("ws://{site}/bitrix/subws/?CHANNEL_ID={id}&mid={mid}");
        Ok(client_async(url, stream).await?.0)
    }
}

/// Sends the only request of a connection and reads all that comes.
async fn ask(
    stream: &mut (impl Stream + ?Sized),
    method: &str,
    target: &str,
    headers: &[&str],
    body: &str,
) -> io::Result<Response> {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\
         Content-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    read(stream).await
}

async fn read(stream: &mut (impl Stream + ?Sized)) -> io::Result<Response> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    Response::parse(&bytes).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Everything at once, to its end; what it took of memory.
async fn traffic(soak: &Rc<Soak>, site: Site, engine: Engine) -> Memory {
    let listening = subscribers(soak);
    let mut publishing = Vec::new();
    for channel in soak.all_channels() {
        let publisher = polite::publish(Rc::clone(soak), Rc::clone(channel));
        publishing.push(spawn_local(publisher));
    }
    // History in memory ends with its process.
    let upgrading = (!matches!(engine, Engine::Memory))
        .then(|| spawn_local(upgrade::in_the_middle(Rc::clone(soak))));
    let killing = spawn_local(kills::now_and_then(Rc::clone(soak), site, engine));
    let reloading = spawn_local(reloads::now_and_then(Rc::clone(soak)));
    let visiting = visitors(soak);

    let mut memory = Memory::default();
    while !soak.is_over() {
        sleep(SAMPLING).await;
        if memory.sample(soak.pid.get()).is_err() {
            // It grows so quickly that the machine is in danger.
            soak.ends.set(Instant::now());
        }
    }
    for task in publishing {
        task.await.unwrap();
    }
    let _both_are_there = killing.await.unwrap();
    reloading.await.unwrap();
    if let Some(upgrading) = upgrading {
        upgrading.await.unwrap();
    }
    let settled = async {
        while !soak.lacking().is_empty() {
            sleep(SAMPLING).await;
        }
    };
    let _ = timeout(SETTLING, settled).await;
    for task in listening.into_iter().chain(visiting) {
        task.abort();
        assert!(!task.await.is_err_and(|error| error.is_panic()));
    }
    memory
}

/// Those who must have everything.
fn subscribers(soak: &Rc<Soak>) -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::new();
    for channel in soak.all_channels() {
        let had = || {
            let had = Rc::default();
            channel.subscribers.borrow_mut().push(Rc::clone(&had));
            (Rc::clone(soak), Rc::clone(channel), had)
        };
        let (all, its, had_by_steady) = had();
        let road = soak.road(tasks.len() / 4);
        tasks.push(spawn_local(polite::stay(
            all,
            road.clone(),
            its,
            had_by_steady,
        )));
        for _ in 0..2 {
            let (all, its, had_by_roamer) = had();
            let nth = tasks.len();
            tasks.push(spawn_local(polite::come_and_go(
                all,
                soak.road(nth),
                its,
                had_by_roamer,
                nth,
            )));
        }
        let (all, its, had_by_poller) = had();
        tasks.push(spawn_local(polite::poll(all, road, its, had_by_poller)));
    }
    tasks
}

/// Guests, and those from whom nobody expects anything.
fn visitors(soak: &Rc<Soak>) -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::new();
    for (nth, road) in (0..).zip(&soak.roads) {
        tasks.push(spawn_local(polite::browse(Rc::clone(soak), road.clone())));
        tasks.push(spawn_local(polite::upload(Rc::clone(soak), road.clone())));
        tasks.push(spawn_local(rude::ping(Rc::clone(soak))));
        tasks.push(spawn_local(rude::listen(Rc::clone(soak))));
        tasks.push(spawn_local(rude::download(Rc::clone(soak), nth)));
    }
    for nth in 0..10 {
        tasks.push(spawn_local(rude::poll(Rc::clone(soak), nth)));
    }
    tasks
}
