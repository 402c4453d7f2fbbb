//! The configuration changes and is read again with a renewed certificate, now and then; nobody is to notice.

use std::fs;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::Soak;
use crate::harness::signal;
use crate::tls::certificate;
use crate::tls::roads::secure;

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
        let directory = Arc::clone(&soak.server.directory);
        let renewed =
            spawn_blocking(move || certificate(directory.path(), "site", &["site.test"], 90));
        let renewed = renewed.await.unwrap();
        let _alone = soak.one_at_a_time.lock().await;
        let before = done();
        signal(soak.pid.get(), "HUP");
        let read = timeout(PATIENCE, async {
            while done() == before {
                sleep(Duration::from_millis(50)).await;
            }
        });
        match read.await {
            Ok(()) if shown(&soak).await.is_ok_and(|shown| shown == renewed) => {
                soak.counts.reloads.add(1);
            }
            Ok(()) => soak.wrong("the renewed certificate is not shown"),
            Err(_) => soak.wrong("the configuration was not read again"),
        }
    }
}

/// The certificate that a new client is shown.
async fn shown(soak: &Soak) -> io::Result<Vec<u8>> {
    let stream = secure(TcpStream::connect(&soak.by_tls).await?, "http/1.1").await?;
    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
    Ok(shown.first().map_or(Vec::new(), |first| first.to_vec()))
}
