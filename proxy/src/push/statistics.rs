//! What `/server-stat/` and the command `serverStats` tell, in the shape of push server 0.4.0.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use pullgate_compat::message::MessageType;
use pullgate_compat::wire::encode_server_stats_json;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::{answer, binary_answer, query};
use crate::body::Body;
use crate::config::Limits;
use crate::history::Archive;
use crate::clock::unix_time;
use crate::server::App;

/// Kinds of messages that are counted apart. Publishers choose them, so there must be an end.
const MAX_KINDS: usize = 1000;

const SECONDS_PER_DAY: u64 = 86_400;

/// Between two reports of a process,
const RENEWAL: Duration = Duration::from_secs(60);
/// and the age at which one counts as left by a process that is gone.
const GONE: Duration = Duration::from_secs(70);

/// What this process counts.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    websockets: AtomicUsize,
    polls: AtomicUsize,
    daily: Mutex<Daily>,
}

/// Counted since midnight (UTC).
#[derive(Debug, Default, Clone, Serialize)]
struct Daily {
    #[serde(skip)]
    day: u64,
    requests: BTreeMap<Command, u64>,
    messages: BTreeMap<String, u64>,
}

/// What a trusted or a client's request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Command {
    IncomingMessages,
    ChannelStats,
    ServerStats,
}

/// How a subscriber is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Websocket,
    Poll,
}

/// A connected subscriber; dropping it counts it out.
#[derive(Debug)]
pub(crate) struct Connected<'a>(&'a AtomicUsize);

/// One process, in the order of the reference.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    pid: u32,
    /// Unix milliseconds.
    date: u64,
    process_unique_id: String,
    channels: usize,
    limits: ReportedLimits,
    cluster_mode: bool,
    websockets: usize,
    pollings: usize,
    daily: Daily,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportedLimits {
    max_payload: usize,
    max_conn_per_channel: usize,
    max_messages_per_request: usize,
    max_channels_per_request: usize,
}

/// Serves the `stat` paths.
pub(crate) async fn serve<B>(app: &App, request: &Request<B>) -> Response<Body> {
    if request.method() != Method::GET {
        return answer(StatusCode::NOT_FOUND, "");
    }
    match query(request).first("binaryMode").as_deref() {
        Some("true") => binary_answer(binary(app).await),
        Some(_) | None => answer(StatusCode::OK, json(app).await),
    }
}

/// The same as a `ResponseBatch`.
pub(crate) async fn binary(app: &App) -> Vec<u8> {
    let mut batch = Vec::new();
    encode_server_stats_json(&json(app).await, &mut batch);
    batch
}

/// An array with an object for each process: this one, and those that left theirs in Redis.
async fn json(app: &App) -> String {
    app.statistics.request(Command::ServerStats);
    let (own, report) = own(app);
    let mut processes = vec![report];
    if let Archive::Redis(redis) = app.hub.archive() {
        let (live, gone) = sorted_out(redis.reports().await, unix_time());
        processes.extend(
            live.into_iter()
                .filter(|(process, _)| *process != own)
                .map(|(_, report)| report),
        );
        if !gone.is_empty() {
            redis.forget_reports(&gone).await;
        }
    }
    format!("[{}]", processes.join(","))
}

/// The reports of processes that are there, and the names of those that are gone: each renews its report.
fn sorted_out(
    reports: Vec<(String, String)>,
    now: Duration,
) -> (Vec<(String, String)>, Vec<String>) {
    #[derive(Deserialize)]
    struct Dated {
        date: u64,
    }
    let (mut live, mut gone) = (Vec::new(), Vec::new());
    for (process, report) in reports {
        let left = serde_json::from_str(&report).map(|Dated { date }| Duration::from_millis(date));
        match left {
            Ok(left) if left + GONE > now => live.push((process, report)),
            Ok(_) | Err(_) => gone.push(process),
        }
    }
    (live, gone)
}

