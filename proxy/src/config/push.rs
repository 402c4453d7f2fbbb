//! `[push]`: the push endpoints.

use std::time::Duration;

use ipnet::IpNet;
use pullgate_compat::signature::Algorithm;

use super::Secret;

/// `[push]`: the push endpoints.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Push {
    /// The site's signature key. `None`: one is generated in `state_dir`.
    pub(crate) signature_key: Option<Secret>,
    /// Default SHA-1, as the module's.
    pub(crate) signature_algo: Algorithm,
    /// Who may publish through a site listener. Default nobody.
    pub(crate) publish_allow: Vec<IpNet>,
    /// Time between websocket pings. Default 40 s.
    pub(crate) ping_interval: Duration,
    /// How long a long poll waits. Default 40 s.
    pub(crate) poll_timeout: Duration,
    pub(crate) paths: Paths,
    pub(crate) limits: Limits,
}

/// `[push.paths]`: prefixes in lower case, compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paths {
    /// Default `/bitrix/pub/`.
    pub(crate) publish: Vec<String>,
    /// Default `/bitrix/sub/`, `/bitrix/subws/`.
    pub(crate) subscribe: Vec<String>,
    /// Default `/bitrix/rest/`, `/bitrix/pubweb/`.
    pub(crate) rest: Vec<String>,
    /// Default `/server-stat/`.
    pub(crate) stat: Vec<String>,
}

/// `[push.limits]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Limits {
    /// Largest published body or client frame, bytes. Default 1 MiB.
    pub(crate) max_payload: usize,
    /// Connections of one channel that has a public id; the oldest goes. Default 100.
    pub(crate) max_connections_per_channel: usize,
    /// Default 100.
    pub(crate) max_messages_per_request: usize,
    /// Default 100.
    pub(crate) max_channels_per_request: usize,
    /// Longest life of a stored message. Default 24 h.
    pub(crate) message_ttl: Duration,
    /// How long a channel's list of messages lives in Redis. Default 24 h.
    pub(crate) channel_ttl: Duration,
    /// What may wait for one slow subscriber, bytes, frames and places in the queue counted, before it is
    /// closed. Default 4 MiB.
    pub(crate) subscriber_queue: usize,
}
