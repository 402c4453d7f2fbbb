//! The admin listener: health and metrics, in the text format of Prometheus.

use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::Body as HttpBody;

use crate::acme::Acme;
use crate::body::{Body, buffer};
use crate::history::Archive;
use crate::history::disk::Disk;
use crate::history::redis::Redis;
use crate::layers;
use crate::limits;
use crate::process::{Process, Serving};
use crate::site::Site;
use crate::upstream::back_ends::BackEnd;

/// A node that begins is not ready before Redis is there, or this time has passed.
const BEGINNING: Duration = Duration::from_secs(10);

/// How long Redis may be unreachable before push counts as broken.
const HICCUP: Duration = Duration::from_secs(5);

/// Serves a request of the admin listener.
pub(crate) async fn serve<B: HttpBody>(process: &Process, request: Request<B>) -> Response<Body> {
    layers::around(request, async |request| match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => ready(process, false),
        "/readyz/push" => ready(process, true),
        "/metrics" => text(StatusCode::OK, metrics(process)),
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
/// goes on to serve its sites, and it may be the same for all others: only who asks for `push` is sent away.
fn ready(process: &Process, push: bool) -> Response<Body> {
    let serving = process.serving();
    let mut broken: Vec<String> = Vec::new();
    let mut refuse = false;
    for site in serving.sites.all() {
        let mut found = Vec::new();
        refuse |= is_not_ready(site, push, &mut found);
        let name = &site.config.name;
        broken.extend(found.into_iter().map(|what| match name.as_str() {
            "" => what,
            name => format!("{name}: {what}"),
        }));
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

/// Whether clients are to be sent elsewhere; adds what is broken.
fn is_not_ready(site: &Site, push: bool, broken: &mut Vec<String>) -> bool {
    let mut refuse = false;
    match site.hub.archive() {
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
                let seconds = unreachable.as_secs();
                broken.push(format!("Redis is unreachable for {seconds} s"));
            }
        }
    }
    if let Some(why) = site.state.trouble() {
        broken.push(format!("new guests get no number: {why}"));
    }
    if site.config.guest.enabled && site.guests.is_none() {
        broken.push("guests are not served: their secret cannot be used".to_owned());
    }
    refuse
}

/// A metric of a site: its name, kind and meaning, and its value where there is one.
type Metric = (
    &'static str,
    &'static str,
    &'static str,
    fn(&Site) -> Option<u64>,
);

const METRICS: [Metric; 11] = [
    (
        "pullgate_requests",
        "gauge",
        "Requests of visitors under way, polls and websockets among them.",
        |site| Some(site.visitors.under_way() as u64),
    ),
    (
        "pullgate_guests_new_total",
        "counter",
        "Guest ids given since the start.",
        |site| {
            Some(
                site.guests
                    .as_ref()
                    .map_or(0, |guests| guests.ids().given()),
            )
        },
    ),
    (
        "pullgate_guests_adopted_total",
        "counter",
        "Times that a cookie of the site's proved a guest.",
        |site| {
            let guests = site.guests.as_ref();
            Some(guests.map_or(0, |guests| guests.adoption().adopted()))
        },
    ),
    (
        "pullgate_guest_ids_exhausted",
        "gauge",
        "1 when no guest id is left.",
        |site| {
            let guests = site.guests.as_ref();
            Some(guests.map_or(0, |guests| guests.ids().exhausted().into()))
        },
    ),
    (
        "pullgate_history_bytes",
        "gauge",
        "Bytes of messages kept on disk.",
        |site| Some(disk(site)?.bytes()),
    ),
    (
        "pullgate_history_evicted_total",
        "counter",
        "Times that the oldest messages went before they expired, for history.max_disk.",
        |site| {
            let evicted = &disk(site)?.metrics().evicted_buckets;
            Some(evicted.load(Ordering::Relaxed))
        },
    ),
    (
        "pullgate_history_failures_total",
        "counter",
        "Reads and writes of history that failed.",
        |site| Some(disk(site)?.metrics().failures.load(Ordering::Relaxed)),
    ),
    (
        "pullgate_redis_up",
        "gauge",
        "1 while there is a connection to Redis.",
        |site| Some(redis(site)?.unreachable().is_none().into()),
    ),
    (
        "pullgate_redis_connections_total",
        "counter",
        "Times that a connection to Redis was made.",
        |site| Some(redis(site)?.connections()),
    ),
    (
        "pullgate_redis_publishes_waiting",
        "gauge",
        "Published messages that wait for Redis.",
        |site| Some(redis(site)?.waiting() as u64),
    ),
    (
        "pullgate_redis_publishes_refused_total",
        "counter",
        "Published messages that were refused: too many waited, or Redis would not have them.",
        |site| Some(redis(site)?.refused()),
    ),
];

fn disk(site: &Site) -> Option<&Disk> {
    match site.hub.archive() {
        Archive::Disk(disk) => Some(disk),
        Archive::None | Archive::Redis(_) => None,
    }
}

fn redis(site: &Site) -> Option<&Redis> {
    match site.hub.archive() {
        Archive::Redis(redis) => Some(redis),
        Archive::None | Archive::Disk(_) => None,
    }
}

/// The metrics of the process, then those of its sites, with the site's name where it has one.
fn metrics(process: &Process) -> String {
    let mut text = String::new();
    family(
        &mut text,
        "pullgate_connections",
        "gauge",
        "Open connections.",
    );
    line(
        &mut text,
        "pullgate_connections",
        "",
        process.connections.open() as u64,
    );
    let name = "pullgate_queues_bytes";
    let help = "Memory that what waits for subscribers takes, what is shared counted once.";
    family(&mut text, name, "gauge", help);
    line(&mut text, name, "", process.queues.used() as u64);
    family(
        &mut text,
        "pullgate_refused_total",
        "counter",
        "What limits refused, by reason.",
    );
    for (reason, count) in limits::counted() {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "pullgate_refused_total{{reason=\"{reason}\"}} {count}"
        );
    }
    family(
        &mut text,
        "pullgate_request_buffer_bytes",
        "gauge",
        "Bytes of request bodies that are read before a site is asked.",
    );
    line(
        &mut text,
        "pullgate_request_buffer_bytes",
        "",
        buffer::in_use() as u64,
    );
    let serving = process.serving();
    let last_read = &process.last_read;
    for (name, help, value) in [
        (
            "pullgate_config_last_reload_seconds",
            "When the configuration was last read, at the start or for a reload, Unix seconds.",
            last_read.at(),
        ),
        (
            "pullgate_config_last_reload_successful",
            "1 if it could be used then.",
            last_read.succeeded().into(),
        ),
    ] {
        family(&mut text, name, "gauge", help);
        line(&mut text, name, "", value);
    }
    family(
        &mut text,
        "pullgate_config_info",
        "gauge",
        "1, with the SHA-256 of the configuration file that holds.",
    );
    // As above, writing to a string does not fail.
    let _ = writeln!(
        text,
        "pullgate_config_info{{hash=\"{}\"}} 1",
        serving.config_hash
    );
    certificates(&mut text, &process.acme);
    for (name, kind, help, of) in METRICS {
        let values = serving.sites.all().iter();
        let mut values = values
            .filter_map(|site| Some((&site.config.name, of(site)?)))
            .peekable();
        if values.peek().is_some() {
            family(&mut text, name, kind, help);
        }
        for (site, value) in values {
            line(&mut text, name, site, value);
        }
    }
    back_ends(&mut text, &serving);
    text
}

/// A metric of a back end: its name, kind and meaning, and its value.
type BackEndMetric = (
    &'static str,
    &'static str,
    &'static str,
    fn(&BackEnd) -> u64,
);

const BACK_END_METRICS: [BackEndMetric; 5] = [
    (
        "pullgate_back_end_up",
        "gauge",
        "0 while the back end is out.",
        |back_end| back_end.is_in().into(),
    ),
    (
        "pullgate_back_end_requests",
        "gauge",
        "Requests and websockets under way at the back end.",
        |back_end| back_end.busy() as u64,
    ),
    (
        "pullgate_back_end_failures_total",
        "counter",
        "Connections to the back end that could not be made.",
        BackEnd::failures,
    ),
    (
        "pullgate_back_end_check_failing",
        "gauge",
        "1 while the back end is out because it fails its checks.",
        |back_end| back_end.fails_checks().into(),
    ),
    (
        "pullgate_back_end_check_failures_total",
        "counter",
        "Checks of the back end that failed.",
        BackEnd::failed_checks,
    ),
];

/// With the site's name where it has one, and the back end's address.
fn back_ends(text: &mut String, serving: &Serving) {
    for (name, kind, help, of) in BACK_END_METRICS {
        family(text, name, kind, help);
        for site in serving.sites.all() {
            let labels = match site.config.name.as_str() {
                "" => String::new(),
                site => format!("site=\"{site}\","),
            };
            for back_end in site.back_ends.all() {
                // A path may have anything in it, which Rust escapes as Prometheus does.
                let address = back_end.origin.to_string();
                let value = of(back_end);
                let _ = writeln!(text, "{name}{{{labels}back_end={address:?}}} {value}");
            }
        }
    }
}

/// Of those that pullgate gets by itself, where there are any.
fn certificates(text: &mut String, acme: &Acme) {
    let ends = acme.ends();
    if ends.is_empty() {
        return;
    }
    let name = "pullgate_acme_failures_total";
    let help = "Certificates that were not to be had from the authority.";
    family(text, name, "counter", help);
    line(text, name, "", acme.failures());
    let name = "pullgate_acme_certificate_ends_seconds";
    let help = "When the certificate ends, Unix seconds; 0: it is still to come.";
    family(text, name, "gauge", help);
    for (host, ends) in ends {
        let _ = writeln!(text, "{name}{{host=\"{host}\"}} {ends}");
    }
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string does not fail, here and below.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, site: &str, value: u64) {
    let _ = match site {
        "" => writeln!(text, "{name} {value}"),
        site => writeln!(text, "{name}{{site=\"{site}\"}} {value}"),
    };
}
