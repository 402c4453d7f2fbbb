//! Those who behave, and count on it that everything comes.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_tungstenite::tungstenite::Message;

use super::{Channel, EXPIRY, PAUSE, Road, Soak, read};
use crate::guests::PAGE;
use crate::harness::Response;
use crate::ledger::Had;

/// How long nobody who comes back at once waits.
const BREATH: Duration = Duration::from_millis(50);

const UPLOAD_PIECES: usize = 50;
const UPLOAD_PIECE: &str = "pieces of an upload that takes ten seconds.\r\n";

/// The channel's publisher: every fourth message is not stored.
pub(super) async fn publish(soak: Rc<Soak>, channel: Rc<Channel>) {
    let target = format!("/bitrix/pub/?CHANNEL_ID={}", channel.id);
    for number in 0.. {
        if soak.is_over() {
            return;
        }
        let is_stored = number % 4 != 3;
        let expiry = if is_stored { EXPIRY } else { 0 };
        let expiry = format!("Message-Expiry: {expiry}");
        let body = format!("{number} {}", "x".repeat(channel.body));
        match soak.publish(&target, &[&expiry], &body).await {
            Ok(response) if response.status == 200 => {
                let count = match is_stored {
                    true => &soak.counts.stored,
                    false => &soak.counts.not_stored,
                };
                count.add(1);
                if is_stored {
                    channel.ledger.keep(number);
                }
            }
            // Also without Redis: what is published waits for it.
            other => soak.wrong(format!("publishing was answered with {other:?}")),
        }
        sleep(PAUSE).await;
    }
}

/// A websocket that stays, and comes back if the server ends it.
pub(super) async fn stay(soak: Rc<Soak>, road: Road, channel: Rc<Channel>, had: Rc<RefCell<Had>>) {
    loop {
        listen_until(&soak, &road, &channel, &had, None).await;
        soak.counts.cut_off.add(1);
        sleep(BREATH).await;
    }
}

/// A websocket that stays for some seconds at most, and is away for a second at most; each of them in another step.
pub(super) async fn come_and_go(
    soak: Rc<Soak>,
    road: Road,
    channel: Rc<Channel>,
    had: Rc<RefCell<Had>>,
    nth: usize,
) {
    let mut turn = nth as u64 * 37;
    loop {
        turn += 1;
        let leave = Instant::now() + Duration::from_millis(100 + turn * 97 % 3000);
        listen_until(&soak, &road, &channel, &had, Some(leave)).await;
        soak.counts.visits.add(1);
        sleep(Duration::from_millis(turn * 61 % 1000)).await;
    }
}

/// One connection, up to this time or until the server ends it.
async fn listen_until(
    soak: &Soak,
    road: &Road,
    channel: &Channel,
    had: &RefCell<Had>,
    leave: Option<Instant>,
) {
    let mid = had.borrow().mid.clone();
    let Ok(stream) = soak.connect(road).await else {
        return;
    };
    let Ok(mut socket) = soak.websocket(stream, channel, &mid).await else {
        return;
    };
    loop {
        let next = match leave {
            None => socket.next().await,
            Some(leave) => match timeout_at(leave, socket.next()).await {
                Ok(next) => next,
                Err(_) => return,
            },
        };
        match next {
            Some(Ok(Message::Text(frames))) => take(soak, channel, had, &frames),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            Some(Ok(_)) => {}
        }
    }
}

/// Long polls, one after the other.
pub(super) async fn poll(soak: Rc<Soak>, road: Road, channel: Rc<Channel>, had: Rc<RefCell<Had>>) {
    loop {
        let (id, mid) = (&channel.signed, had.borrow().mid.clone());
        let target = format!("/bitrix/sub/?CHANNEL_ID={id}&mid={mid}");
        let state = soak.redis.state();
        soak.counts.polls.add(1);
        match soak.get(&road, &target, &[]).await {
            Ok(response) if response.status == 200 => take(&soak, &channel, &had, &response.body),
            Ok(response) if response.status == 304 => {}
            // 4011: history cannot be read now.
            Ok(response) if response.status == 400 && soak.redis.was_down_since(state) => {
                sleep(BREATH).await;
            }
            other => {
                soak.wrong(format!("a poll was answered with {other:?}"));
                sleep(BREATH).await;
            }
        }
    }
}

fn take(soak: &Soak, channel: &Channel, had: &RefCell<Had>, frames: &str) {
    let before = had.borrow().len();
    if let Err(what) = had.borrow_mut().take(frames) {
        soak.wrong(format!("on channel {}: {what}", channel.id));
    }
    soak.counts.received.add(had.borrow().len() - before);
}

/// New guests: the number of the first page is new, and the cookie brings it again.
pub(super) async fn browse(soak: Rc<Soak>, road: Road) {
    loop {
        sleep(PAUSE).await;
        let Some(first) = page(&soak, &road, &PAGE).await else {
            continue;
        };
        let (Some(number), Some(cookie)) = (number(&first), first.cookie()) else {
            soak.wrong(format!("a page without a guest: {first:?}"));
            continue;
        };
        if !soak.numbers.borrow_mut().insert(number.clone()) {
            soak.wrong(format!("guest {number} was given twice"));
        }
        let cookie = format!("Cookie: {cookie}");
        if let Some(second) = page(&soak, &road, &[&PAGE[..], &[&cookie]].concat()).await
            && self::number(&second) != Some(number)
        {
            soak.wrong(format!("another guest on the second page: {second:?}"));
        }
    }
}

fn number(page: &Response) -> Option<String> {
    let (_, number) = page.body.split_once("<p id=\"guest\">")?;
    Some(number.split('<').next()?.to_owned())
}

/// A page, unless the site was down.
async fn page(soak: &Soak, road: &Road, headers: &[&str]) -> Option<Response> {
    let state = soak.back_end.state();
    match soak.get(road, "/", headers).await {
        Ok(response) if response.status == 200 => {
            soak.counts.pages.add(1);
            Some(response)
        }
        Ok(_) | Err(_) if soak.back_end.was_down_since(state) => {
            soak.counts.pages_while_down.add(1);
            None
        }
        other => {
            soak.wrong(format!("a page was answered with {other:?}"));
            None
        }
    }
}

/// Uploads that take ten seconds each.
pub(super) async fn upload(soak: Rc<Soak>, road: Road) {
    loop {
        sleep(PAUSE).await;
        let state = soak.back_end.state();
        match upload_once(&soak, &road).await {
            Ok(response) if response.status == 200 => {
                let length = response.json()["length"].as_u64();
                if length != u64::try_from(UPLOAD_PIECES * UPLOAD_PIECE.len()).ok() {
                    soak.wrong(format!("an upload of {length:?} bytes came"));
                }
                soak.counts.uploads.add(1);
            }
            Ok(_) | Err(_) if soak.back_end.was_down_since(state) => {
                soak.counts.uploads_while_down.add(1);
            }
            other => soak.wrong(format!("an upload was answered with {other:?}")),
        }
    }
}

async fn upload_once(soak: &Soak, road: &Road) -> std::io::Result<Response> {
    let mut stream = soak.connect(road).await?;
    let length = UPLOAD_PIECES * UPLOAD_PIECE.len();
    let head = format!(
        "POST /upload.php HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    for _ in 0..UPLOAD_PIECES {
        sleep(Duration::from_millis(200)).await;
        if stream.write_all(UPLOAD_PIECE.as_bytes()).await.is_err() {
            break; // the response says why
        }
    }
    read(&mut stream).await
}
