//! The answer's JSON, member by member in the module's order.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::{Facts, iso};

#[derive(Debug, Serialize)]
pub(super) struct Answer<T> {
    pub(super) result: T,
    pub(super) time: Time,
}

#[derive(Debug, Serialize)]
pub(super) struct Batch<'a> {
    pub(super) result: BTreeMap<&'a str, CallResult<'a>>,
    pub(super) result_error: [(); 0],
    pub(super) result_total: [(); 0],
    pub(super) result_next: [(); 0],
    pub(super) result_time: BTreeMap<&'a str, Time>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum CallResult<'a> {
    Config(Box<Config<'a>>),
    ServerTime(String),
}

/// How long it took; we are quick.
#[derive(Debug, Serialize)]
pub(super) struct Time {
    start: f64,
    finish: f64,
    duration: f64,
    processing: f64,
    date_start: String,
    date_finish: String,
}

impl Time {
    pub(super) fn at(now: Timestamp) -> Self {
        let seconds = now.as_duration().as_secs_f64();
        Self {
            start: seconds,
            finish: seconds,
            duration: 0.0,
            processing: 0.0,
            date_start: iso(now),
            date_finish: iso(now),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Config<'a> {
    server: Server<'a>,
    api: Api,
    channels: Channels<'a>,
    #[serde(rename = "publicChannels")]
    public_channels: bool,
    #[serde(rename = "serverTime")]
    server_time: String,
}

#[derive(Debug, Serialize)]
struct Server<'a> {
    version: u8,
    server_enabled: bool,
    mode: &'static str,
    hostname: &'a str,
    long_polling: String,
    /// The module's own spelling.
    long_pooling_secure: String,
    websocket_enabled: bool,
    websocket: String,
    websocket_secure: String,
    publish_enabled: bool,
    publish: String,
    publish_secure: String,
    config_timestamp: u64,
}

#[derive(Debug, Serialize)]
struct Api {
    revision_web: u64,
    revision_mobile: u64,
}

#[derive(Debug, Serialize)]
struct Channels<'a> {
    shared: Shared<'a>,
    private: Private<'a>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Shared<'a> {
    Modules(&'a Value),
    Ours {
        id: &'a str,
        start: String,
        end: String,
        #[serde(rename = "type")]
        kind: &'static str,
    },
}

#[derive(Debug, Serialize)]
struct Private<'a> {
    id: &'a str,
    public_id: &'a str,
    start: String,
    end: String,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl<'a> Config<'a> {
    pub(super) fn of(facts: &'a Facts<'_>) -> Self {
        let place = &facts.place;
        let url = |scheme, path| format!("{scheme}://{}{path}", place.host);
        let start = iso(facts.now);
        let end = iso(facts.now + SignedDuration::from_secs(facts.ttl));
        Self {
            server: Server {
                version: facts.version,
                server_enabled: true,
                mode: "personal",
                hostname: place.host.split(':').next().unwrap_or_default(),
                long_polling: url("http", place.subscribe),
                long_pooling_secure: url("https", place.subscribe),
                websocket_enabled: true,
                websocket: url("ws", place.websocket),
                websocket_secure: url("wss", place.websocket),
                publish_enabled: facts.version > 3,
                publish: url("http", place.rest),
                publish_secure: url("https", place.rest),
                config_timestamp: facts.module.config_timestamp,
            },
            api: Api {
                revision_web: facts.module.revision_web,
                revision_mobile: facts.module.revision_mobile,
            },
            channels: Channels {
                shared: match &facts.module.shared {
                    Some(shared) => Shared::Modules(shared),
                    None => Shared::Ours {
                        id: &facts.channels.shared,
                        start: start.clone(),
                        end: end.clone(),
                        kind: "shared",
                    },
                },
                private: Private {
                    id: &facts.channels.private,
                    public_id: &facts.channels.public,
                    start,
                    end,
                    kind: "private",
                },
            },
            public_channels: false,
            server_time: iso(facts.now),
        }
    }
}
