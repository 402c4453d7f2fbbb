//! From bytes to messages.

use super::close::{CloseCode, CloseFrame, decode_close};
use super::{Header, MAX_CONTROL, Opcode, apply_mask};

/// Whose bytes are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Its frames are masked.
    Client,
    /// Its frames are not.
    Server,
}

/// Something that has come whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message; UTF-8.
    Text(Vec<u8>),
    /// A message.
    Binary(Vec<u8>),
    /// To be answered with a pong of the same payload.
    Ping(Vec<u8>),
    /// The peer is there.
    Pong(Vec<u8>),
    /// The peer's last word: it is answered with a close frame, and nothing behind it is decoded.
    Close(Option<CloseFrame>),
}

/// What a peer did wrong. Nothing can be decoded after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// They are for extensions, of which there are none.
    #[error("reserved bits are set")]
    ReservedBits,
    /// Not one of [`Opcode`].
    #[error("an unknown opcode")]
    Opcode,
    /// A client that does not mask, or a server that does.
    #[error("a frame is masked, or is not, against the rule")]
    Mask,
    /// It has to be as short as possible (RFC 6455 5.2), and below 2^63.
    #[error("a length is not in its shortest form")]
    Length,
    /// It is cut into fragments, or too long (RFC 6455 5.5).
    #[error("a control frame is not whole and short")]
    Control,
    /// A message begins within another, or goes on without having begun.
    #[error("fragments do not follow each other")]
    Fragments,
    /// Half a code, or one that must not be sent.
    #[error("a close frame has no valid code")]
    Close,
    /// A text, or the reason of a close frame.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// It is longer than allowed, as announced or in the sum of its fragments.
    #[error("a message is too long")]
    TooBig,
}

impl Violation {
    /// What to close the connection with.
    #[must_use]
    pub fn code(self) -> CloseCode {
        match self {
            Self::NotUtf8 => CloseCode::INVALID,
            Self::TooBig => CloseCode::TOO_BIG,
            Self::ReservedBits
            | Self::Opcode
            | Self::Mask
            | Self::Length
            | Self::Control
            | Self::Fragments
            | Self::Close => CloseCode::PROTOCOL,
        }
    }
}

/// Makes messages of the bytes of one peer.
#[derive(Debug)]
pub struct Decoder {
    peer: Peer,
    max_message: u64,
    /// The first bytes of a header that has not ended, and how many there are.
    header: ([u8; Header::LONGEST], usize),
    /// The frame whose payload is being read. Boxed, as the message is: most peers have begun nothing.
    frame: Option<Box<Frame>>,
    /// The message that has begun.
    message: Option<Box<Message>>,
}

#[derive(Debug)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    mask: [u8; 4],
    /// Bytes of payload that have come, and that are to come.
    had: usize,
    left: u64,
    /// What has come of a control frame; other payloads go to the message.
    control: Vec<u8>,
}

#[derive(Debug)]
struct Message {
    is_text: bool,
    data: Vec<u8>,
    /// How much of a text is known to be UTF-8: all but an unfinished character.
    checked: usize,
    /// What counts towards the limit.
    size: u64,
}

impl Decoder {
    /// For messages of up to `max_message` bytes.
    #[must_use]
    pub fn new(peer: Peer, max_message: usize) -> Self {
        Self {
            peer,
            max_message: u64::try_from(max_message).unwrap_or(u64::MAX),
            header: ([0; Header::LONGEST], 0),
            frame: None,
            message: None,
        }
    }

