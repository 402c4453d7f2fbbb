//! What there was, as a table.

use std::time::Duration;

use super::crowd::Times;
use super::{GOAL, Server, get};

/// What the server has and has refused.
#[derive(Debug, Default, Clone)]
pub(super) struct Usage {
    pub(super) connections: u64,
    /// Of memory, MiB.
    resident: u64,
    /// By reason.
    refused: Vec<(String, u64)>,
}

impl Usage {
    pub(super) fn of(server: &Server) -> Self {
        let metrics = get(&server.admin(), "/metrics", &[]).body;
        let mut usage = Self::default();
        for line in metrics.lines() {
            let Some((name, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let count = || value.parse().unwrap_or_default();
            if name == "pullgate_connections" {
                usage.connections = count();
            } else if let Some(reason) = name.strip_prefix("pullgate_refused_total{reason=\"") {
                let reason = reason.trim_end_matches("\"}").to_owned();
                usage.refused.push((reason, count()));
            }
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.unwrap().trim().trim_end_matches(" kB");
        usage.resident = resident.parse::<u64>().unwrap() / 1024;
        usage
    }

    /// The more of each.
    pub(super) fn max(&self, other: &Self) -> Self {
        Self {
            connections: self.connections.max(other.connections),
            resident: self.resident.max(other.resident),
            refused: other.refused.clone(),
        }
    }

    /// In words.
    pub(super) fn refused_since(&self, before: &Self) -> String {
        let rose = self.refused.iter().zip(&before.refused);
        let rose = rose.map(|((reason, now), (_, then))| (reason, now - then));
        let told = rose.filter(|(_, count)| *count > 0);
        let told: Vec<String> = told
            .map(|(reason, count)| format!("{count} `{reason}`"))
            .collect();
        told.join(", ")
    }
}

/// One attack.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) quiet: Times,
    pub(super) attacked: Times,
    /// Of what it does over and over.
    pub(super) per_second: f64,
    pub(super) most: Usage,
    pub(super) refused: String,
}

impl Row {
    /// How many times as long an answer took, of a hundred the slowest; of pages and of files.
    fn ratios(&self) -> [f64; 2] {
        let ratio = |quiet: &[Duration], attacked: &[Duration]| {
            of_a_hundred(attacked).as_secs_f64() / of_a_hundred(quiet).as_secs_f64()
        };
        [
            ratio(&self.quiet.pages, &self.attacked.pages),
            ratio(&self.quiet.files, &self.attacked.files),
        ]
    }
}

/// The 99th percentile of what is sorted.
fn of_a_hundred(times: &[Duration]) -> Duration {
    let at = (times.len() * 99).div_ceil(100).saturating_sub(1);
    times.get(at).copied().unwrap_or(Duration::MAX)
}

#[allow(clippy::print_stdout, reason = "what scripts/attack is run for")]
pub(super) fn print(row: &Row, is_first: bool) {
    if is_first {
        println!(
            "| attack | a second | page quiet | attacked | | file quiet | attacked | | failed | connections | MiB | refused |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
        );
    }
    let shown = |times: &[Duration]| format!("{:.1}", of_a_hundred(times).as_secs_f64() * 1e3);
    let [pages, files] = row.ratios();
    println!(
        "| {} | {:.0} | {} | {} | {pages:.1} | {} | {} | {files:.1} | {} | {} | {} | {} |",
        row.name,
        row.per_second,
        shown(&row.quiet.pages),
        shown(&row.attacked.pages),
        shown(&row.quiet.files),
        shown(&row.attacked.files),
        row.quiet.failed.len() + row.attacked.failed.len(),
        row.most.connections,
        row.most.resident,
        row.refused
    );
}

/// Panics with what was not as it must be.
pub(super) fn conclude(rows: &[Row], server: &Server) {
    let failed = rows
        .iter()
        .flat_map(|row| row.quiet.failed.iter().chain(&row.attacked.failed));
    let failed: Vec<&String> = failed.take(10).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(server.log().matches("panicked").count(), 0);
    let slow = rows.iter().filter(|row| row.ratios()[0] > GOAL);
    let slow: Vec<&str> = slow.map(|row| row.name).collect();
    assert!(slow.is_empty(), "pages were slow beside {slow:?}");
}
