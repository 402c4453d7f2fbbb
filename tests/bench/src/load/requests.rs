//! Requests in a closed loop: each connection asks again when it was answered. Pages of the site, and messages for nobody.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::connections::Connections;
use super::http::Response;
use super::{Target, Window};
use crate::Result;
use crate::figures::{Figures, Latencies};

/// How long a response may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who asks for what.
pub(super) struct Requests<'a> {
    pub(super) address: SocketAddr,
    /// Each connection takes them in turn.
    pub(super) requests: &'a [String],
    /// How many connections there are at a time.
    pub(super) connections: usize,
    /// Each request has a connection of its own.
    pub(super) fresh: bool,
}

/// What a connection has under way.
#[derive(Clone, Copy)]
struct UnderWay {
    began: Instant,
    /// Which of the requests it is.
    request: usize,
}

impl Requests<'_> {
    pub(super) fn measure(&self, target: &Target<'_>, window: &Window) -> Result<Figures> {
        let mut connections = Connections::new()?;
        // By the number of the connection.
        let mut under_way = Vec::new();
        let mut latencies = Latencies::default();
        let mut measuring = window.begin(target);
        // Each begins elsewhere, and goes on by as many as there are.
        for first in 0..self.connections {
            let number = connections.open(self.address)?;
            self.ask(&mut connections, &mut under_way, number, first)?;
        }
        while measuring.goes_on(target) {
            let Some(input) = connections.next(measuring.until())? else {
                continue;
            };
            let number = input.number;
            let Some(response) = Response::parse(input.bytes)? else {
                if input.has_ended {
                    return Err("a connection was closed instead of a response".into());
                }
                continue;
            };
            if !matches!(response.status, 200..=202) {
                return Err(format!("a response with status {}", response.status).into());
            }
            input.bytes.drain(..response.body.end);
            let done: Option<UnderWay> = under_way.get_mut(number).and_then(Option::take);
            let done = done.ok_or("a response without a request")?;
            let took = done.began.elapsed();
            if took > PATIENCE {
                return Err(format!("a response took {took:?}").into());
            }
            if measuring.counts() {
                latencies.add(took);
            }
            let number = if self.fresh {
                connections.close(number);
                connections.open(self.address)?
            } else {
                number
            };
            let next = done.request + self.connections;
            self.ask(&mut connections, &mut under_way, number, next)?;
        }
        Ok(measuring.figures(latencies.len(), &latencies))
    }

    fn ask(
        &self,
        connections: &mut Connections,
        under_way: &mut Vec<Option<UnderWay>>,
        number: usize,
        request: usize,
    ) -> io::Result<()> {
        if under_way.len() <= number {
            under_way.resize(number + 1, None);
        }
        if let Some(place) = under_way.get_mut(number) {
            let began = Instant::now();
            *place = Some(UnderWay { began, request });
        }
        let text = self.requests.get(request % self.requests.len());
        connections.send(number, text.map(String::as_bytes).unwrap_or_default())
    }
}
