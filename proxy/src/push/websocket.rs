//! Websocket subscribers (RFC 6455). In binary mode they may also publish.

pub(crate) mod handshake;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use pullgate_compat::channel::ChannelList;
use pullgate_compat::message::MessageId;
use pullgate_compat::status::Status;
use pullgate_compat::wire::Rights;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message as Frame, Utf8Bytes};

use super::binary::{self, Outcome, Refused};
use super::statistics::Transport;
use crate::body::Body;
use crate::hub::catch_up::Missed;
use crate::hub::outgoing::{Format, Outgoing, caught_up};
use crate::hub::subscriber::{Closed, Subscription};
use crate::server::{Core, Counted};

/// How long a closing client may take to close its side.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Tells a client to come back: RFC 6455's registry, "try again later".
const TRY_AGAIN: u16 = 1013;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// A place in the hub, and what was missed before.
type Subscribed = (Subscription, Missed);

/// Why a connection ends.
enum End {
    /// The peer closed, or broke the protocol, and was answered.
    Peer,
    /// It did not answer a ping, or takes nothing.
    Silent,
    /// We close it.
    Close(u16, String),
}

/// Answers the handshake and serves the connection in a task of its own. Whoever is told that the websocket is
/// open listens already: the site may publish at once.
pub(crate) async fn accept(
    core: &Arc<Core>,
    mut request: Request<Incoming>,
    channels: ChannelList,
    mid: Option<MessageId>,
    format: Format,
) -> Response<Body> {
    let accepted = match handshake::check(&request) {
        Ok(accepted) => accepted,
        Err(refused) => return refused.into(),
    };
    let subscribed = match channels.is_empty() {
        true => Err(Status::WrongChannelId),
        false => {
            let subscribed = core.app.hub.subscribe(core.index, &channels, mid).await;
            subscribed.map_err(|_| Status::NoLastMessages)
        }
    };
    let core = Arc::clone(core);
    let rights = Rights::Untrusted {
        sender: channels.sender(),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    // The HTTP connection ends with the upgrade; the socket goes on to count.
    let counted = Counted::new(&core.app);
    tokio::spawn(async move {
        serve(core, upgrade, subscribed, rights, format).await;
        drop(counted);
    });
    accepted.into()
}

async fn serve(
    core: Arc<Core>,
    upgrade: OnUpgrade,
    subscribed: Result<Subscribed, Status>,
    rights: Rights,
    format: Format,
) {
    let Ok(upgraded) = upgrade.await else { return };
    let limits = &core.app.config.push.limits;
    // Small buffers: an idle connection must cost little.
    let config = WebSocketConfig::default()
        .read_buffer_size(512)
        .write_buffer_size(0)
        .max_message_size(Some(limits.max_payload))
        .max_frame_size(Some(limits.max_payload));
    let mut socket =
        WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let end = match subscribed {
        Ok(subscribed) => converse(&core, &mut socket, subscribed, rights, format).await,
        Err(status) => refused(status),
    };
    if let End::Close(code, reason) = end {
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: reason.into(),
        };
        // Beyond this time the peer does not keep to the protocol: it is cut off.
        let _ = timeout(CLOSE_TIMEOUT, close(&core, socket, frame, rights, format)).await;
    }
}

