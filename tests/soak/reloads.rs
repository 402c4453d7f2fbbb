//! The configuration changes and is read again, now and then; nobody is to notice.

use std::fs;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Soak;
use crate::harness::signal;

const PAUSE: Duration = Duration::from_secs(7);
const PATIENCE: Duration = Duration::from_secs(30);

/// What changes, to and fro: of every site, and of the process.
const CHANGES: [[&str; 2]; 2] = [
    ["ping_interval = \"10s\"", "ping_interval = \"11s\""],
    ["max_memory = \"32MiB\"", "max_memory = \"31MiB\""],
];

/// Until the traffic ends.
pub(super) async fn now_and_then(soak: Rc<Soak>) {
    let file = soak.server.directory.path().join("pullgate.toml");
    let done = || soak.server.log().matches("was read again").count();
    for round in 0.. {
        sleep(PAUSE).await;
        if soak.is_over() {
            return;
        }
        let mut text = fs::read_to_string(&file).unwrap();
        for [one, other] in CHANGES {
            let (from, to) = if round % 2 == 0 {
                (one, other)
            } else {
                (other, one)
            };
            assert!(text.contains(from), "{from:?} is not in {text}");
            text = text.replace(from, to);
        }
        fs::write(&file, text).unwrap();
        let before = done();
        signal(soak.server.pid(), "HUP");
        let read = timeout(PATIENCE, async {
            while done() == before {
                sleep(Duration::from_millis(50)).await;
            }
        });
        match read.await {
            Ok(()) => soak.counts.reloads.add(1),
            Err(_) => soak.wrong("the configuration was not read again"),
        }
    }
}
