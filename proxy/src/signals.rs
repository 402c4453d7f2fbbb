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
    /// SIGHUP: the configuration is to be read again. It ends nothing; nor does the end of the terminal, which sends it
    /// too. One that comes while another waits is the same.
    pub(crate) hangups: mpsc::Receiver<()>,
}

/// Catches them.
pub(crate) fn catch() -> io::Result<Signals> {
    let phases = Phases::default();
    let told = phases.clone();
    let (hangup, hangups) = mpsc::sync_channel(1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut terminate, mut interrupt, mut hung_up) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
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
                        // Full means that one waits, or that nobody reads a configuration again.
                        let _ = hangup.try_send(());
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
    Ok(Signals { phases, hangups })
}
