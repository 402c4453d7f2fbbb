//! The admin listener: health and metrics, in the text format of Prometheus.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use http::{Response, StatusCode};

use crate::body::Body;
use crate::history::Archive;
use crate::push;
use crate::server::App;

/// Serves one path of the admin listener.
pub(crate) fn serve(app: &App, path: &str) -> Response<Body> {
    match path {
        "/healthz" | "/readyz" => push::answer(StatusCode::OK, "ok\n"),
        "/metrics" => push::answer(StatusCode::OK, metrics(app)),
        _ => push::answer(StatusCode::NOT_FOUND, ""),
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
            "pullgate_guest_ids_exhausted",
            "gauge",
            "1 when no guest id is left.",
            ids.map_or(0, |ids| u64::from(ids.exhausted())),
        ),
    ];
    let disk = match app.hub.archive() {
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
    };
    let mut text = String::new();
    for (name, kind, help, value) in table.into_iter().chain(disk) {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
        );
    }
    text
}
