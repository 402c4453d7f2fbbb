//! Websocket frames (RFC 6455 5.2), whether or not they should be as they are: cut out of the bytes of one
//! direction, or made of what was recorded.

use pullgate_compat::websocket::{CloseCode, Header, Opcode, apply_mask};

use super::Unreadable;
use crate::format::{Frame, Side};

/// As recordings name them.
const OPCODES: [(Opcode, &str); 6] = [
    (Opcode::Continuation, "continuation"),
    (Opcode::Text, "text"),
    (Opcode::Binary, "binary"),
    (Opcode::Close, "close"),
    (Opcode::Ping, "ping"),
    (Opcode::Pong, "pong"),
];

/// What a close frame without a code is received as (RFC 6455 7.1.5).
pub(crate) const NO_CODE: u16 = 1005;

/// The mask hides a frame from old proxies; here it need not be secret (RFC 6455 10.3).
const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

/// A frame, its payload without the mask.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RawFrame {
    pub(crate) fin: bool,
    /// The three reserved bits, 4 for the first.
    pub(crate) rsv: u8,
    /// Of an [`Opcode`], or a reserved one.
    pub(crate) opcode: u8,
    pub(crate) masked: bool,
    /// `None` if it was longer than what is kept.
    pub(crate) payload: Option<Vec<u8>>,
}

impl RawFrame {
    /// As a client sends it.
    pub(crate) fn client(opcode: Opcode, payload: Vec<u8>) -> Self {
        Self {
            fin: true,
            rsv: 0,
            opcode: opcode as u8,
            masked: true,
            payload: Some(payload),
        }
    }

    /// As a client sent it when it was recorded.
    pub(crate) fn of(frame: &Frame) -> Self {
        let named = OPCODES.iter().find(|(_, name)| *name == frame.opcode);
        let opcode = named.map_or(Opcode::Continuation, |(opcode, _)| *opcode);
        let sent = Self::client(opcode, frame.data.clone().unwrap_or_default());
        Self {
            fin: frame.fin.unwrap_or(true),
            rsv: frame.rsv.unwrap_or_default(),
            opcode: frame.opcode_number.unwrap_or(sent.opcode),
            masked: frame.masked.unwrap_or(true),
            ..sent
        }
    }

    /// Whether it is this one.
    pub(crate) fn is(&self, opcode: Opcode) -> bool {
        self.opcode == opcode as u8
    }

    /// As it is recorded; what is as usual for this side is left out.
    pub(crate) fn recorded(self, by: Side) -> Result<Frame, Unreadable> {
        let named = OPCODES.iter().find(|(opcode, _)| self.is(*opcode));
        let data = self.payload.ok_or(TOO_LONG)?;
        let is_usual = self.masked == (by == Side::Client);
        Ok(Frame {
            opcode: named.map_or("binary", |(_, name)| name).to_owned(),
            data: Some(data),
            fin: (!self.fin).then_some(false),
            masked: (!is_usual).then_some(self.masked),
            rsv: (self.rsv != 0).then_some(self.rsv),
            opcode_number: named.is_none().then_some(self.opcode),
        })
    }

    /// Code and reason, if it is a close frame that means what it says.
    pub(crate) fn close(&self) -> Option<(Option<u16>, String)> {
        let payload = self.payload.as_deref().filter(|_| self.is(Opcode::Close))?;
        if payload.is_empty() {
            return Some((None, String::new()));
        }
        let (code, reason) = payload.split_first_chunk::<2>()?;
        let code = u16::from_be_bytes(*code);
        let reason = str::from_utf8(reason).ok()?.to_owned();
        CloseCode::new(code).map(|code| (Some(code.into()), reason))
    }

    /// Its bytes, the length in as few of them as it fits in.
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut payload = self.payload.unwrap_or_default();
        let mask = self.masked.then_some(MASK);
        let header = Header {
            fin: self.fin,
            rsv: self.rsv,
            opcode: self.opcode,
            mask,
            length: payload.len() as u64,
        };
        let mut frame = Vec::new();
        header.encode(&mut frame);
        apply_mask(mask.unwrap_or_default(), 0, &mut payload);
        frame.append(&mut payload);
        frame
    }
}

