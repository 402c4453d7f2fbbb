//! In the middle of the traffic another process takes over; nobody is to notice.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, sleep_until, timeout};

use super::Soak;
use crate::harness::signal;
use crate::life::taken_over;

const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn in_the_middle(soak: Rc<Soak>) {
    let now = Instant::now();
    let middle = now + soak.ends.get().saturating_duration_since(now) / 2;
    sleep_until(middle.into()).await;
    let _alone = soak.one_at_a_time.lock().await;
    let before = soak.server.log().len();
    signal(soak.pid.get(), "USR2");
    let told = timeout(PATIENCE, async {
        loop {
            if let Some(told) = taken_over(&soak.server.log()[before..]) {
                return told;
            }
            sleep(Duration::from_millis(50)).await;
        }
    });
    match told.await {
        Ok(Ok(pid)) => {
            soak.pid.set(pid);
            soak.counts.upgrades.add(1);
        }
        other => soak.wrong(format!("no other process took over: {other:?}")),
    }
}
