//! Messages that subscribers must get: each once, in the order of its channel. Latency is from when a message was due until its
//! last byte was read.

use std::time::{Duration, Instant};

use memchr::memmem::{Finder, rfind};

use super::connections::Connections;
use super::http::{CLOSE, Frame, PING, PONG, Response, upgrade};
use super::ledger::{Faults, Ledger};
use super::subscribers::{PATIENCE, open_gently};
use super::{After, By, Dialect, MESSAGE, Measuring, Pace, Push, Target, Window};
use crate::Result;
use crate::figures::{Figure, Figures, Latencies, to_f64};

/// Before the numbers of a message, wherever they stand: in a text frame, in protobuf, in a bare body.
const MARK: &str = "~mark~";
/// Digits of each of the two numbers.
const DIGITS: usize = 8;
/// Until the last pollers have been heard, after they have asked.
const SETTLING: Duration = Duration::from_millis(1500);

/// The body of a message: its number in its channel, and among all.
pub(super) fn body(in_channel: u32, among_all: u32) -> String {
    let mark =
        format!(r#"{{"module_id":"bench","n":"{MARK}{in_channel:08x}{among_all:08x}","x":""#);
    let fill = MESSAGE.saturating_sub(mark.len() + 2);
    format!("{mark}{:x<fill$}\"}}", "")
}

/// What a whole run knows.
struct Crowd<'a> {
    target: &'a Target<'a>,
    push: &'a Push,
    connections: Connections,
    /// By the number of the connection.
    roles: Vec<Role>,
    ledgers: Vec<Ledger>,
    /// Messages that were published, by number among all.
    messages: Vec<Message>,
    /// Of each channel, the newest number.
    newest: Vec<u32>,
    /// Messages that are not answered or not delivered to everybody.
    under_way: usize,
    /// Publishers that wait for nothing: their number, and the channel that is next.
    free: Vec<Publisher>,
    units: u64,
    latencies: Latencies,
    mark: Finder<'static>,
}

enum Role {
    None,
    Subscriber(usize),
    Publisher(Option<Publisher>, usize),
}

struct Publisher {
    connection: usize,
    /// Of its own channels.
    next: usize,
}

struct Message {
    due: Instant,
    /// Subscribers that have not got it, and one for the publisher without an answer.
    waiting: usize,
}

pub(super) fn measure(target: &Target<'_>, window: &Window, push: &Push) -> Result<Figures> {
    let mut crowd = Crowd::gather(target, push)?;
    let mut measuring = window.begin(target);
    let began = Instant::now();
    while measuring.goes_on(target) {
        let next_due = crowd.publish(began)?;
        let until = measuring
            .until()
            .min(next_due.unwrap_or_else(|| measuring.until()));
        crowd.turn(until, Some(&measuring))?;
    }
    let until = Instant::now() + PATIENCE;
    while crowd.under_way > 0 && Instant::now() < until {
        crowd.turn(until.min(Instant::now() + Duration::from_millis(100)), None)?;
    }
    // What comes twice may come late.
    let until = Instant::now() + Duration::from_millis(200);
    while Instant::now() < until {
        crowd.turn(until, None)?;
    }
    let faults = crowd.faults();
    let mut figures = measuring.figures(crowd.units, &crowd.latencies);
    figures.insert(Figure::Lost, to_f64(faults.lost));
    figures.insert(Figure::Doubled, to_f64(faults.doubled));
    figures.insert(Figure::Disordered, to_f64(faults.disordered));
    Ok(figures)
}

impl<'a> Crowd<'a> {
    /// Everybody is there and listens.
    fn gather(target: &'a Target<'a>, push: &'a Push) -> Result<Self> {
        let mut connections = Connections::new()?;
        let mut roles = Vec::new();
        let dialect = target.dialect;
        let channel = |subscriber: usize| subscriber % push.channels;
        let subscribers = match push.by {
            By::Text | By::Binary => {
                let ask = |subscriber| {
                    upgrade(&dialect.websocket(channel(subscriber), push.by == By::Binary))
                };
                open_gently(&mut connections, target.site, push.subscribers, 101, ask)?
            }
            By::Poll => (0..push.subscribers)
                .map(|subscriber| {
                    let number = connections.open(target.site)?;
                    let ask = dialect.poll(channel(subscriber), &After::Nothing);
                    connections.send(number, ask.as_bytes())?;
                    Ok(number)
                })
                .collect::<Result<Vec<_>>>()?,
        };
        for (subscriber, number) in subscribers.into_iter().enumerate() {
            give(&mut roles, number, Role::Subscriber(subscriber));
        }
        let mut free = Vec::new();
        for publisher in 0..push.publishers {
            let connection = connections.open(target.publish)?;
            give(&mut roles, connection, Role::Publisher(None, 0));
            free.push(Publisher {
                connection,
                next: publisher,
            });
        }
        let mut crowd = Self {
            target,
            push,
            connections,
            roles,
            ledgers: (0..push.subscribers).map(|_| Ledger::default()).collect(),
            messages: Vec::new(),
            newest: vec![0; push.channels],
            under_way: 0,
            free,
            units: 0,
            latencies: Latencies::default(),
            mark: Finder::new(MARK).into_owned(),
        };
        let until = Instant::now() + SETTLING;
        while Instant::now() < until {
            crowd.turn(until, None)?;
        }
        Ok(crowd)
    }

