//! Whether every core answers, which the service manager is told, with a line about what is served.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::notify;
use crate::process::Process;
use crate::server::Server;

/// How often the line is renewed where no sign of life is asked for.
const RENEWED: Duration = Duration::from_secs(10);

/// Reports to the end of the process, if there is a service manager.
pub(crate) fn report(process: &Arc<Process>, server: &Arc<Server>) {
    if !notify::is_wanted() {
        return;
    }
    let (process, server) = (Arc::clone(process), Arc::clone(server));
    let within = notify::watchdog().unwrap_or(RENEWED * 3);
    let every = within / 3;
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(every);
            if all_answer(server.runtimes(), within) {
                notify::alive();
            } else {
                tracing::error!("a core does not answer: the service manager gets no sign of life");
            }
            let (sites, connections) = (
                process.serving().sites.all().len(),
                process.connections.open(),
            );
            notify::status(&format!("sites: {sites}, connections: {connections}"));
        }
    });
}

/// Whether a task of every core had its turn within that long.
fn all_answer<'a>(cores: impl Iterator<Item = &'a Handle>, within: Duration) -> bool {
    let (turn, turns) = channel::<()>();
    for core in cores {
        let turn = turn.clone();
        core.spawn(async move { drop(turn) });
    }
    drop(turn);
    // All have had theirs, or have ended, when nobody is left who could send.
    turns.recv_timeout(within) == Err(RecvTimeoutError::Disconnected)
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn one_core_that_hangs_is_enough() {
        let start = || {
            let runtime = Builder::new_current_thread().build().unwrap();
            let (handle, (stop, stopped)) = (runtime.handle().clone(), oneshot::channel::<()>());
            let core = std::thread::spawn(move || runtime.block_on(stopped));
            (handle, stop, core)
        };
        let cores = [start(), start()];
        let handles = || cores.iter().map(|(handle, ..)| handle);
        assert!(all_answer(handles(), Duration::from_secs(60)));
        let (go_on, hangs) = channel::<()>();
        cores[1].0.spawn(async move { hangs.recv() });
        assert!(!all_answer(handles(), Duration::from_millis(50)));
        drop(go_on);
        assert!(all_answer(handles(), Duration::from_secs(60)));
        for (_, stop, core) in cores {
            drop(stop);
            let _ = core.join().unwrap();
        }
    }
}
