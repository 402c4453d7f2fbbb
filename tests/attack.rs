//! Attacks, measured: visitors come at a steady rate, first alone and then beside one attack after the other. Says how long their
//! answers took, and what the attack took of the server. Ignored by `cargo test`; `scripts/attack` runs it.

mod attackers;
mod attacks;
mod crowd;
mod report;
mod site;

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::harness::{Group, SIGNATURE_KEY, Server, free_port, get, pullgate};
use crate::push::{publish, signed};
use crate::tls::certificate;
use attackers::Attackers;
use attacks::CHANNEL;
use crowd::Crowd;
use report::{Row, Usage};

/// How long an attack has gone on when it is measured.
const RISE: Duration = Duration::from_secs(5);
/// How long after an attack its connections may be there.
const FALL: Duration = Duration::from_secs(90);
/// Answers may take so many times as long as when it is quiet.
const GOAL: f64 = 2.0;

/// Where pullgate is.
#[derive(Debug, Clone)]
struct Addresses {
    site: String,
    by_tls: String,
}

#[test]
#[ignore = "takes minutes: scripts/attack"]
fn measured() {
    let server = start();
    let addresses = Addresses {
        site: server.site.clone(),
        by_tls: server.address("role=site"),
    };
    let crowd = Crowd::start(&addresses);
    let wanted = std::env::var("ATTACKS").unwrap_or_default();
    let wanted = |name: &str| wanted.is_empty() || wanted.lines().any(|one| one == name);
    let mut rows = Vec::new();
    for name in attackers::names().filter(|name| wanted(name)) {
        let row = measure(&server, &addresses, &crowd, name);
        report::print(&row, rows.is_empty());
        rows.push(row);
    }
    h2load(&addresses);
    report::conclude(&rows, &server);
}

/// Requests at a time, as they are, less than the limits of one address: each is answered.
#[allow(clippy::print_stdout, reason = "what scripts/attack is run for")]
fn h2load(addresses: &Addresses) {
    let url = format!("https://{}/file", addresses.by_tls);
    let output = Command::new("h2load")
        .args(["-n", "1500", "-c", "10", "-m", "10", &url])
        .output()
        .expect("nghttp2-client is installed");
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}");
    assert!(told.contains("1500 done, 1500 succeeded, 0 failed"));
    assert!(told.contains("status codes: 1500 2xx"));
}

/// SECONDS says how long each is measured, and how long before it nothing is done.
fn length() -> Duration {
    let seconds = std::env::var("SECONDS_EACH").map_or(10, |text| text.parse().unwrap());
    Duration::from_secs(seconds)
}

fn measure(server: &Server, addresses: &Addresses, crowd: &Crowd, name: &'static str) -> Row {
    let quiet = crowd.during(length());
    let before = Usage::of(server);
    let attackers = Attackers::start(name, addresses, &signed(server, CHANNEL));
    std::thread::sleep(RISE);
    let began = attackers.done();
    let mut most = Usage::of(server);
    let watched = std::thread::scope(|threads| {
        let measured = threads.spawn(|| crowd.during(length()));
        while !measured.is_finished() {
            // Something to listen to, for those who do not.
            publish(server, CHANNEL, &"m".repeat(16 << 10), 60);
            std::thread::sleep(Duration::from_millis(500));
            most = most.max(&Usage::of(server));
        }
        measured.join().unwrap()
    });
    let done = attackers.done() - began;
    drop(attackers);
    let refused = Usage::of(server).refused_since(&before);
    let gone = std::time::Instant::now() + FALL;
    while Usage::of(server).connections > before.connections + 50 {
        assert!(std::time::Instant::now() < gone, "{name}: connections stay");
        std::thread::sleep(Duration::from_millis(200));
    }
    Row {
        name,
        quiet,
        attacked: watched,
        per_second: done as f64 / length().as_secs_f64(),
        most,
        refused,
    }
}

/// With defaults, but that addresses of loopback are those of visitors, as there are no others here.
fn start() -> Server {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    certificate(directory.path(), "site", &["site.test"], 90);
    let [clear, by_tls] = std::array::from_fn(|_| free_port());
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:{by_tls}\"\n\
         tls = {{ cert = \"site.pem\", key = \"site.key\" }}\n\
         [[listener]]\naddress = \"127.0.0.1:{clear}\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"publish\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"admin\"\n\
         [server]\nstate_dir = \"state\"\ntrusted_proxies = []\n\
         [upstream]\nurl = \"{}\"\n[push]\nsignature_key = \"{SIGNATURE_KEY}\"\n",
        site::start()
    );
    Server::run_as_configured(pullgate(), directory, &text)
}
