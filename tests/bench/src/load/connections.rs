//! All connections of a load, on one thread: what comes is collected until whoever asks next looks at it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// Read at a time. Less than this means that there is no more for now.
const PIECE: usize = 256 << 10;

pub(crate) struct Connections {
    poll: Poll,
    events: Events,
    /// By number. A closed one leaves its place to the next that is opened.
    open: Vec<Option<Connection>>,
    vacant: Vec<usize>,
    /// Where something has come, or the end, and nobody has looked yet.
    ready: VecDeque<usize>,
    piece: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    /// What has come and was not consumed.
    input: Vec<u8>,
    /// What could not be written yet.
    output: Vec<u8>,
    /// The peer has closed, or the network has.
    has_ended: bool,
}

/// What has come on a connection.
pub(crate) struct Input<'a> {
    pub(crate) number: usize,
    /// Whoever takes from it removes it.
    pub(crate) bytes: &'a mut Vec<u8>,
    /// There is no more to come.
    pub(crate) has_ended: bool,
}

impl Connections {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            open: Vec::new(),
            vacant: Vec::new(),
            ready: VecDeque::new(),
            piece: vec![0; PIECE],
        })
    }

    /// Begins to connect; what is sent meanwhile waits. The number is the connection's until it is closed.
    pub(crate) fn open(&mut self, address: SocketAddr) -> io::Result<usize> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let number = self.vacant.pop().unwrap_or(self.open.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(&mut stream, Token(number), interest)?;
        let connection = Some(Connection {
            stream,
            input: Vec::new(),
            output: Vec::new(),
            has_ended: false,
        });
        match self.open.get_mut(number) {
            Some(place) => *place = connection,
            None => self.open.push(connection),
        }
        Ok(number)
    }

    /// Closes it from our side.
    pub(crate) fn close(&mut self, number: usize) {
        if let Some(place) = self.open.get_mut(number)
            && place.take().is_some()
        {
            self.vacant.push(number);
        }
    }

    pub(crate) fn send(&mut self, number: usize, bytes: &[u8]) -> io::Result<()> {
        let Some(Some(connection)) = self.open.get_mut(number) else {
            return Err(ErrorKind::NotConnected.into());
        };
        connection.output.extend_from_slice(bytes);
        connection.flush()
    }

    /// Of what was taken as it came, `rest` is still to be consumed.
    pub(crate) fn put_back(&mut self, number: usize, rest: Vec<u8>) {
        if let Some(Some(connection)) = self.open.get_mut(number) {
            connection.input = rest;
        }
    }

    /// The next connection on which something came or ended; none if it is `until` before that.
    pub(crate) fn next(&mut self, until: Instant) -> io::Result<Option<Input<'_>>> {
        let number = loop {
            match self.ready.pop_front() {
                Some(number) if matches!(self.open.get(number), Some(Some(_))) => break number,
                Some(_) => {}
                None => {
                    let wait = until.saturating_duration_since(Instant::now());
                    self.wait(wait)?;
                    if self.ready.is_empty() && Instant::now() >= until {
                        return Ok(None);
                    }
                }
            }
        };
        let Some(Some(connection)) = self.open.get_mut(number) else {
            return Ok(None);
        };
        Ok(Some(Input {
            number,
            bytes: &mut connection.input,
            has_ended: connection.has_ended,
        }))
    }

    fn wait(&mut self, longest: std::time::Duration) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(longest)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &self.events {
            let Token(number) = event.token();
            let Some(Some(connection)) = self.open.get_mut(number) else {
                continue;
            };
            if event.is_writable() {
                connection.flush()?;
            }
            if event.is_readable() {
                connection.read(&mut self.piece);
                self.ready.push_back(number);
            }
        }
        Ok(())
    }
}

impl Connection {
    fn flush(&mut self) -> io::Result<()> {
        let mut written = 0;
        let ended = loop {
            match self.output.get(written..) {
                None | Some([]) => break Ok(()),
                Some(rest) => match self.stream.write(rest) {
                    Ok(count) => written += count,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // Not connected: it is being connected.
                    Err(error)
                        if matches!(
                            error.kind(),
                            ErrorKind::WouldBlock | ErrorKind::NotConnected
                        ) =>
                    {
                        break Ok(());
                    }
                    Err(error) => break Err(error),
                },
            }
        };
        self.output.drain(..written);
        ended
    }

    fn read(&mut self, piece: &mut [u8]) {
        loop {
            match self.stream.read(piece) {
                Ok(0) => self.has_ended = true,
                Ok(count) => {
                    self.input
                        .extend_from_slice(piece.get(..count).unwrap_or_default());
                    if count == piece.len() {
                        continue;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.has_ended = true,
            }
            return;
        }
    }
}
