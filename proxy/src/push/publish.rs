//! The back end's side: `POST` publishes text, `GET` asks who is online.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use pullgate_compat::channel::{ChannelList, Receiver, Role};
use pullgate_compat::message::{Body as MessageBody, Expiry, Sender};
use pullgate_compat::query::Query;
use pullgate_compat::status::Status;

use super::{answer, refusal};
use crate::body::{Body, Streamed};
use crate::server::App;

/// Serves the `pub` paths.
pub(crate) async fn serve(app: &App, request: Request<Incoming>) -> Response<Body> {
    let target = request
        .uri()
        .path_and_query()
        .map_or("", |target| target.as_str());
    let channels = Query::of_target(target)
        .first("CHANNEL_ID")
        .map(|value| ChannelList::parse(&value, &app.signature, Role::Publisher))
        .unwrap_or_default();
    match *request.method() {
        Method::POST => publish(app, &channels, request).await,
        Method::GET => online(app, &channels),
        _ => answer(StatusCode::NOT_FOUND, ""),
    }
}

async fn publish(app: &App, channels: &ChannelList, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = Streamed::new(body, app.config.server.body_timeout);
    let Ok(body) = collect(body, app.config.push.limits.max_payload).await else {
        let mut response = answer(StatusCode::PAYLOAD_TOO_LARGE, "");
        response.headers_mut().insert(
            header::CONNECTION,
            header::HeaderValue::from_static("close"),
        );
        return response;
    };
    let receivers: Vec<Receiver> = channels.receivers().collect();
    if body.is_empty() || receivers.is_empty() {
        return answer(StatusCode::OK, "");
    }
    let expiry = Expiry::from_header(expiry_header(&head.headers).as_deref()).seconds();
    match app.hub.publish(
        &receivers,
        MessageBody::from_lossy(body),
        expiry,
        Sender::Backend,
    ) {
        Ok(_) => answer(StatusCode::OK, ""),
        Err(overloaded) => {
            tracing::warn!(%overloaded, "a publish was refused");
            answer(StatusCode::SERVICE_UNAVAILABLE, "Overloaded, try again.")
        }
    }
}

/// `{"infos":[…]}`: the private channels somebody listens to, as asked.
fn online(app: &App, channels: &ChannelList) -> Response<Body> {
    if channels.is_empty() {
        return refusal(Status::NoChannels);
    }
    if channels.channels().len() > app.config.push.limits.max_channels_per_request {
        return refusal(Status::TooManyChannels);
    }
    let infos: Vec<String> = channels
        .channels()
        .iter()
        .filter(|channel| app.hub.is_online(Receiver::Private(channel.private)))
        .map(|channel| format!(r#"{{"channel":"{}","subscribers":1}}"#, channel.private))
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

/// The body is larger than allowed, or did not come whole.
struct Uncollected;

async fn collect(mut body: Streamed, limit: usize) -> Result<Bytes, Uncollected> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Uncollected)?.into_data() else {
            continue;
        };
        if first.len() + rest.len() + data.len() > limit {
            return Err(Uncollected);
        }
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() {
        first
    } else {
        rest.freeze()
    })
}
