//! SIGUSR2: another process takes over, without a moment in which nobody listens.
//!
//! The old process starts the new one, and hands it its listening sockets. From then on the two speak over the new one's
//! standard input, a byte for each step:
//!
//! 1. The new one has read its configuration (`Prepared`). Until then the old one serves as if nothing were, and goes on
//!    doing so if the new one fails.
//! 2. The old one accepts no more; connections wait in the kernel. It sends its subscribers away, closes its stores and
//!    gives up its state directories (`Released`).
//! 3. The new one opens them and serves (`Ready`). The old one lets end what is under way, or, if the new one has
//!    failed, opens its stores again and goes on.

use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Set for the new process.
const UPGRADE: &str = "PULLGATE_UPGRADE";

/// How long the new process may take to prepare, and again to open what was released. With a long history this is much.
const PATIENCE: Duration = Duration::from_secs(120);

/// What one process tells the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Here is a listening socket.
    Socket,
    /// That were all.
    Sockets,
    Prepared,
    Released,
    Ready,
}

impl Step {
    fn byte(self) -> u8 {
        match self {
            Self::Socket => b's',
            Self::Sockets => b'S',
            Self::Prepared => b'p',
            Self::Released => b'r',
            Self::Ready => b'R',
        }
    }
}

/// This program, as it was started: a file that has taken its place is what an upgrade starts.
#[derive(Debug)]
pub(crate) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    pub(crate) fn of_this_process() -> io::Result<Self> {
        let mut arguments = std::env::args_os();
        let named = arguments.next().map(PathBuf::from);
        let path = match named.filter(|named| named.components().nth(1).is_some()) {
            Some(named) => std::path::absolute(named)?,
            // Found by PATH.
            None => std::env::current_exe()?,
        };
        Ok(Self {
            path,
            arguments: arguments.collect(),
        })
    }
}

/// The process that is to take over. Dropping it ends it, unless it was let go.
#[derive(Debug)]
pub(crate) struct Successor {
    child: Option<Child>,
    channel: UnixStream,
}

impl Successor {
    /// Starts it, with these sockets to listen on.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(crate) fn start(program: &Program, sockets: &[OwnedFd]) -> io::Result<Self> {
        let (channel, theirs) = UnixStream::pair()?;
        channel.set_read_timeout(Some(PATIENCE))?;
        let child = Command::new(&program.path)
            .args(&program.arguments)
            .env(UPGRADE, "1")
            // The service manager meant this process.
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_FDNAMES")
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()?;
        let mut successor = Self {
            child: Some(child),
            channel,
        };
        for socket in sockets {
            successor.send_socket(socket)?;
        }
        successor.tell(Step::Sockets)?;
        Ok(successor)
    }

    fn send_socket(&self, socket: &OwnedFd) -> io::Result<()> {
        let sockets = [socket.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&sockets));
        let byte = [Step::Socket.byte()];
        sendmsg(
            &self.channel,
            &[IoSlice::new(&byte)],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
        Ok(())
    }

    pub(crate) fn tell(&mut self, step: Step) -> io::Result<()> {
        self.channel.write_all(&[step.byte()])
    }

    /// Waits until it is so far.
    ///
    /// # Errors
    ///
    /// When it has ended, or takes too long.
    pub(crate) fn wait_for(&mut self, step: Step) -> Result<(), io::Error> {
        let mut byte = [0];
        let failed = |what: &str| Err(io::Error::other(what.to_owned()));
        match self.channel.read(&mut byte) {
            Ok(1) if byte == [step.byte()] => Ok(()),
            Ok(1) => failed("the new process speaks another language"),
            Ok(_) => failed("the new process has ended; its log says why"),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                failed("the new process takes too long")
            }
            Err(error) => Err(error),
        }
    }

    /// It is on its own from now on: its number.
    pub(crate) fn let_go(mut self) -> Option<u32> {
        self.child.take().map(|child| child.id())
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The process whose place this one takes.
#[derive(Debug)]
pub(crate) struct Predecessor(UnixStream);

impl Predecessor {
    /// `None`: this process was started by somebody else.
    pub(crate) fn of_this_process() -> io::Result<Option<Self>> {
        if std::env::var_os(UPGRADE).is_none() {
            return Ok(None);
        }
        let channel = io::stdin().as_fd().try_clone_to_owned()?;
        Ok(Some(Self(channel.into())))
    }

    /// The sockets to listen on, in the order in which they were handed over.
    pub(crate) fn sockets(&mut self) -> io::Result<Vec<OwnedFd>> {
        let mut sockets = Vec::new();
        loop {
            let mut byte = [0];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let received = recvmsg(
                &self.0,
                &mut [IoSliceMut::new(&mut byte)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )?;
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(received) = message {
                    sockets.extend(received);
                }
            }
            if received.bytes == 0 || byte == [Step::Sockets.byte()] {
                return Ok(sockets);
            }
        }
    }

    /// Tells that this process is ready to open the stores, and waits until they are closed there: also by its end.
    pub(crate) fn wait_for_release(&mut self) {
        // Whoever cannot hear it has ended.
        let _ = self.0.write_all(&[Step::Prepared.byte()]);
        let _ = self.0.read(&mut [0]);
    }

    /// This process serves.
    pub(crate) fn ready(mut self) {
        let _ = self.0.write_all(&[Step::Ready.byte()]);
    }
}