    /// Takes bytes off `input` up to the end of the next message or control frame. `None` when they are
    /// used up before.
    ///
    /// # Errors
    /// As soon as it is seen that the peer does not keep to the protocol.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Event>, Violation> {
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => *frame,
                None => match self.header(input) {
                    Some((header, length)) => self.begin(&header, length)?,
                    None => return Ok(None),
                },
            };
            self.payload(&mut frame, input)?;
            if frame.left > 0 {
                self.frame = Some(Box::new(frame));
                return Ok(None);
            }
            if let Some(event) = self.end(frame)? {
                return Ok(Some(event));
            }
        }
    }

    /// Collects a header; it and its length when it is whole.
    fn header(&mut self, input: &mut &[u8]) -> Option<(Header, usize)> {
        let (bytes, filled) = &mut self.header;
        loop {
            let (&byte, rest) = input.split_first()?;
            *bytes.get_mut(*filled)? = byte;
            *filled += 1;
            *input = rest;
            if let Some(header) = Header::decode(bytes.get(..*filled)?) {
                *filled = 0;
                return Some(header);
            }
        }
    }

    /// Checks what a header says, before anything is kept of its payload.
    fn begin(&mut self, header: &Header, length: usize) -> Result<Frame, Violation> {
        if header.rsv != 0 {
            return Err(Violation::ReservedBits);
        }
        let opcode = Opcode::of(header.opcode).ok_or(Violation::Opcode)?;
        if header.mask.is_some() != (self.peer == Peer::Client) {
            return Err(Violation::Mask);
        }
        if length != header.encoded_len() || header.length > i64::MAX.unsigned_abs() {
            return Err(Violation::Length);
        }
        if opcode.is_control() {
            if !header.fin || header.length > MAX_CONTROL as u64 {
                return Err(Violation::Control);
            }
        } else {
            self.fragment(opcode, header.length)?;
        }
        Ok(Frame {
            opcode,
            fin: header.fin,
            mask: header.mask.unwrap_or_default(),
            had: 0,
            left: header.length,
            control: Vec::new(),
        })
    }

    /// Begins a message or goes on with it.
    fn fragment(&mut self, opcode: Opcode, length: u64) -> Result<(), Violation> {
        if (opcode == Opcode::Continuation) != self.message.is_some() {
            return Err(Violation::Fragments);
        }
        let message = self.message.get_or_insert_with(|| {
            Box::new(Message {
                is_text: opcode == Opcode::Text,
                data: Vec::new(),
                checked: 0,
                size: 0,
            })
        });
        // An empty fragment counts as a byte, so that their number has an end.
        message.size = message.size.saturating_add(length.max(1));
        if message.size > self.max_message.max(1) {
            return Err(Violation::TooBig);
        }
        Ok(())
    }

    /// Takes what `input` has of the frame's payload.
    fn payload(&mut self, frame: &mut Frame, input: &mut &[u8]) -> Result<(), Violation> {
        let now = usize::try_from(frame.left).map_or(input.len(), |left| left.min(input.len()));
        let (bytes, rest) = input.split_at(now);
        *input = rest;
        let into = match &mut self.message {
            Some(message) if !frame.opcode.is_control() => &mut message.data,
            Some(_) | None => &mut frame.control,
        };
        let begin = into.len();
        into.extend_from_slice(bytes);
        if self.peer == Peer::Client {
            apply_mask(
                frame.mask,
                frame.had,
                into.get_mut(begin..).unwrap_or_default(),
            );
        }
        frame.had += now;
        frame.left -= now as u64;
        match &mut self.message {
            Some(message) if !frame.opcode.is_control() => message.check(),
            Some(_) | None => Ok(()),
        }
    }

    /// What a frame that has come whole ends.
    fn end(&mut self, frame: Frame) -> Result<Option<Event>, Violation> {
        Ok(match frame.opcode {
            Opcode::Ping => Some(Event::Ping(frame.control)),
            Opcode::Pong => Some(Event::Pong(frame.control)),
            Opcode::Close => Some(Event::Close(decode_close(&frame.control)?)),
            Opcode::Continuation | Opcode::Text | Opcode::Binary if frame.fin => self
                .message
                .take()
                .map(|message| message.end())
                .transpose()?,
            Opcode::Continuation | Opcode::Text | Opcode::Binary => None,
        })
    }
}

impl Message {
    /// Looks at what a text has got; a character may go on in what is to come.
    fn check(&mut self) -> Result<(), Violation> {
        if !self.is_text {
            return Ok(());
        }
        let new = self.data.get(self.checked..).unwrap_or_default();
        self.checked += match str::from_utf8(new) {
            Ok(_) => new.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => return Err(Violation::NotUtf8),
        };
        Ok(())
    }

    fn end(self) -> Result<Event, Violation> {
        match self.is_text {
            true if self.checked < self.data.len() => Err(Violation::NotUtf8),
            true => Ok(Event::Text(self.data)),
            false => Ok(Event::Binary(self.data)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_announcement_takes_no_memory() {
        let mut decoder = Decoder::new(Peer::Client, usize::MAX);
        let mut input = b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xffabcd12345678".as_slice();
        assert_eq!(decoder.next(&mut input), Ok(None));
        let kept = decoder.message.map(|message| message.data.capacity());
        assert!(kept.is_some_and(|kept| kept < 100), "{kept:?}");
    }
}