const TOO_LONG: Unreadable = Unreadable("a frame or message is too long");

/// Makes messages of one direction's frames.
#[derive(Debug)]
pub(crate) struct Joiner {
    /// The message that has begun, as far as it has come.
    message: Option<RawFrame>,
    /// Bytes of a message that are kept at most.
    most: usize,
}

impl Joiner {
    pub(crate) fn new(most: usize) -> Self {
        let message = None;
        Self { message, most }
    }

    /// A control frame comes back as it is; a message when its last fragment is there, as one frame.
    pub(crate) fn add(&mut self, frame: RawFrame) -> Result<Option<RawFrame>, Unreadable> {
        if frame.opcode >= Opcode::Close as u8 {
            return Ok(Some(frame));
        }
        let is_last = frame.fin;
        let mut message = match (self.message.take(), frame.is(Opcode::Continuation)) {
            (Some(mut message), true) => {
                let (kept, more) = message
                    .payload
                    .as_mut()
                    .zip(frame.payload)
                    .ok_or(TOO_LONG)?;
                if kept.len() + more.len() > self.most {
                    return Err(TOO_LONG);
                }
                kept.extend(more);
                message
            }
            (None, true) => return Err(Unreadable("a fragment of no message")),
            (Some(_), false) => return Err(Unreadable("a message within another")),
            (None, false) => frame,
        };
        message.fin = is_last;
        if is_last {
            return Ok(Some(message));
        }
        self.message = Some(message);
        Ok(None)
    }
}

/// The reader of one direction.
#[derive(Debug)]
pub(crate) struct FrameReader {
    /// The header that has begun.
    begun: Vec<u8>,
    /// The header of the payload that is read, and how much of that is still to come.
    header: Option<(Header, u64)>,
    payload: Vec<u8>,
    /// Bytes of a payload that are kept at most.
    most: usize,
}

