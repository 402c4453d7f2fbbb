//! What the process is told by signals.

use std::io;
use std::sync::mpsc;

use tokio::select;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The signals, from now on.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Becomes true at SIGTERM or SIGINT.
    pub(crate) stop: watch::Receiver<bool>,
    /// SIGHUP: the configuration is to be read again. It ends nothing; nor does the end of the terminal, which sends it
    /// too. One that comes while another waits is the same.
    pub(crate) hangups: mpsc::Receiver<()>,
}

/// Catches them.
pub(crate) fn catch() -> io::Result<Signals> {
    let (stop, stopped) = watch::channel(false);
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
            loop {
                select! {
                    _ = terminate.recv() => return,
                    _ = interrupt.recv() => return,
                    // Full means that one waits, or that nobody reads a configuration again.
                    _ = hung_up.recv() => drop(hangup.try_send(())),
                }
            }
        });
        tracing::info!("stopping");
        // Nobody listens any more only when the process has ended.
        let _ = stop.send(true);
    });
    Ok(Signals {
        stop: stopped,
        hangups,
    })
}
