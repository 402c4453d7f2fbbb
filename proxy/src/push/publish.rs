//! The back end's side: `POST` publishes text, `GET` asks who is online.

use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use pullgate_compat::channel::{ChannelList, Receiver, Role};
use pullgate_compat::message::{Body as MessageBody, Expiry, MessageType, Sender};
use pullgate_compat::status::Status;
use pullgate_compat::wire::Rights;

use super::binary::{self, Outcome, Refused};
use super::numbers::{BadNumbers, Numbers};
use super::{answer, binary_answer, channels, query, refusal};
use crate::body::{Body, BodyError, Pace, Streamed};
use crate::error::Error;
use crate::history::Draft;
use crate::hub;
use crate::limits::refused;
use crate::log;
use crate::site::Site;
use crate::statistics::Command;

/// Serves the `pub` paths.
pub(crate) async fn serve(site: &Site, request: Request<Incoming>) -> Response<Body> {
    let query = query(&request);
    let binary = query.first("binaryMode").is_some_and(|mode| mode == "true");
    let numbers = match (query.first("USER_ID"), request.method()) {
        (Some(numbers), &Method::POST) => match by_number(site, &numbers) {
            Ok(numbers) => Some(numbers),
            Err(bad) => return answer(StatusCode::BAD_REQUEST, bad.to_string()),
        },
        (Some(_) | None, _) => None,
    };
    let channels = channels(query, &site.signature, Role::Publisher);
    match (request.method(), numbers) {
        (&Method::POST, Some(numbers)) if binary => {
            protobuf(site, request, Rights::TrustedByNumber, Some(&numbers)).await
        }
        (&Method::POST, None) if binary => protobuf(site, request, Rights::Trusted, None).await,
        (&Method::POST, numbers) => text(site, &To { channels, numbers }, request).await,
        (&Method::GET, _) => online(site, &channels, binary).await,
        _ => answer(StatusCode::NOT_FOUND, ""),
    }
}

/// To whom a text goes: channels, guests, or both, as one message, of which nobody has two copies.
struct To<'a> {
    channels: ChannelList,
    numbers: Option<Numbers<'a>>,
}

impl To<'_> {
    fn receivers(&self, expiry: u32) -> Vec<Receiver> {
        let guests = self.numbers.iter().flat_map(|to| to.receivers(expiry));
        self.channels.receivers().chain(guests).collect()
    }
}

fn by_number<'a>(site: &'a Site, numbers: &str) -> Result<Numbers<'a>, BadNumbers> {
    let keys = site.guest_push().ok_or(BadNumbers::NotServed)?.keys();
    let max = site.config.push.limits.max_channels_per_request;
    Numbers::parse(numbers, keys, max)
}

/// Serves the `rest` paths: clients publish to public channels.
pub(crate) async fn serve_clients(site: &Site, request: Request<Incoming>) -> Response<Body> {
    if request.method() != Method::POST {
        return answer(StatusCode::NOT_FOUND, "");
    }
    let sender = channels(query(&request), &site.signature, Role::Subscriber).sender();
    protobuf(site, request, Rights::Untrusted { sender }, None).await
}

/// Answers an order to the server as the reference does: none is rightly signed.
pub(crate) async fn refuse_order(site: &Site, request: Request<Incoming>) -> Response<Body> {
    if request.method() != Method::POST {
        return answer(StatusCode::NOT_FOUND, "");
    }
    match collect(site, request.into_body()).await {
        Ok(body) if body.is_empty() => refusal(Status::EmptyRequest),
        Ok(_) => refusal(Status::WrongRequestSignature),
        Err(error) => uncollected(&error),
    }
}