impl FrameReader {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            begun: Vec::new(),
            header: None,
            payload: Vec::new(),
            most,
        }
    }

    /// Whether a frame has begun and not ended.
    pub(crate) fn is_inside(&self) -> bool {
        self.header.is_some() || !self.begun.is_empty()
    }

    /// The next frame; `None` when `input` is used up before its end.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Option<RawFrame> {
        let (header, rest) = match self.header {
            Some(begun) => begun,
            None => {
                let header = self.read_header(input)?;
                (header, header.length)
            }
        };
        let now = usize::try_from(rest).map_or(input.len(), |rest| rest.min(input.len()));
        let (bytes, behind) = input.split_at(now);
        *input = behind;
        if self.keeps(&header) {
            self.payload.extend_from_slice(bytes);
        }
        let rest = rest - now as u64;
        self.header = Some((header, rest));
        if rest > 0 { None } else { self.frame() }
    }

    /// The frame that has begun, its rest filled up with zeros.
    pub(crate) fn filled_up(&mut self) -> Option<RawFrame> {
        let (header, _) = self.header?;
        let length = usize::try_from(header.length).ok()?;
        let mut frame = self.frame()?;
        if let Some(payload) = &mut frame.payload {
            payload.resize(length, 0);
        }
        Some(frame)
    }

    fn keeps(&self, header: &Header) -> bool {
        header.length <= self.most as u64
    }

    /// Collects a header.
    fn read_header(&mut self, input: &mut &[u8]) -> Option<Header> {
        loop {
            let (&byte, rest) = input.split_first()?;
            self.begun.push(byte);
            *input = rest;
            if let Some((header, _)) = Header::decode(&self.begun) {
                self.begun.clear();
                return Some(header);
            }
        }
    }

    /// What has come of the frame that is read.
    fn frame(&mut self) -> Option<RawFrame> {
        let (header, _) = self.header.take()?;
        let mut payload = std::mem::take(&mut self.payload);
        apply_mask(header.mask.unwrap_or_default(), 0, &mut payload);
        Some(RawFrame {
            fin: header.fin,
            rsv: header.rsv,
            opcode: header.opcode,
            masked: header.mask.is_some(),
            payload: self.keeps(&header).then_some(payload),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(input: &[u8], step: usize) -> Vec<RawFrame> {
        let mut reader = FrameReader::new(300);
        let mut found = Vec::new();
        for mut part in input.chunks(step) {
            while let Some(frame) = reader.next(&mut part) {
                found.push(frame);
            }
        }
        found
    }

    #[test]
    fn frames_are_cut_wherever_the_bytes_are() {
        let mut input =
            b"\x81\x05hello\x89\x80abcd\x41\x82\x01\x02\x03\x04\x60\x60\x82\x7e\x01\x00".to_vec();
        input.extend([7; 256]);
        input.extend([0x82, 127, 0, 0, 0, 0, 0, 0, 1, 0x2d]);
        input.extend([7; 301]);
        input.extend([0x8a, 0]);
        let frame = |fin, rsv, opcode, masked, payload: &[u8]| RawFrame {
            fin,
            rsv,
            opcode,
            masked,
            payload: Some(payload.to_vec()),
        };
        let mut expected = vec![
            frame(true, 0, 1, false, b"hello"),
            frame(true, 0, 9, true, b""),
            frame(false, 4, 1, true, b"ab"),
            frame(true, 0, 2, false, &[7; 256]),
            frame(true, 0, 2, false, b""),
            frame(true, 0, 10, false, b""),
        ];
        if let Some(long) = expected.get_mut(4) {
            long.payload = None;
        }
        for step in 1..30 {
            assert_eq!(frames(&input, step), expected, "{step}");
        }
    }

    #[test]
    fn what_is_written_is_read_alike() {
        for length in [0, 125, 126, 300] {
            for (opcode, masked) in [(0, true), (2, false), (9, true), (11, true)] {
                let frame = || RawFrame {
                    fin: opcode != 0,
                    rsv: 4,
                    opcode,
                    masked,
                    payload: Some(vec![7; length]),
                };
                assert_eq!(frames(&frame().encode(), 9), [frame()]);
                let again = frame().recorded(Side::Client);
                assert_eq!(again.map(|again| RawFrame::of(&again)), Ok(frame()));
            }
        }
        let long = RawFrame::client(Opcode::Binary, vec![0; 1 << 16]).encode();
        assert_eq!(
            long.get(..10),
            Some(&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0][..])
        );
    }

    #[test]
    fn fragments_become_messages() {
        let part = |fin, opcode, payload: &[u8]| RawFrame {
            fin,
            ..RawFrame::client(opcode, payload.to_vec())
        };
        let mut joiner = Joiner::new(6);
        assert_eq!(joiner.add(part(false, Opcode::Text, b"a")), Ok(None));
        let ping = joiner.add(part(true, Opcode::Ping, b""));
        assert_eq!(ping, Ok(Some(part(true, Opcode::Ping, b""))));
        assert_eq!(
            joiner.add(part(false, Opcode::Continuation, b"b")),
            Ok(None)
        );
        let whole = joiner.add(part(true, Opcode::Continuation, b"c"));
        assert_eq!(whole, Ok(Some(part(true, Opcode::Text, b"abc"))));

        assert!(joiner.add(part(true, Opcode::Continuation, b"")).is_err());
        assert_eq!(joiner.add(part(false, Opcode::Text, b"abcd")), Ok(None));
        assert_eq!(
            joiner.add(part(true, Opcode::Continuation, b"efg")),
            Err(TOO_LONG)
        );
        assert_eq!(joiner.add(part(false, Opcode::Text, b"")), Ok(None));
        assert!(joiner.add(part(true, Opcode::Text, b"")).is_err());
    }

    #[test]
    fn a_frame_that_never_came_whole_is_filled_up() {
        let mut reader = FrameReader::new(300);
        assert_eq!(reader.next(&mut &b"\x82\x84\x01\x02"[..]), None);
        assert!(reader.is_inside() && reader.filled_up().is_none());
        assert_eq!(reader.next(&mut &b"\x03\x04\x60\x60"[..]), None);
        let frame = reader.filled_up();
        assert_eq!(
            frame.and_then(|frame| frame.payload),
            Some(b"ab\0\0".to_vec())
        );
        assert!(!reader.is_inside());
    }
}
