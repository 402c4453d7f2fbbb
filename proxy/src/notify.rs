//! What the service manager is told: sd_notify(3), datagrams to the socket that `NOTIFY_SOCKET` names. Without one nobody
//! is told anything.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// More time is asked for so often, and each time so much.
const EXTENSION: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));

/// How long a manager that does not read is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether another process speaks for the service now.
static SILENT: AtomicBool = AtomicBool::new(false);

/// Whether there is somebody to tell.
pub(crate) fn is_wanted() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// How often the service manager wants a sign of life, if it does.
pub(crate) fn watchdog() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let every = number("WATCHDOG_USEC").filter(|every| *every > 0)?;
    is_ours.then(|| Duration::from_micros(every))
}

/// This process serves, and is the service.
pub(crate) fn ready() {
    tell(&format!("READY=1\nMAINPID={}", std::process::id()));
}

/// The configuration is read again; [`ready`] says that it has been.
pub(crate) fn reloading() {
    let now = clock_gettime(ClockId::Monotonic);
    let now = Duration::try_from(now).unwrap_or_default().as_micros();
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
}

pub(crate) fn stopping() {
    tell("STOPPING=1\nSTATUS=stopping");
}

/// A line for who looks at the service.
pub(crate) fn status(line: &str) {
    tell(&format!("STATUS={line}"));
}

/// A sign of life.
pub(crate) fn alive() {
    tell("WATCHDOG=1");
}

/// Another process is the service from now on, and speaks for it.
pub(crate) fn fall_silent() {
    SILENT.store(true, Ordering::Relaxed);
}

/// Asks for more time to start or stop, again and again until it is dropped.
#[derive(Debug)]
pub(crate) struct MoreTime {
    /// Dropping it ends the thread that asks.
    _asks: Option<Sender<()>>,
}

impl MoreTime {
    pub(crate) fn ask() -> Self {
        if !is_wanted() {
            return Self { _asks: None };
        }
        let (asks, end) = channel();
        let (every, more) = EXTENSION;
        let ask = move || {
            loop {
                tell(&format!("EXTEND_TIMEOUT_USEC={}", more.as_micros()));
                match end.recv_timeout(every) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        std::thread::spawn(ask);
        Self { _asks: Some(asks) }
    }
}

fn tell(what: &str) {
    if SILENT.load(Ordering::Relaxed) {
        return;
    }
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(&socket, what) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

/// Waits a little for a manager that has much to read, and no longer.
fn send(socket: &std::ffi::OsStr, what: &str) -> io::Result<()> {
    let address = match socket.as_encoded_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let sender = UnixDatagram::unbound()?;
    sender.set_write_timeout(Some(PATIENCE))?;
    sender.send_to_addr(what.as_bytes(), &address)?;
    Ok(())
}
