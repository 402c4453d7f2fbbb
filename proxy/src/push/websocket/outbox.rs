//! What waits to be written to one client, whatever it is: messages, pongs, answers, the close frame.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};
use pullgate_compat::websocket::{Header, Opcode, encode_frame};

use crate::net::switched::Switched;

/// Pieces in one system call.
const AT_ONCE: usize = 64;

/// Small frames of its own are cut into pieces of about so many bytes: one buffer for all would double as it grows, and stay
/// whole until its last byte is taken.
const PIECE: usize = 16 << 10;

/// Encoded frames, oldest first.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// The first may be written in part.
    pieces: VecDeque<Piece>,
    /// Headers and small frames that stand behind the pieces.
    tail: Vec<u8>,
    /// Sum of the pieces' lengths.
    bytes: usize,
    /// That of those which are this client's own.
    own: usize,
}

#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    /// Messages are shared with all who get them, and counted by themselves.
    is_own: bool,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.tail.is_empty()
    }

    /// Bytes that are kept because of this client.
    pub(super) fn size(&self) -> usize {
        self.bytes + self.pieces.capacity() * size_of::<Piece>() + self.tail.capacity()
    }

    /// The part of it that is kept for nobody else.
    pub(super) fn own_size(&self) -> usize {
        self.own + self.pieces.capacity() * size_of::<Piece>() + self.tail.capacity()
    }

    /// Appends a message that lies in several places.
    pub(super) fn message(&mut self, opcode: Opcode, parts: impl Iterator<Item = Bytes> + Clone) {
        let length = parts.clone().map(|part| part.len()).sum();
        Header::new(opcode, None, length).encode(&mut self.tail);
        for part in parts.filter(|part| !part.is_empty()) {
            self.cut();
            self.bytes += part.len();
            self.pieces.push_back(Piece {
                bytes: part,
                is_own: false,
            });
        }
    }

    /// Appends a frame of this client's own.
    pub(super) fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        encode_frame(opcode, None, payload, &mut self.tail);
        if self.tail.len() >= PIECE {
            self.cut();
        }
    }

    /// Writes what the socket takes now; whether it took any.
    pub(super) fn write_to(&mut self, stream: &mut Switched) -> io::Result<bool> {
        self.cut();
        let mut slices = [IoSlice::new(&[]); AT_ONCE];
        let mut filled = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(&piece.bytes);
            filled += 1;
        }
        match stream.try_write_vectored(slices.get(..filled).unwrap_or_default()) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                self.forget(written);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a piece of the tail.
    fn cut(&mut self) {
        if !self.tail.is_empty() {
            let mut tail = std::mem::take(&mut self.tail);
            tail.shrink_to_fit();
            let tail = Bytes::from(tail);
            self.bytes += tail.len();
            self.own += tail.len();
            self.pieces.push_back(Piece {
                bytes: tail,
                is_own: true,
            });
        }
    }

    fn forget(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(first) = self.pieces.front_mut() {
            let taken = written.min(first.bytes.len());
            if first.is_own {
                self.own -= taken;
            }
            written -= taken;
            if taken < first.bytes.len() {
                first.bytes.advance(taken);
                return;
            }
            self.pieces.pop_front();
        }
        // An idle connection keeps no buffer.
        self.pieces = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_nobody_takes_are_kept_as_they_are_counted() {
        let mut outbox = Outbox::default();
        while outbox.size() < 4 << 20 {
            outbox.frame(Opcode::Pong, b"unread");
            assert!(outbox.tail.capacity() <= 2 * PIECE);
        }
        let frames = outbox.bytes + outbox.tail.len();
        assert!(outbox.size() - frames < 64 << 10, "{frames}");
    }
}
