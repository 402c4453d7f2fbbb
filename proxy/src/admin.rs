//! The admin listener: health and metrics, in the text format of Prometheus.

use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::Body as HttpBody;

use crate::body::Body;
use crate::history::Archive;
use crate::layers;
use crate::server::App;

/// A node that begins is not ready before Redis is there, or this time has passed.
const BEGINNING: Duration = Duration::from_secs(10);

/// How long Redis may be unreachable before push counts as broken.
const HICCUP: Duration = Duration::from_secs(5);

/// Serves a request of the admin listener.
pub(crate) async fn serve<B: HttpBody>(app: &App, request: Request<B>) -> Response<Body> {
    layers::around(request, async |request| match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => ready(app, false),
        "/readyz/push" => ready(app, true),
        "/metrics" => text(StatusCode::OK, metrics(app)),
        _ => text(StatusCode::NOT_FOUND, ""),
    })
    .await
}

/// For no page of any site: without a word about other origins.
fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// Whether to send clients here, and what is broken. While Redis is unreachable, or a disk is full, a node that has begun
/// goes on to serve the site, and it may be the same for all others: only who asks for `push` is sent away.
fn ready(app: &App, push: bool) -> Response<Body> {
    let mut broken: Vec<String> = Vec::new();
    let mut refuse = false;
    match app.hub.archive() {
        Archive::None => {}
        Archive::Disk(disk) => {
            if let Some(why) = disk.trouble() {
                refuse = push;
                broken.push(format!("history is not written: {why}"));
            }
        }
        Archive::Redis(redis) => {
            if let Some(unreachable) = redis.unreachable() {
                refuse = match push {
                    true => unreachable > HICCUP,
                    false => redis.connections() == 0 && unreachable < BEGINNING,
                };
                broken.push(format!(
                    "Redis is unreachable for {} s",
                    unreachable.as_secs()
                ));
            }
        }
    }
    if let Some(why) = app.state.trouble() {
        broken.push(format!("new guests get no number: {why}"));
    }
    if app.config.guest.enabled && app.guests.is_none() {
        broken.push("guests are not served: their secret cannot be used".to_owned());
    }
    let status = match refuse {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => StatusCode::OK,
    };
    match broken.is_empty() {
        true => text(status, "ok\n"),
        false => text(status, broken.join("\n") + "\n"),
    }
}

fn metrics(app: &App) -> String {
    let ids = app.guests.as_ref().map(crate::guest::Guests::ids);
    let connections = app.connections.load(Ordering::Relaxed) as u64;
    let table = [
        (
            "pullgate_connections",
            "gauge",
            "Open connections.",
            connections,
        ),
        (
            "pullgate_guests_new_total",
            "counter",
            "Guest ids given since the start.",
            ids.map_or(0, |ids| ids.given()),
        ),
        (
            "pullgate_guests_adopted_total",
            "counter",
            "Times that a cookie of the site's proved a guest.",
            app.guests
                .as_ref()
                .map_or(0, |guests| guests.adoption().adopted()),
        ),
        (
            "pullgate_guest_ids_exhausted",
            "gauge",
            "1 when no guest id is left.",
            ids.map_or(0, |ids| u64::from(ids.exhausted())),
        ),
    ];
    let history = match app.hub.archive() {
        Archive::None => Vec::new(),
        Archive::Disk(disk) => vec![
            (
                "pullgate_history_bytes",
                "gauge",
                "Bytes of messages kept on disk.",
                disk.bytes(),
            ),
            (
                "pullgate_history_evicted_total",
                "counter",
                "Times that the oldest messages went before they expired, for history.max_disk.",
                disk.metrics().evicted_buckets.load(Ordering::Relaxed),
            ),
            (
                "pullgate_history_failures_total",
                "counter",
                "Reads and writes of history that failed.",
                disk.metrics().failures.load(Ordering::Relaxed),
            ),
        ],
        Archive::Redis(redis) => vec![
            (
                "pullgate_redis_up",
                "gauge",
                "1 while there is a connection to Redis.",
                u64::from(redis.unreachable().is_none()),
            ),
            (
                "pullgate_redis_connections_total",
                "counter",
                "Times that a connection to Redis was made.",
                redis.connections(),
            ),
            (
                "pullgate_redis_publishes_waiting",
                "gauge",
                "Published messages that wait for Redis.",
                redis.waiting() as u64,
            ),
            (
                "pullgate_redis_publishes_refused_total",
                "counter",
                "Published messages that were refused: too many waited, or Redis would not have them.",
                redis.refused(),
            ),
        ],
    };
    let mut text = String::new();
    for (name, kind, help, value) in table.into_iter().chain(history) {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
        );
    }
    text
}
