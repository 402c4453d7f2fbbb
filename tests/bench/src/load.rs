//! The work that servers are measured at, by one thread that counts everything: a wrong status ends the run.
//!
//! | module | its loads |
//! |---|---|
//! | [`requests`] | pages of the site, messages for nobody: a closed loop |
//! | [`push`] | messages that subscribers must get, by websocket or long polling |
//! | [`idle`] | connections on which nothing happens |
//! | [`storm`] | everybody comes back at once |
//! | [`h2load`] | pages by TLS, by the program of that name |

mod connections;
mod h2load;
mod http;
mod idle;
mod ledger;
mod push;
mod requests;
mod storm;
mod subscribers;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pullgate_compat::signature::SignatureKey;

use crate::Result;
use crate::figures::{Figure, Figures, Latencies, to_f64};
use crate::process::Processes;
use requests::Requests;

/// Bytes of a message's body, as near as its JSON comes.
const MESSAGE: usize = 512;

/// A kind of work.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// Pages of the site.
    Pages {
        path: &'static str,
        connections: usize,
        /// A new connection for each.
        fresh: bool,
    },
    /// The same by TLS.
    TlsPages { http2: bool, connections: usize },
    /// Messages to channels to which nobody listens.
    Publish {
        publishers: usize,
        channels: usize,
        stored: bool,
    },
    /// Messages to subscribers.
    Push(Push),
    /// Connections on which nothing happens.
    Idle { what: Idle, connections: usize },
    /// All subscribers are cut off at once, and come back.
    Storm { subscribers: usize },
}

/// Messages to subscribers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Push {
    pub(crate) subscribers: usize,
    /// Subscribers take them in turn.
    pub(crate) channels: usize,
    /// How subscribers listen.
    pub(crate) by: By,
    pub(crate) pace: Pace,
    /// Connections that publish; each to channels of its own.
    pub(crate) publishers: usize,
    pub(crate) stored: bool,
}

/// How a subscriber listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Text,
    Binary,
    Poll,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// Messages per second.
    Rate(u32),
    /// As fast as it goes, with at most so many messages under way: not yet delivered to everybody.
    Window(usize),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Idle {
    Websocket,
    /// Has had a response.
    KeptAlive,
    /// Has said nothing.
    Silent,
    Poll,
}

/// The server that is measured.
pub(crate) struct Target<'a> {
    /// For everyone: the site, and subscribers.
    pub(crate) site: SocketAddr,
    /// The same by TLS.
    pub(crate) tls: SocketAddr,
    /// For who publishes.
    pub(crate) publish: SocketAddr,
    pub(crate) dialect: &'a Dialect,
    /// Visitors are guests, and bring a cookie.
    pub(crate) guests: bool,
    pub(crate) processes: &'a Processes,
}

/// How the push server is spoken to.
pub(crate) enum Dialect {
    /// As Bitrix does.
    Bitrix(SignatureKey),
    Nchan,
}

impl Dialect {
    /// Where a websocket of this channel is asked for.
    fn websocket(&self, channel: usize, binary: bool) -> String {
        match self {
            Self::Bitrix(key) => {
                let mode = if binary { "&binaryMode=true" } else { "" };
                format!("/bitrix/subws/?CHANNEL_ID={}{mode}", signed(key, channel))
            }
            Self::Nchan => format!("/sub/{channel:032x}"),
        }
    }

    /// What the next message of a channel is asked for with.
    fn poll(&self, channel: usize, after: &After) -> String {
        let headers = match after {
            After::Validators(tag, date) => {
                format!("If-None-Match: {tag}\r\nIf-Modified-Since: {date}\r\n")
            }
            After::Nothing | After::Id(_) => String::new(),
        };
        let id = match after {
            After::Id(id) => format!("&mid={id}"),
            After::Nothing | After::Validators(..) => String::new(),
        };
        let path = match self {
            Self::Bitrix(key) => format!("/bitrix/sub/?CHANNEL_ID={}{id}", signed(key, channel)),
            Self::Nchan => format!("/poll/{channel:032x}"),
        };
        format!("GET {path} HTTP/1.1\r\nHost: site.test\r\n{headers}\r\n")
    }

    /// A message to this channel.
    fn publish(&self, channel: usize, body: &str, stored: bool) -> String {
        let path = match self {
            Self::Bitrix(_) => format!("/bitrix/pub/?CHANNEL_ID={channel:032x}"),
            Self::Nchan => format!("/pub/{channel:032x}"),
        };
        let expiry = if stored { 3600 } else { 0 };
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nHost: site.test\r\nMessage-Expiry: {expiry}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    }
}

