//! Pages by TLS: h2load asks for them, by HTTP/1.1 or HTTP/2, and writes down how long each took.

use std::fs;
use std::process::Command;
use std::time::Duration;

use super::{Target, Window, page};
use crate::Result;
use crate::figures::{Figure, Figures, Latencies, to_f64};

pub(super) fn measure(
    target: &Target<'_>,
    window: &Window,
    http2: bool,
    connections: usize,
) -> Result<Figures> {
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("requests");
    let seconds = window.measured.as_secs_f64().ceil();
    let before = target.processes.cpu();
    let mut command = Command::new("h2load");
    command
        .args(["--threads=1", &format!("--clients={connections}")])
        .arg(format!("--duration={seconds}"))
        .arg(format!(
            "--npn-list={}",
            if http2 { "h2" } else { "http/1.1" }
        ))
        .arg(format!("--log-file={}", log.display()))
        .arg(format!("https://{}/1k", target.tls));
    let page = page(target, "/1k", false)?;
    if let Some(cookie) = page.lines().find(|line| line.starts_with("Cookie: ")) {
        command.args(["--header", cookie]);
    }
    let output = command.output()?;
    let cpu = target.processes.cpu().saturating_sub(before);
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || !text.contains(" 0 3xx, 0 4xx, 0 5xx") {
        return Err(format!("h2load: {text}").into());
    }
    let mut latencies = Latencies::default();
    for line in fs::read_to_string(log)?.lines() {
        // When it began, its status, how long it took, the two times in µs.
        let mut columns = line.split('\t').skip(1);
        let (status, took) = (columns.next(), columns.next());
        if status != Some("200") {
            return Err(format!("h2load: {line}").into());
        }
        let took = took.ok_or("h2load: no time")?.parse()?;
        latencies.add(Duration::from_micros(took));
    }
    let requests = to_f64(latencies.len());
    Ok(Figures::from([
        (Figure::Rate, requests / seconds),
        (Figure::Cpu, cpu.as_secs_f64() * 1e6 / requests.max(1.0)),
        (Figure::Median, latencies.quantile(0.5)),
        (Figure::P99, latencies.quantile(0.99)),
    ]))
}
