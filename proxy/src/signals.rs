//! What the process is told by signals.

use std::io;

use tokio::select;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Becomes true at SIGTERM or SIGINT. SIGHUP, at which other servers read their configuration
/// again, ends nothing; nor does the end of the terminal, which sends it too.
pub(crate) fn stop() -> io::Result<watch::Receiver<bool>> {
    let (stop, stopped) = watch::channel(false);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut terminate, mut interrupt, mut hangup) = {
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
                    _ = hangup.recv() => tracing::warn!(
                        "SIGHUP is ignored: the configuration is read at the start alone, so restart to change it"
                    ),
                }
            }
        });
        tracing::info!("stopping");
        // Nobody listens any more only when the process has ended.
        let _ = stop.send(true);
    });
    Ok(stopped)
}