/// What a poller has had.
enum After {
    Nothing,
    /// This message, and all before.
    Id(String),
    /// The same as `ETag` and `Last-Modified`.
    Validators(String, String),
}

fn signed(key: &SignatureKey, channel: usize) -> String {
    let id = format!("{channel:032x}");
    let signature = key.sign(&id);
    format!("{id}.{signature}")
}

/// How long is measured, and before that not.
pub(crate) struct Window {
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

impl Window {
    fn begin<'a>(&'a self, target: &Target<'_>) -> Measuring<'a> {
        Measuring {
            window: self,
            from: Instant::now() + self.warm_up,
            began: None,
            ended: None,
            cpu: target.processes.cpu(),
        }
    }
}

/// A window that is open, or will be.
struct Measuring<'a> {
    window: &'a Window,
    /// When it opens.
    from: Instant,
    began: Option<Instant>,
    ended: Option<Instant>,
    /// Of the server: at the beginning, then between beginning and end.
    cpu: Duration,
}

impl Measuring<'_> {
    /// Whether it is not over yet. Looks at the clock, and at the server's CPU where it must.
    fn goes_on(&mut self, target: &Target<'_>) -> bool {
        let now = Instant::now();
        match self.began {
            None if now >= self.from => {
                self.cpu = target.processes.cpu();
                self.began = Some(Instant::now());
            }
            Some(began) if self.ended.is_none() && now - began >= self.window.measured => {
                self.ended = Some(now);
                self.cpu = target.processes.cpu().saturating_sub(self.cpu);
            }
            None | Some(_) => {}
        }
        self.ended.is_none()
    }

    /// Whether what happens now counts.
    fn counts(&self) -> bool {
        self.began.is_some() && self.ended.is_none()
    }

    /// When to look again.
    fn until(&self) -> Instant {
        match self.began {
            None => self.from,
            Some(began) => began + self.window.measured,
        }
    }

    /// Of so many units.
    fn figures(&self, units: u64, latencies: &Latencies) -> Figures {
        let seconds = match (self.began, self.ended) {
            (Some(began), Some(ended)) => (ended - began).as_secs_f64(),
            (_, _) => self.window.measured.as_secs_f64(),
        };
        Figures::from([
            (Figure::Rate, to_f64(units) / seconds),
            (
                Figure::Cpu,
                self.cpu.as_secs_f64() * 1e6 / to_f64(units.max(1)),
            ),
            (Figure::Median, latencies.quantile(0.5)),
            (Figure::P99, latencies.quantile(0.99)),
        ])
    }
}

impl Load {
    pub(crate) fn measure(&self, target: &Target<'_>, window: &Window) -> Result<Figures> {
        let mut figures = match *self {
            Self::Pages {
                path,
                connections,
                fresh,
            } => {
                let pages = Requests {
                    address: target.site,
                    requests: &[page(target, path, fresh)?],
                    connections,
                    fresh,
                };
                pages.measure(target, window)?
            }
            Self::TlsPages { http2, connections } => {
                h2load::measure(target, window, http2, connections)?
            }
            Self::Publish {
                publishers,
                channels,
                stored,
            } => {
                let message = |channel| {
                    let body = push::body(0, 0);
                    target.dialect.publish(channel, &body, stored)
                };
                let messages: Vec<String> = (1..=channels).map(message).collect();
                let publishes = Requests {
                    address: target.publish,
                    requests: &messages,
                    connections: publishers,
                    fresh: false,
                };
                publishes.measure(target, window)?
            }
            Self::Push(push) => push::measure(target, window, &push)?,
            Self::Idle { what, connections } => return idle::measure(target, what, connections),
            Self::Storm { subscribers } => storm::measure(target, subscribers)?,
        };
        if figures.get(&Figure::Rate).is_none_or(|rate| *rate <= 0.0) {
            return Err("nothing came back".into());
        }
        let memory = to_f64(target.processes.memory()) / 1e6;
        figures.insert(Figure::Memory, memory);
        Ok(figures)
    }
}

/// A request for a page, by a guest if there are any: with the cookie that its first request got.
fn page(target: &Target<'_>, path: &str, fresh: bool) -> Result<String> {
    let connection = if fresh { "Connection: close\r\n" } else { "" };
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: site.test\r\nAccept: text/html\r\n{connection}");
    if !target.guests {
        return Ok(format!("{head}\r\n"));
    }
    let cookie = subscribers::ask(target.site, &format!("{head}\r\n"))?
        .cookie
        .ok_or("a guest got no cookie")?;
    Ok(format!("{head}Cookie: {cookie}\r\n\r\n"))
}