    /// Publishes what is to be published now, and says when the next message is due, if a clock decides that.
    fn publish(&mut self, began: Instant) -> Result<Option<Instant>> {
        loop {
            let due = match self.push.pace {
                Pace::Window(window) if self.under_way >= window => return Ok(None),
                Pace::Window(_) => Instant::now(),
                Pace::Rate(rate) => {
                    let number = to_f64(self.messages.len() as u64);
                    let due = began + Duration::from_secs_f64(number / f64::from(rate));
                    if due > Instant::now() {
                        return Ok(Some(due));
                    }
                    due
                }
            };
            let Some(publisher) = self.free.pop() else {
                return Ok(None);
            };
            self.publish_one(publisher, due)?;
        }
    }

    fn publish_one(&mut self, mut publisher: Publisher, due: Instant) -> Result<()> {
        let Publisher { connection, next } = publisher;
        let number = self.messages.len();
        let newest = self.newest.get_mut(next).ok_or("no such channel")?;
        *newest += 1;
        let body = body(*newest, u32::try_from(number)?);
        let request = self.target.dialect.publish(next, &body, self.push.stored);
        // Channels of a publisher are its own, so that their order is known.
        publisher.next = next + self.push.publishers;
        if publisher.next >= self.push.channels {
            publisher.next %= self.push.publishers;
        }
        self.messages.push(Message {
            due,
            waiting: self.push.subscribers / self.push.channels + 1,
        });
        self.under_way += 1;
        give(
            &mut self.roles,
            connection,
            Role::Publisher(Some(publisher), number),
        );
        Ok(self.connections.send(connection, request.as_bytes())?)
    }

    /// Takes what has come on one connection.
    fn turn(&mut self, until: Instant, measuring: Option<&Measuring<'_>>) -> Result<()> {
        let Some(input) = self.connections.next(until)? else {
            return Ok(());
        };
        if input.has_ended {
            return Err("the server has closed a connection".into());
        }
        let number = input.number;
        match self.roles.get_mut(number) {
            Some(Role::Publisher(publisher, message)) => {
                let Some(response) = Response::parse(input.bytes)? else {
                    return Ok(());
                };
                if !matches!(response.status, 200..=202) {
                    return Err(format!("a message got status {}", response.status).into());
                }
                input.bytes.clear();
                self.free.extend(publisher.take());
                let message = *message;
                self.has_come(message);
            }
            Some(Role::Subscriber(subscriber)) => {
                let (subscriber, by) = (*subscriber, self.push.by);
                let bytes = std::mem::take(input.bytes);
                let rest = match by {
                    By::Text | By::Binary => self.frames(number, subscriber, &bytes, measuring)?,
                    By::Poll => self.polled(number, subscriber, &bytes, measuring)?,
                };
                self.keep(number, bytes, rest);
            }
            Some(Role::None) | None => {}
        }
        Ok(())
    }

    /// What of `bytes` was not whole waits for more.
    fn keep(&mut self, number: usize, mut bytes: Vec<u8>, rest: usize) {
        bytes.drain(..rest);
        self.connections.put_back(number, bytes);
    }

    /// Where the first frame begins that is not whole.
    fn frames(
        &mut self,
        number: usize,
        subscriber: usize,
        bytes: &[u8],
        measuring: Option<&Measuring<'_>>,
    ) -> Result<usize> {
        let mut at = 0;
        while let Some(frame) = Frame::parse(bytes.get(at..).unwrap_or_default()) {
            let (begin, end) = (at + frame.payload.start, at + frame.payload.end);
            match frame.opcode {
                CLOSE => return Err("the server has closed a websocket".into()),
                PING => self.connections.send(number, &PONG)?,
                _ => self.enter(
                    subscriber,
                    bytes.get(begin..end).unwrap_or_default(),
                    measuring,
                )?,
            }
            at = end;
        }
        Ok(at)
    }

