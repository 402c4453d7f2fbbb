//! Those who take nothing, or ask for more than they take. Each holds what it has for a while, and begins again.

use std::future::pending;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;

use super::{Channel, PAUSE, Soak};
use crate::ledger::NOTHING;

/// How long a peer that takes nothing stays.
const HOLD: Duration = Duration::from_secs(20);

/// What the kernel keeps for them, bytes: the rest is for the server to keep.
const KERNELS: u32 = 16 << 10;

/// Pings of one write, and the writes of one connection: about 128 MiB.
const PINGS: usize = 1000;
const WRITES: usize = 1000;

/// A frame of a client, masked with zeros.
fn frame(opcode: u8, length: u8) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode, 0x80 | length, 0, 0, 0, 0];
    frame.resize(6 + usize::from(length), 0);
    frame
}

/// A connection of somebody who takes little.
async fn connect(soak: &Soak) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(KERNELS)?;
    socket.connect(soak.server.site.parse().unwrap()).await
}

async fn websocket(soak: &Soak, channel: &Channel) -> Option<WebSocketStream<TcpStream>> {
    let stream = connect(soak).await.ok()?;
    soak.websocket(stream, channel, "").await.ok()
}

/// A websocket that sends pings as fast as they are taken, reads no pong, and says that it is alive.
pub(super) async fn ping(soak: Rc<Soak>) {
    let pings = [frame(9, 125).repeat(PINGS), frame(10, 0)].concat();
    loop {
        sleep(PAUSE).await;
        let Some(mut socket) = websocket(&soak, &soak.quiet).await else {
            continue;
        };
        // Most wait all the time: a server that is wise takes no more than it can answer.
        let pinging = async {
            for _ in 0..WRITES {
                if socket.get_mut().write_all(&pings).await.is_err() {
                    return;
                }
                soak.counts.pings.add(PINGS);
            }
            pending::<()>().await;
        };
        let _ = timeout(HOLD, pinging).await;
    }
}

/// A websocket on a busy channel that reads nothing.
pub(super) async fn listen(soak: Rc<Soak>) {
    loop {
        if let Some(_unread) = websocket(&soak, &soak.bulk).await {
            soak.counts.unread.add(1);
            sleep(HOLD).await;
        }
        sleep(PAUSE).await;
    }
}

/// A poll for all that there is, whose answer nobody reads.
pub(super) async fn poll(soak: Rc<Soak>, nth: u32) {
    sleep(PAUSE * nth).await;
    let id = &soak.bulk.signed;
    let target = format!("/bitrix/sub/?CHANNEL_ID={id}&mid={NOTHING}");
    loop {
        if let Ok(_unread) = ask(&soak, &target).await {
            soak.counts.unread.add(1);
            sleep(HOLD).await;
        }
        sleep(PAUSE).await;
    }
}

/// A large download, read at a crawl.
pub(super) async fn download(soak: Rc<Soak>, nth: u32) {
    sleep(PAUSE * nth).await;
    loop {
        if let Ok(mut stream) = ask(&soak, "/stream.php?bytes=50000000").await {
            soak.counts.unread.add(1);
            let mut piece = vec![0; 16 << 10];
            let crawl = async {
                while stream.read(&mut piece).await.is_ok_and(|read| read > 0) {
                    sleep(PAUSE).await;
                }
            };
            let _ = timeout(HOLD, crawl).await;
        }
        sleep(PAUSE).await;
    }
}

async fn ask(soak: &Soak, target: &str) -> io::Result<TcpStream> {
    let mut stream = connect(soak).await?;
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n",
        soak.server.site
    );
    stream.write_all(head.as_bytes()).await?;
    Ok(stream)
}