async fn protobuf(
    site: &Site,
    request: Request<Incoming>,
    rights: Rights,
    to: Option<&Numbers<'_>>,
) -> Response<Body> {
    let body = match collect(site, request.into_body()).await {
        Ok(body) => body,
        Err(error) => return uncollected(&error),
    };
    match binary::carry_out(site, &body, rights, to).await {
        Ok(Outcome::Published) => answer(StatusCode::OK, ""),
        Ok(Outcome::Answer(batch)) => binary_answer(batch),
        Err(Refused::Status(status)) => refusal(status),
        Err(Refused::Hub(why)) => try_again(why),
    }
}

async fn text(site: &Site, to: &To<'_>, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = match collect(site, body).await {
        Ok(body) => body,
        Err(error) => return uncollected(&error),
    };
    let expiry = Expiry::from_header(expiry_header(&head.headers).as_deref()).seconds();
    let receivers = to.receivers(expiry);
    if body.is_empty() || receivers.is_empty() {
        return answer(StatusCode::OK, "");
    }
    site.statistics.message(&MessageType::default());
    let draft = Draft {
        receivers,
        signatures: Vec::new(),
        body: MessageBody::from_lossy(body),
        expiry,
        sender: Sender::Backend,
    };
    match site.hub.publish(vec![draft]).await {
        Ok(()) => answer(StatusCode::OK, ""),
        Err(why) => try_again(why),
    }
}

fn try_again(why: hub::Refused) -> Response<Body> {
    static TOLD: AtomicU64 = AtomicU64::new(0);
    let error = Error::NotPublished(why);
    log::once_a_second(&TOLD, || tracing::warn!("{error}"));
    let told = error.answer();
    let mut response = answer(told.status, told.sentence);
    if let Some(seconds) = told.retry_after {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// `{"infos":[…]}`: the private channels somebody listens to, as asked.
async fn online(site: &Site, channels: &ChannelList, binary: bool) -> Response<Body> {
    if channels.is_empty() {
        return refusal(Status::NoChannels);
    }
    if channels.channels().len() > site.config.push.limits.max_channels_per_request {
        return refusal(Status::TooManyChannels);
    }
    site.statistics.request(Command::ChannelStats);
    let private: Vec<Receiver> = channels
        .channels()
        .iter()
        .map(|channel| Receiver::Private(channel.private))
        .collect();
    if binary {
        return binary_answer(binary::channel_stats(site, &private).await);
    }
    let infos: Vec<String> = channels
        .channels()
        .iter()
        .zip(site.hub.online(&private).await)
        .filter(|(_, is_online)| *is_online)
        .map(|(channel, _)| format!(r#"{{"channel":"{}","subscribers":1}}"#, channel.private))
        .collect();
    answer(
        StatusCode::OK,
        format!(r#"{{"infos":[{}]}}"#, infos.join(",")),
    )
}

/// Repeated headers are one, joined by a comma.
fn expiry_header(headers: &HeaderMap) -> Option<String> {
    let values: Vec<&str> = headers
        .get_all("message-expiry")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// The answer to a body that was not taken.
fn uncollected(error: &BodyError) -> Response<Body> {
    let status = match error {
        BodyError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        BodyError::Silent(_) | BodyError::Slow(_) => StatusCode::REQUEST_TIMEOUT,
        BodyError::Broken(_) | BodyError::Aborted(_) => StatusCode::BAD_REQUEST,
    };
    if let Some(limit) = error.limit() {
        refused(limit, "a publisher");
    }
    tracing::info!(why = %format_args!("the body: {error}"), "a publish was refused");
    let mut response = answer(status, "");
    response.headers_mut().insert(
        header::CONNECTION,
        header::HeaderValue::from_static("close"),
    );
    response
}

async fn collect(site: &Site, body: Incoming) -> Result<Bytes, BodyError> {
    let pace = Pace::of_clients(&site.server);
    let mut body = Streamed::new(body, pace).at_most(site.config.push.limits.max_payload);
    // Copied, because a message may be kept: a piece of the connection's buffer would keep all of it.
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        whole.extend_from_slice(&data);
    }
    Ok(whole.into_boxed_slice().into())
}
