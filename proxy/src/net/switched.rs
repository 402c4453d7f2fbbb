//! A client's connection behind a 101: read and written when the socket is ready, so that an idle one needs no buffer
//! of ours. By TLS, what the session holds counts as the kernel's: see [`Switched::ready`].

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use rustls::ServerConnection;
use tokio::io::{AsyncWriteExt, Interest, Ready};

use super::Stream;

/// See the module.
#[derive(Debug)]
pub(crate) struct Switched {
    stream: Stream,
    /// `None`: in the clear.
    session: Option<Box<ServerConnection>>,
}

impl Switched {
    pub(super) fn plain(stream: Stream) -> Self {
        let session = None;
        Self { stream, session }
    }

    pub(super) fn tls(stream: Stream, session: ServerConnection) -> Self {
        let session = Some(Box::new(session));
        Self { stream, session }
    }

    pub(crate) fn limit_unsent(&self) {
        self.stream.limit_unsent();
    }

    /// Waits until it can be read or written, as asked. What a session has decrypted can be read, and it can be written
    /// when the socket has taken all that it has encrypted, which is seen to here whatever was asked.
    pub(crate) async fn ready(&mut self, interest: Interest) -> io::Result<Ready> {
        poll_fn(|cx| self.poll_ready(cx, interest)).await
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<Ready>> {
        loop {
            let Some(session) = &mut self.session else {
                return self.stream.poll_ready(cx, interest);
            };
            flush(&self.stream, session)?;
            // It wants no more before that has been read, or its end seen.
            if interest.is_readable() && !session.wants_read() {
                return Poll::Ready(Ok(match session.wants_write() {
                    true => Ready::READABLE,
                    false => Ready::READABLE | Ready::WRITABLE,
                }));
            }
            if !session.wants_write() {
                return self.stream.poll_ready(cx, interest);
            }
            let ready = ready!(self.stream.poll_ready(cx, interest | Interest::WRITABLE))?;
            if interest.is_readable() && ready.is_readable() {
                return Poll::Ready(Ok(Ready::READABLE));
            }
        }
    }

    /// As a socket that does not block: 0 at its end.
    pub(crate) fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(session) = &mut self.session else {
            return self.stream.try_read(buffer);
        };
        loop {
            match io::Read::read(&mut session.reader(), buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            if session.read_tls(&mut NotBlocking(&self.stream))? == 0 {
                return Ok(0);
            }
            session.process_new_packets().map_err(io::Error::other)?;
        }
    }

    /// As a socket that does not block.
    pub(crate) fn try_write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let Some(session) = &mut self.session else {
            return self.stream.try_write_vectored(slices);
        };
        flush(&self.stream, session)?;
        if session.wants_write() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let written = io::Write::write_vectored(&mut session.writer(), slices)?;
        flush(&self.stream, session)?;
        Ok(written)
    }

    /// Ends our side, behind all that was written.
    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        if let Some(session) = &mut self.session {
            session.send_close_notify();
            flush(&self.stream, session)?;
            while session.wants_write() {
                self.stream.ready(Interest::WRITABLE).await?;
                flush(&self.stream, session)?;
            }
        }
        self.stream.shutdown().await
    }
}

/// Writes what a session has encrypted, as far as the socket takes it.
fn flush(stream: &Stream, session: &mut ServerConnection) -> io::Result<()> {
    while session.wants_write() {
        match session.write_tls(&mut NotBlocking(stream)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The socket as rustls wants it.
struct NotBlocking<'a>(&'a Stream);

impl io::Read for NotBlocking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl io::Write for NotBlocking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write_vectored(&[io::IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
