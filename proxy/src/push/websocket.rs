//! Websocket subscribers (RFC 6455). In binary mode they may also publish.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use pullgate_compat::channel::ChannelList;
use pullgate_compat::message::MessageId;
use pullgate_compat::status::Status;
use pullgate_compat::wire::Rights;
use tokio::time::{Instant, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message as Frame, Utf8Bytes};

use super::answer;
use super::binary::{self, Outcome, Refused};
use crate::body::Body;
use crate::hub::outgoing::{Format, Outgoing, caught_up};
use crate::hub::subscriber::Closed;
use crate::server::{Core, Counted};

/// How long a closing client may take to close its side.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Tells a client to come back: RFC 6455's registry, "try again later".
const TRY_AGAIN: u16 = 1013;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Why a connection ends.
enum End {
    /// The peer closed, or broke the protocol, and was answered.
    Peer,
    /// It did not answer a ping, or takes nothing.
    Silent,
    /// We close it.
    Close(u16, String),
}

/// Whether the head asks for an upgrade; what of is checked by [`accept`].
pub(crate) fn is_handshake(headers: &HeaderMap) -> bool {
    let upgrades = |value: &HeaderValue| {
        value
            .to_str()
            .is_ok_and(|value| value.to_ascii_lowercase().contains("upgrade"))
    };
    headers.contains_key(UPGRADE) && headers.get_all(CONNECTION).iter().any(upgrades)
}

/// Answers the handshake and serves the connection in a task of its own.
pub(crate) fn accept(
    core: &Arc<Core>,
    mut request: Request<Incoming>,
    channels: ChannelList,
    mid: Option<MessageId>,
    format: Format,
) -> Response<Body> {
    let (accept, protocol) = match check(&request) {
        Ok(checked) => checked,
        Err((status, why)) => return answer(status, why),
    };
    let core = Arc::clone(core);
    let upgrade = hyper::upgrade::on(&mut request);
    // The HTTP connection ends with the upgrade; the socket goes on to count.
    let counted = Counted::new(&core.app);
    tokio::spawn(async move {
        serve(core, upgrade, channels, mid, format).await;
        drop(counted);
    });

    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = protocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    response
}

type Handshake = (StatusCode, &'static str);

/// The accept key, and the first of the offered subprotocols.
fn check(request: &Request<Incoming>) -> Result<(HeaderValue, Option<HeaderValue>), Handshake> {
    let bad = |why| (StatusCode::BAD_REQUEST, why);
    let headers = request.headers();
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    if request.method() != Method::GET {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "Invalid HTTP method"));
    }
    if !text(UPGRADE).is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket")) {
        return Err(bad("Invalid Upgrade header"));
    }
    let key = text(SEC_WEBSOCKET_KEY)
        .filter(|key| key.len() == 24 && data_encoding::BASE64.decode(key.as_bytes()).is_ok())
        .ok_or(bad("Missing or invalid Sec-WebSocket-Key header"))?;
    if !matches!(text(SEC_WEBSOCKET_VERSION), Some("13" | "8")) {
        return Err(bad("Missing or invalid Sec-WebSocket-Version header"));
    }
    let protocol = match text(SEC_WEBSOCKET_PROTOCOL) {
        Some(offered) => {
            let first = offered.split(',').next().unwrap_or_default().trim();
            Some(
                HeaderValue::from_str(first)
                    .map_err(|_| bad("Invalid Sec-WebSocket-Protocol header"))?,
            )
        }
        None => None,
    };
    let accept = derive_accept_key(key.as_bytes())
        .try_into()
        .map_err(|_| bad("Bad Request"))?;
    Ok((accept, protocol))
}

async fn serve(
    core: Arc<Core>,
    upgrade: OnUpgrade,
    channels: ChannelList,
    mid: Option<MessageId>,
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
    let end = if channels.is_empty() {
        refused(Status::WrongChannelId)
    } else {
        converse(&core, &mut socket, &channels, mid, format).await
    };
    if let End::Close(code, reason) = end {
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: reason.into(),
        };
        let _ = timeout(CLOSE_TIMEOUT, async {
            // The peer answers with its own close frame, behind which the stream ends.
            if socket.close(Some(frame)).await.is_ok() {
                while let Some(Ok(_)) = socket.next().await {}
            }
        })
        .await;
    }
}

/// Everything between the handshake and the end.
async fn converse(
    core: &Core,
    socket: &mut Socket,
    channels: &ChannelList,
    mid: Option<MessageId>,
    format: Format,
) -> End {
    let (subscription, missed) = core.app.hub.subscribe(core.index, channels, mid);
    let send_timeout = core.app.config.server.send_timeout;
    if !missed.is_empty()
        && let Err(end) = send(
            socket,
            frame(caught_up(&missed, format), format),
            send_timeout,
        )
        .await
    {
        return end;
    }
    drop(missed);
    let every = core.app.config.push.ping_interval;
    let mut pings = interval_at(Instant::now() + every, every);
    let mut answered = true;
    let rights = Rights::Untrusted {
        sender: channels.sender(),
    };
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
                Some(Ok(Frame::Pong(_))) => answered = true,
                Some(Ok(Frame::Binary(_) | Frame::Text(_))) if format == Format::Text => {}
                Some(Ok(request @ (Frame::Binary(_) | Frame::Text(_)))) => {
                    match answer_request(core, &request.into_data(), rights) {
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
fn answer_request(core: &Core, request: &[u8], rights: Rights) -> Result<Option<Frame>, End> {
    match binary::carry_out(&core.app, request, rights) {
        Ok(Outcome::Published) => Ok(None),
        Ok(Outcome::Answer(batch)) => Ok(Some(Frame::Binary(batch.into()))),
        Err(Refused::Status(status)) => Err(refused(status)),
        Err(Refused::Overloaded(_)) => Err(End::Close(TRY_AGAIN, "Overloaded".into())),
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