    /// The same of a response, after which the next is asked for.
    fn polled(
        &mut self,
        number: usize,
        subscriber: usize,
        bytes: &[u8],
        measuring: Option<&Measuring<'_>>,
    ) -> Result<usize> {
        let Some(response) = Response::parse(bytes)? else {
            return Ok(0);
        };
        if response.status != 200 {
            return Err(format!("a poll got status {}", response.status).into());
        }
        let end = response.body.end;
        let body = bytes.get(response.body).unwrap_or_default();
        self.enter(subscriber, body, measuring)?;
        let after = match (self.target.dialect, response.validators) {
            (Dialect::Bitrix(_), _) => After::Id(last_id(body).ok_or("a message without id")?),
            (Dialect::Nchan, Some((tag, date))) => After::Validators(tag, date),
            (Dialect::Nchan, None) => return Err("a response without ETag".into()),
        };
        let channel = subscriber % self.push.channels;
        let ask = self.target.dialect.poll(channel, &after);
        self.connections.send(number, ask.as_bytes())?;
        Ok(end)
    }

    /// Enters every message in what a subscriber got.
    fn enter(
        &mut self,
        subscriber: usize,
        bytes: &[u8],
        measuring: Option<&Measuring<'_>>,
    ) -> Result<()> {
        let now = Instant::now();
        let counts = measuring.is_some_and(Measuring::counts);
        let mut rest = bytes;
        while let Some(at) = self.mark.find(rest) {
            let at = at + MARK.len();
            let numbers = rest.get(at..at + 2 * DIGITS).ok_or("half a message")?;
            let (in_channel, among_all) = numbers.split_at(DIGITS);
            let (in_channel, among_all) = (hex(in_channel)?, hex(among_all)?);
            rest = rest.get(at + 2 * DIGITS..).unwrap_or_default();
            let ledger = self
                .ledgers
                .get_mut(subscriber)
                .ok_or("no such subscriber")?;
            if !ledger.enter(in_channel) {
                continue;
            }
            let message = usize::try_from(among_all)?;
            let due = self.messages.get(message).ok_or("a message of nobody")?.due;
            if counts {
                self.units += 1;
                self.latencies.add(now - due);
            }
            self.has_come(message);
        }
        Ok(())
    }

    /// One of those that wait for a message has got it.
    fn has_come(&mut self, message: usize) {
        if let Some(message) = self.messages.get_mut(message) {
            message.waiting = message.waiting.saturating_sub(1);
            if message.waiting == 0 {
                self.under_way -= 1;
            }
        }
    }

    fn faults(&self) -> Faults {
        let mut faults = Faults::default();
        for (subscriber, ledger) in self.ledgers.iter().enumerate() {
            let published = self.newest.get(subscriber % self.push.channels);
            faults.add(ledger.close(published.copied().unwrap_or_default()));
        }
        faults
    }
}

fn give(roles: &mut Vec<Role>, number: usize, role: Role) {
    if roles.len() <= number {
        roles.resize_with(number + 1, || Role::None);
    }
    if let Some(place) = roles.get_mut(number) {
        *place = role;
    }
}

fn hex(digits: &[u8]) -> Result<u32> {
    Ok(u32::from_str_radix(std::str::from_utf8(digits)?, 16)?)
}

/// The id of the last message of a text frame.
fn last_id(body: &[u8]) -> Option<String> {
    const NAME: &[u8] = br#""mid":""#;
    let id = body.get(rfind(body, NAME)? + NAME.len()..)?;
    let end = memchr::memchr(b'"', id)?;
    String::from_utf8(id.get(..end)?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_as_long_as_messages_are() {
        let body = body(1, u32::MAX);
        assert_eq!(body.len(), MESSAGE);
        assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok());
        assert!(body.contains("~mark~00000001ffffffff"));
    }

    #[test]
    fn a_poll_goes_on_after_the_last_message() {
        let body = br##"#!NGINXNMS!#{"id":1,"mid":"12","text":{}}#!NGINXNME!##!NGINXNMS!#{"id":2,"mid":"34","text":{}}#!NGINXNME!#"##;
        assert_eq!(last_id(body).as_deref(), Some("34"));
        assert_eq!(last_id(b"{}"), None);
    }
}
