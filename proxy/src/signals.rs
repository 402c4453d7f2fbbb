//! What the process is told by signals.

use std::io;
use std::sync::mpsc;

use tokio::select;
use tokio::signal::unix::{SignalKind, signal};

use crate::phase::{Phase, Phases};

/// The signals, from now on.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Draining from SIGTERM or SIGINT on, ending from the second of them on.
    pub(crate) phases: Phases,
    pub(crate) orders: mpsc::Receiver<Order>,
}

/// What is done by a signal while everybody is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// SIGHUP: the configuration is to be read again. It ends nothing; nor does the end of the terminal, which sends it
    /// too.
    Reload,
    /// SIGUSR2: the program's file, which may be another by now, is to take over.
    Upgrade,
}

/// Orders that may wait; what comes beyond is as if it had not come.
const MAX_WAITING: usize = 16;

/// Catches them.
pub(crate) fn catch() -> io::Result<Signals> {
    let phases = Phases::default();
    let told = phases.clone();
    let (order, orders) = mpsc::sync_channel(MAX_WAITING);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut terminate, mut interrupt, mut hung_up, mut upgrade) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
            signal(SignalKind::user_defined2())?,
        )
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            let mut next = [
                (Phase::Draining, "stopping"),
                (Phase::Ending, "stopping at once"),
            ]
            .into_iter();
            loop {
                select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                    _ = hung_up.recv() => {
                        // Whoever records has nobody who takes orders.
                        let _ = order.try_send(Order::Reload);
                        continue;
                    }
                    _ = upgrade.recv() => {
                        let _ = order.try_send(Order::Upgrade);
                        continue;
                    }
                }
                if let Some((phase, what)) = next.next() {
                    tracing::info!("{what}");
                    told.reach(phase);
                }
            }
        });
    });
    Ok(Signals { phases, orders })
}
