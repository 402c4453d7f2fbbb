//! What `/server-stat/` and the command `serverStats` tell, in the shape of push server 0.4.0.

use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use pullgate_compat::wire::encode_server_stats_json;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::{answer, binary_answer, query};
use crate::body::Body;
use crate::clock::unix_time;
use crate::config::Limits;
use crate::history::Archive;
use crate::site::Site;
use crate::statistics::{Command, Daily};

/// Between two reports of a process,
const RENEWAL: Duration = Duration::from_secs(60);
/// and the age at which one counts as left by a process that is gone.
const GONE: Duration = Duration::from_secs(70);

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
pub(crate) async fn serve<B>(site: &Site, request: &Request<B>) -> Response<Body> {
    if request.method() != Method::GET {
        return answer(StatusCode::NOT_FOUND, "");
    }
    match query(request).first("binaryMode").as_deref() {
        Some("true") => binary_answer(binary(site).await),
        Some(_) | None => answer(StatusCode::OK, json(site).await),
    }
}

/// The same as a `ResponseBatch`.
pub(crate) async fn binary(site: &Site) -> Vec<u8> {
    let mut batch = Vec::new();
    encode_server_stats_json(&json(site).await, &mut batch);
    batch
}

/// An array with an object for each process: this one, and those that left theirs in Redis.
async fn json(site: &Site) -> String {
    site.statistics.request(Command::ServerStats);
    let (own, report) = own(site);
    let mut processes = vec![report];
    if let Archive::Redis(redis) = site.hub.archive() {
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
pub(crate) async fn keep_reporting(site: &Site) {
    let Archive::Redis(redis) = site.hub.archive() else {
        return;
    };
    loop {
        let (own, report) = own(site);
        redis.report(&own, &report).await;
        sleep(RENEWAL).await;
    }
}

/// The name of this process, and its report.
fn own(site: &Site) -> (String, String) {
    let pid = std::process::id();
    let uname = rustix::system::uname();
    let name = format!("{}-{pid}", uname.nodename().to_string_lossy());
    let report = Report {
        pid,
        date: u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX),
        process_unique_id: name.clone(),
        channels: site.hub.private_channels(),
        limits: ReportedLimits::from(&site.config.push.limits),
        cluster_mode: matches!(site.hub.archive(), Archive::Redis(_)),
        websockets: site.statistics.websockets(),
        pollings: site.statistics.polls(),
        daily: site.statistics.daily(),
    };
    // Only maps whose keys are no strings fail.
    (name, serde_json::to_string(&report).unwrap_or_default())
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
}