/// Leaves this process's report for the others, for ever. Nothing to do without them.
pub(crate) async fn keep_reporting(app: &App) {
    let Archive::Redis(redis) = app.hub.archive() else {
        return;
    };
    loop {
        let (own, report) = own(app);
        redis.report(&own, &report).await;
        sleep(RENEWAL).await;
    }
}

/// The name of this process, and its report.
fn own(app: &App) -> (String, String) {
    let pid = std::process::id();
    let uname = rustix::system::uname();
    let name = format!("{}-{pid}", uname.nodename().to_string_lossy());
    let report = Report {
        pid,
        date: u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX),
        process_unique_id: name.clone(),
        channels: app.hub.private_channels(),
        limits: ReportedLimits::from(&app.config.push.limits),
        cluster_mode: matches!(app.hub.archive(), Archive::Redis(_)),
        websockets: app.statistics.websockets.load(Ordering::Relaxed),
        pollings: app.statistics.polls.load(Ordering::Relaxed),
        daily: app.statistics.today().clone(),
    };
    // Only maps whose keys are no strings fail.
    (name, serde_json::to_string(&report).unwrap_or_default())
}

impl Statistics {
    /// Counts a protobuf request, or what stands for one.
    pub(crate) fn request(&self, command: Command) {
        *self.today().requests.entry(command).or_default() += 1;
    }

    /// Counts a published message.
    pub(crate) fn message(&self, kind: &MessageType) {
        let mut today = self.today();
        if let Some(count) = today.messages.get_mut(kind.as_str()) {
            *count += 1;
            return;
        }
        let kind = match today.messages.len() {
            MAX_KINDS.. => MessageType::UNKNOWN.to_string(),
            _ => kind.to_string(),
        };
        *today.messages.entry(kind).or_default() += 1;
    }

    /// Counts a subscriber in.
    pub(crate) fn connected(&self, transport: Transport) -> Connected<'_> {
        let count = match transport {
            Transport::Websocket => &self.websockets,
            Transport::Poll => &self.polls,
        };
        count.fetch_add(1, Ordering::Relaxed);
        Connected(count)
    }

    fn today(&self) -> MutexGuard<'_, Daily> {
        let mut daily = self.daily.lock().unwrap_or_else(PoisonError::into_inner);
        let day = unix_time().as_secs() / SECONDS_PER_DAY;
        if daily.day != day {
            *daily = Daily {
                day,
                ..Daily::default()
            };
        }
        daily
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl From<&Limits> for ReportedLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            max_payload: limits.max_payload,
            max_conn_per_channel: limits.max_connections_per_channel,
            max_messages_per_request: limits.max_messages_per_request,
            max_channels_per_request: limits.max_channels_per_request,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_apart_up_to_a_bound() {
        let statistics = Statistics::default();
        for kind in 0..2 * MAX_KINDS {
            statistics.message(&MessageType::parse(format!("kind-{kind}").as_bytes()));
        }
        statistics.message(&MessageType::parse(b"kind-0"));
        let today = statistics.today();
        assert_eq!(today.messages.get("kind-0"), Some(&2));
        assert_eq!(today.messages.get("unknown"), Some(&1000));
        assert_eq!(today.messages.len(), MAX_KINDS + 1);
    }

    #[test]
    fn processes_that_do_not_report_are_gone() {
        let report =
            |process: &str, date: u64| (process.to_owned(), format!(r#"{{"date":{date}}}"#));
        let reports = vec![
            report("old", 29_000),
            report("here", 31_000),
            ("odd".to_owned(), "?".to_owned()),
        ];
        let (live, gone) = sorted_out(reports, Duration::from_secs(100));
        assert_eq!(live, [report("here", 31_000)]);
        assert_eq!(gone, ["old", "odd"]);
    }

    #[test]
    fn a_new_day_begins_at_nothing() {
        let statistics = Statistics::default();
        statistics.request(Command::ChannelStats);
        assert_eq!(statistics.today().requests.len(), 1);
        statistics.today().day -= 1;
        assert_eq!(statistics.today().requests.len(), 0);
    }
}