/// Says goodbye and waits for the peer's own close frame, behind which the stream ends.
///
/// Requests that the peer sent before it read our close are carried out as any other.
async fn close(
    core: &Core,
    mut socket: Socket,
    goodbye: CloseFrame,
    rights: Rights,
    format: Format,
) {
    if socket.close(Some(goodbye)).await.is_err() {
        return;
    }
    loop {
        match socket.next().await {
            Some(Ok(request @ (Frame::Binary(_) | Frame::Text(_)))) if format == Format::Binary => {
                // There is nobody left to tell.
                let _ = binary::carry_out(&core.app, &request.into_data(), rights, None).await;
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => break,
        }
    }
    // A peer that broke the protocol, or had more to say, must still get to read why it is closed:
    // bytes of its that nobody has read would make the kernel reset the connection.
    let stream = socket.get_mut();
    let mut rest = [0; 4096];
    if stream.shutdown().await.is_ok() {
        while matches!(stream.read(&mut rest).await, Ok(1..)) {}
    }
}

/// Everything between the handshake and the end.
async fn converse(
    core: &Core,
    socket: &mut Socket,
    (subscription, mut missed): Subscribed,
    rights: Rights,
    format: Format,
) -> End {
    let _connected = core.app.statistics.connected(Transport::Websocket);
    let send_timeout = core.app.config.server.send_timeout;
    loop {
        let piece = match missed.next().await {
            Ok(piece) if piece.is_empty() => break,
            Ok(piece) => frame(caught_up(&piece, format), format),
            Err(_) => return refused(Status::NoLastMessages),
        };
        if let Err(end) = send(socket, piece, send_timeout).await {
            return end;
        }
    }
    drop(missed);
    let every = core.app.config.push.ping_interval;
    let mut pings = interval_at(Instant::now() + every, every);
    let mut answered = true;
    let mut queued: Vec<Arc<Outgoing>> = Vec::new();
    loop {
        tokio::select! {
            live = subscription.next(&mut queued) => match live {
                Ok(()) => {
                    let joined = joined(&std::mem::take(&mut queued), format);
                    if let Err(end) = send(socket, joined, send_timeout).await {
                        return end;
                    }
                }
                Err(Closed::Evicted) => return refused(Status::TooManyConnections),
                Err(Closed::TooSlow) => return End::Close(TRY_AGAIN, "Too slow".into()),
                Err(Closed::Drained) => return End::Close(CloseCode::Away.into(), String::new()),
            },
            received = socket.next() => match received {
                Some(Ok(Frame::Pong(_))) => {
                    answered = true;
                    subscription.alive();
                }
                Some(Ok(Frame::Binary(_) | Frame::Text(_))) if format == Format::Text => {}
                Some(Ok(request @ (Frame::Binary(_) | Frame::Text(_)))) => {
                    match answer_request(core, &request.into_data(), rights).await {
                        Ok(None) => {}
                        Ok(Some(answer)) => {
                            if let Err(end) = send(socket, answer, send_timeout).await {
                                return end;
                            }
                        }
                        Err(end) => return end,
                    }
                }
                Some(Ok(Frame::Ping(_) | Frame::Close(_) | Frame::Frame(_))) => {}
                Some(Err(error)) => return broken(&error),
                None => return End::Peer,
            },
            _ = pings.tick() => {
                if !std::mem::take(&mut answered) {
                    return End::Silent;
                }
                if let Err(end) = send(socket, Frame::Ping(Bytes::from_static(b"ws ping")), send_timeout).await {
                    return end;
                }
            }
        }
    }
}

async fn send(socket: &mut Socket, frame: Frame, within: Duration) -> Result<(), End> {
    match timeout(within, socket.send(frame)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Peer),
        Err(_) => Err(End::Silent),
    }
}

/// Carries out what a client asks for in binary mode.
async fn answer_request(core: &Core, request: &[u8], rights: Rights) -> Result<Option<Frame>, End> {
    match binary::carry_out(&core.app, request, rights, None).await {
        Ok(Outcome::Published) => Ok(None),
        Ok(Outcome::Answer(batch)) => Ok(Some(Frame::Binary(batch.into()))),
        Err(Refused::Status(status)) => Err(refused(status)),
        Err(Refused::Hub(why)) => Err(End::Close(TRY_AGAIN, why.to_string())),
    }
}

/// What was queued goes out as one frame.
fn joined(queued: &[Arc<Outgoing>], format: Format) -> Frame {
    match queued {
        [one] => frame(one.encoded(format).clone(), format),
        many => {
            let parts: Vec<&[u8]> = many
                .iter()
                .map(|outgoing| outgoing.encoded(format).as_ref())
                .collect();
            frame(parts.concat().into(), format)
        }
    }
}

/// Bodies were made UTF-8 when they were published.
fn frame(bytes: Bytes, format: Format) -> Frame {
    match format {
        Format::Text => Frame::Text(Utf8Bytes::try_from(bytes).unwrap_or_default()),
        Format::Binary => Frame::Binary(bytes),
    }
}

fn refused(status: Status) -> End {
    End::Close(status.code(), status.reason())
}

/// The close code for what a peer did wrong (RFC 6455 7.4.1).
fn broken(error: &Error) -> End {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "every other error ends the transport"
    )]
    match error {
        Error::Capacity(_) => End::Close(CloseCode::Size.into(), String::new()),
        Error::Utf8(_) => End::Close(CloseCode::Invalid.into(), String::new()),
        Error::Protocol(_) => End::Close(CloseCode::Protocol.into(), String::new()),
        _ => End::Peer,
    }
}
