//! Websocket subscribers (RFC 6455). In binary mode they may also publish.

pub(crate) mod handshake;
mod outbox;
mod socket;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use pullgate_compat::channel::ChannelList;
use pullgate_compat::message::MessageId;
use pullgate_compat::status::Status;
use pullgate_compat::websocket::{CloseCode, CloseFrame, Event, Opcode, encode_close};
use pullgate_compat::wire::Rights;
use tokio::time::{Instant, sleep_until, timeout};

use super::binary::{self, Outcome, Refused};
use crate::body::Body;
use crate::hub::catch_up::Missed;
use crate::hub::outgoing::Format;
use crate::hub::subscriber::{Closed, Subscription};
use crate::limits::Place;
use crate::site::Site;
use crate::statistics::Transport;
use socket::{Broken, Socket, Step};

/// How long a closing client may take to close its side.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A place in the hub, and what was missed before and is still to be sent.
type Subscribed = (Listening, Option<Box<Missed>>);

/// Why a connection ends.
enum End {
    /// The client has gone.
    Gone,
    /// It did not answer a ping, or takes nothing.
    Silent,
    /// Either side says goodbye.
    Close(Option<CloseFrame>),
}

/// Answers the handshake and serves the connection in a task of its own. Whoever is told that the websocket is
/// open listens already: the site may publish at once.
pub(crate) async fn accept(
    site: &Arc<Site>,
    core: usize,
    mut request: Request<Incoming>,
    channels: ChannelList,
    mid: Option<MessageId>,
    format: Format,
    place: Option<Place>,
) -> Response<Body> {
    let accepted = match handshake::check(&request) {
        Ok(accepted) => accepted,
        Err(refused) => return refused.into(),
    };
    let subscribed = match channels.is_empty() {
        true => Err(Status::WrongChannelId),
        false => {
            let subscribed = Box::pin(site.subscribe(core, &channels, mid)).await;
            subscribed.map_err(|_| Status::NoLastMessages)
        }
    };
    let site = Arc::clone(site);
    let rights = Rights::Untrusted {
        sender: channels.sender(),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    // The HTTP connection ends with the upgrade; the socket goes on to count.
    let counted = (site.connections.count(), place);
    let subscribed = subscribed.map(|(subscription, missed)| {
        let listening = Listening {
            subscription,
            answered: true,
            next_ping: Instant::now() + site.config.push.ping_interval,
        };
        (listening, Some(Box::new(missed)))
    });
    tokio::spawn(serve(site, upgrade, subscribed, rights, format, counted));
    accepted.into()
}

/// An idle connection costs what this future takes. So what it seldom does is boxed while it does it; and it is no `async
/// fn`, which would keep every argument twice.
#[expect(clippy::manual_async_fn, reason = "see above")]
fn serve(
    site: Arc<Site>,
    upgrade: OnUpgrade,
    mut subscribed: Result<Subscribed, Status>,
    rights: Rights,
    format: Format,
    counted: impl Send,
) -> impl Future<Output = ()> + Send {
    async move {
        let Ok(upgraded) = upgrade.await else { return };
        let Some(socket) = Socket::new(upgraded, site.config.push.limits.max_payload) else {
            return tracing::error!("a websocket is not on a connection of ours");
        };
        let mut client = Client {
            site,
            socket,
            rights,
            format,
        };
        let end = match &mut subscribed {
            Ok((listening, missed)) => {
                let site = Arc::clone(&client.site);
                let _connected = site.statistics.connected(Transport::Websocket);
                let mut went_on = match missed.take() {
                    Some(missed) => Box::pin(client.catch_up(missed, listening)).await,
                    None => Ok(()),
                };
                loop {
                    match went_on {
                        Ok(()) => went_on = client.step(listening).await,
                        Err(end) => break end,
                    }
                }
            }
            Err(status) => refused(*status),
        };
        drop(subscribed);
        if let End::Close(goodbye) = end {
            // Beyond this time the client does not keep to the protocol: it is cut off.
            let _ = Box::pin(timeout(CLOSE_TIMEOUT, client.close(goodbye))).await;
        }
        drop(counted);
    }
}

/// One client's end of the connection.
struct Client {
    site: Arc<Site>,
    socket: Socket,
    rights: Rights,
    format: Format,
}

/// What is known of a client that listens.
struct Listening {
    subscription: Subscription,
    /// Whether it has answered the last ping.
    answered: bool,
    next_ping: Instant,
}

impl Client {
    /// Sends what was missed, a piece behind the other as the client takes them.
    async fn catch_up(
        &mut self,
        mut missed: Box<Missed>,
        listening: &mut Listening,
    ) -> Result<(), End> {
        loop {
            let piece = missed.next().await;
            let piece = piece.map_err(|_| refused(Status::NoLastMessages))?;
            if piece.is_empty() {
                return Ok(());
            }
            self.send([missed.encoded(&piece, self.format)].into_iter());
            drop(piece);
            while !self.socket.is_idle() {
                self.step(listening).await?;
            }
        }
    }

    /// Waits for whatever comes first, and does it. A client that has not taken all is sent nothing but
    /// answers: messages wait in the hub, and what it does not take in time ends the connection.
    async fn step(&mut self, listening: &mut Listening) -> Result<(), End> {
        let is_idle = self.socket.is_idle();
        let until = match is_idle {
            true => listening.next_ping,
            false => self.socket.silent_since() + self.site.server.send_timeout,
        };
        let mut queued = Vec::new();
        tokio::select! {
            live = listening.subscription.next(&mut queued), if is_idle => {
                live.map_err(given_up)?;
                let format = self.format;
                self.send(queued.iter().map(|outgoing| outgoing.encoded(format).clone()));
            }
            step = self.socket.step() => match step? {
                // Only who is there takes something late.
                Step::Taken { late } => listening.answered |= late,
                Step::Received(event) => Box::pin(self.received(event, listening)).await?,
            },
            // What waits for it may not wait any longer, not even for a close frame.
            () = listening.subscription.let_go(), if !is_idle => return Err(End::Silent),
            () = sleep_until(until) => {
                if !is_idle || !std::mem::take(&mut listening.answered) {
                    return Err(End::Silent);
                }
                self.socket.frame(Opcode::Ping, b"ws ping");
                listening.next_ping = Instant::now() + self.site.config.push.ping_interval;
            }
        }
        self.count(listening);
        Ok(())
    }

    async fn received(&mut self, event: Event, listening: &mut Listening) -> Result<(), End> {
        match event {
            Event::Ping(payload) => self.reply(Opcode::Pong, &payload, listening),
            Event::Pong(_) => {
                listening.answered = true;
                listening.subscription.alive();
                Ok(())
            }
            Event::Text(_) | Event::Binary(_) if self.format == Format::Text => Ok(()),
            Event::Text(request) | Event::Binary(request) => match self.carry_out(request).await? {
                None => Ok(()),
                Some(answer) => self.reply(Opcode::Binary, &answer, listening),
            },
            Event::Close(goodbye) => Err(End::Close(goodbye)),
        }
    }

    /// Carries out what a client asks for in binary mode; an answer, if there is one.
    async fn carry_out(&self, request: Vec<u8>) -> Result<Option<Vec<u8>>, End> {
        match binary::carry_out(&self.site, &request, self.rights, None).await {
            Ok(Outcome::Published) => Ok(None),
            Ok(Outcome::Answer(batch)) => Ok(Some(batch)),
            Err(Refused::Status(status)) => Err(refused(status)),
            Err(Refused::Hub(why)) => Err(closed(CloseCode::TRY_AGAIN, why.to_string())),
        }
    }

    /// Messages as one frame. Bodies were made UTF-8 when they were published.
    fn send(&mut self, messages: impl Iterator<Item = Bytes> + Clone) {
        let opcode = match self.format {
            Format::Text => Opcode::Text,
            Format::Binary => Opcode::Binary,
        };
        self.socket.message(opcode, messages);
    }

    /// What the client asked for waits with all else, in the same bound.
    fn reply(&mut self, opcode: Opcode, payload: &[u8], listening: &Listening) -> Result<(), End> {
        let alone = self.socket.is_idle();
        self.socket.frame(opcode, payload);
        match self.count(listening) || alone {
            true => Ok(()),
            false => Err(given_up(Closed::TooSlow)),
        }
    }

    /// Counts what waits for the client beside its queue; whether that is no more than may wait.
    fn count(&self, listening: &Listening) -> bool {
        let (waiting, own) = (self.socket.waiting(), self.socket.waiting_alone());
        listening.subscription.count_outside(waiting, own)
    }

    /// Says goodbye and waits for the client's own close frame, behind which the stream ends.
    ///
    /// Requests that the client sent before it read our close are carried out as any other.
    async fn close(mut self, goodbye: Option<CloseFrame>) {
        let payload = encode_close(goodbye.as_ref());
        self.socket.frame(Opcode::Close, &payload);
        while self.socket.is_listening() {
            match self.socket.step().await {
                Ok(Step::Received(Event::Text(request) | Event::Binary(request)))
                    if self.format == Format::Binary =>
                {
                    // There is nobody left to tell.
                    let _ = self.carry_out(request).await;
                }
                Ok(Step::Received(_) | Step::Taken { .. }) | Err(Broken::Violation(_)) => {}
                Err(Broken::Gone) => return,
            }
        }
        let _ = self.socket.finish().await;
    }
}

fn closed(code: CloseCode, reason: impl Into<String>) -> End {
    let reason = reason.into();
    End::Close(Some(CloseFrame { code, reason }))
}

fn refused(status: Status) -> End {
    let code = CloseCode::new(status.code()).unwrap_or(CloseCode::POLICY);
    closed(code, status.reason())
}

/// The hub let the client go.
fn given_up(why: Closed) -> End {
    match why {
        Closed::Evicted => refused(Status::TooManyConnections),
        Closed::TooSlow | Closed::NoRoom => closed(CloseCode::TRY_AGAIN, "Too slow"),
        Closed::Drained => closed(CloseCode::AWAY, ""),
        Closed::Unproven => refused(Status::WrongChannelId),
    }
}

impl From<Broken> for End {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Gone => Self::Gone,
            Broken::Violation(violation) => closed(violation.code(), ""),
        }
    }
}
