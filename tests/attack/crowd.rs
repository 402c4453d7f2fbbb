//! Those who only want to see the site. They come at a steady rate, however long the ones before wait: what an answer takes is
//! counted from when it was due to be asked for.

use std::cell::RefCell;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, interval};

use super::Addresses;
use crate::tls::roads::{Http2, Stream, connect, secure};

const PER_SECOND: u32 = 100;
/// They come from so many addresses.
const ADDRESSES: usize = 50;
const HTTP2: usize = 5;

/// How long answers took, by what was asked for, in order; and how many did not come.
#[derive(Debug, Default, Clone)]
pub(super) struct Times {
    pub(super) pages: Vec<Duration>,
    pub(super) files: Vec<Duration>,
    pub(super) failed: Vec<String>,
}

/// The crowd, in a thread of its own.
pub(super) struct Crowd(mpsc::SyncSender<mpsc::Sender<Times>>);

impl Crowd {
    pub(super) fn start(addresses: &Addresses) -> Self {
        let addresses = addresses.clone();
        let (asks, asked) = mpsc::sync_channel::<mpsc::Sender<Times>>(1);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let visitors = Rc::new(Visitors::of(addresses));
            LocalSet::new().block_on(&runtime.unwrap(), come(&visitors, &asked));
        });
        Self(asks)
    }

    /// What there was of them in this time, and none of what was asked for before or behind it.
    pub(super) fn during(&self, length: Duration) -> Times {
        let times = || {
            let (tell, told) = mpsc::channel();
            self.0.send(tell).unwrap();
            told.recv().unwrap()
        };
        times();
        std::thread::sleep(length);
        let mut times = times();
        times.pages.sort_unstable();
        times.files.sort_unstable();
        times
    }
}

struct Visitors {
    addresses: Addresses,
    http2: Vec<Http2>,
    /// Kept connections of HTTP/1.1 on which nothing is under way.
    idle: RefCell<Vec<SendRequest<Empty<Bytes>>>>,
    times: RefCell<Times>,
}

async fn come(visitors: &Rc<Visitors>, asked: &mpsc::Receiver<mpsc::Sender<Times>>) {
    let mut pace = interval(Duration::from_secs(1) / PER_SECOND);
    for nth in 0.. {
        let due = pace.tick().await;
        spawn_local(visit(Rc::clone(visitors), nth, due));
        match asked.try_recv() {
            Ok(tell) => tell.send(visitors.times.take()).unwrap(),
            Err(mpsc::TryRecvError::Empty) => {}
            Err(mpsc::TryRecvError::Disconnected) => return,
        }
    }
}

/// Of ten, six come in the clear and three by HTTP/2 over connections that are kept, and one by a new one with TLS.
async fn visit(visitors: Rc<Visitors>, nth: usize, due: Instant) {
    let is_page = (nth / 10).is_multiple_of(2);
    let target = if is_page { "/page" } else { "/file" };
    let answered = match nth % 10 {
        0..6 => visitors.kept(nth, target).await,
        6..9 => visitors.by_http2(nth, target).await,
        _ => visitors.anew(nth, target).await,
    };
    let took = due.elapsed();
    let mut times = visitors.times.borrow_mut();
    match answered {
        Ok(200) if is_page => times.pages.push(took),
        Ok(200) => times.files.push(took),
        other => times.failed.push(format!("{other:?}")),
    }
}

impl Visitors {
    fn of(addresses: Addresses) -> Self {
        Self {
            http2: (0..HTTP2)
                .map(|nth| Http2::from(address(nth), &addresses.by_tls))
                .collect(),
            addresses,
            idle: RefCell::default(),
            times: RefCell::default(),
        }
    }

    async fn by_http2(&self, nth: usize, target: &str) -> io::Result<u16> {
        let response = self.http2[nth % HTTP2].get(target, &[]).await;
        let response = response.map_err(|error| io::Error::other(format!("{error:?}")))?;
        Ok(response.status)
    }

    async fn kept(&self, nth: usize, target: &str) -> io::Result<u16> {
        let idle = self.idle.borrow_mut().pop();
        let mut sender = match idle.filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => open(connect(address(nth), &self.addresses.site).await?).await?,
        };
        let status = ask(&mut sender, target, &[]).await?;
        self.idle.borrow_mut().push(sender);
        Ok(status)
    }

    async fn anew(&self, nth: usize, target: &str) -> io::Result<u16> {
        let stream = connect(address(nth), &self.addresses.by_tls).await?;
        let mut sender = open(secure(stream, "http/1.1").await?).await?;
        ask(&mut sender, target, &[]).await
    }
}

/// Of the `nth` of them.
fn address(nth: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 2, u8::try_from(nth % ADDRESSES + 1).unwrap())
}

/// A connection of HTTP/1.1.
pub(super) async fn open(
    stream: impl Stream + Send + 'static,
) -> io::Result<SendRequest<Empty<Bytes>>> {
    let shaken = handshake(TokioIo::new(stream)).await;
    let (sender, driver) = shaken.map_err(io::Error::other)?;
    spawn_local(async { driver.await.ok() });
    Ok(sender)
}

/// The status of an answer whose whole body has come.
pub(super) async fn ask(
    sender: &mut SendRequest<Empty<Bytes>>,
    target: &str,
    headers: &[&str],
) -> io::Result<u16> {
    let mut request = Request::get(target).header("Host", "site.test");
    for line in headers {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    let request = request.body(Empty::new()).unwrap();
    let response = sender.send_request(request).await;
    let response = response.map_err(io::Error::other)?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await;
    body.map_err(io::Error::other)?;
    // Whether it can be used again is known a moment later.
    sender.ready().await.ok();
    Ok(status)
}
