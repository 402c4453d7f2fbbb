//! Websocket frames (RFC 6455 5.2), whether or not they should be as they are: cut out of the bytes of one
//! direction, or made of what was recorded.

use super::Unreadable;
use crate::format::{Frame, Side};

const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// As recordings name them.
const OPCODES: [(u8, &str); 6] = [
    (CONTINUATION, "continuation"),
    (1, "text"),
    (BINARY, "binary"),
    (CLOSE, "close"),
    (PING, "ping"),
    (PONG, "pong"),
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
    pub(crate) opcode: u8,
    pub(crate) masked: bool,
    /// `None` if it was longer than what is kept.
    pub(crate) payload: Option<Vec<u8>>,
}

impl RawFrame {
    /// As a client sends it.
    pub(crate) fn client(opcode: u8, payload: Vec<u8>) -> Self {
        Self {
            fin: true,
            rsv: 0,
            opcode,
            masked: true,
            payload: Some(payload),
        }
    }

    /// As a client sent it when it was recorded.
    pub(crate) fn of(frame: &Frame) -> Self {
        let named = OPCODES.iter().find(|(_, name)| *name == frame.opcode);
        let opcode = frame.opcode_number.or(named.map(|(number, _)| *number));
        Self {
            fin: frame.fin.unwrap_or(true),
            rsv: frame.rsv.unwrap_or_default(),
            masked: frame.masked.unwrap_or(true),
            ..Self::client(
                opcode.unwrap_or_default(),
                frame.data.clone().unwrap_or_default(),
            )
        }
    }

    /// As it is recorded; what is as usual for this side is left out.
    pub(crate) fn recorded(self, by: Side) -> Result<Frame, Unreadable> {
        let named = OPCODES.iter().find(|(number, _)| *number == self.opcode);
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
        let payload = self.payload.as_deref().filter(|_| self.opcode == CLOSE)?;
        if payload.is_empty() {
            return Some((None, String::new()));
        }
        let (code, reason) = payload.split_first_chunk::<2>()?;
        let code = u16::from_be_bytes(*code);
        let reason = str::from_utf8(reason).ok()?.to_owned();
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some((Some(code), reason))
    }

    /// Its bytes, the length in as few of them as it fits in.
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut payload = self.payload.unwrap_or_default();
        let mask_bit = u8::from(self.masked) << 7;
        let mut frame = vec![u8::from(self.fin) << 7 | (self.rsv & 7) << 4 | (self.opcode & 15)];
        match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
            (Ok(length @ ..126), _) => frame.push(mask_bit | length),
            (_, Ok(length)) => {
                frame.push(mask_bit | 126);
                frame.extend(length.to_be_bytes());
            }
            (_, Err(_)) => {
                frame.push(mask_bit | 127);
                frame.extend((payload.len() as u64).to_be_bytes());
            }
        }
        if self.masked {
            frame.extend(MASK);
            apply(MASK, &mut payload);
        }
        frame.append(&mut payload);
        frame
    }
}

const TOO_LONG: Unreadable = Unreadable("a frame or message is too long");

fn apply(mask: [u8; 4], payload: &mut [u8]) {
    for (byte, mask) in payload.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

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
        if frame.opcode >= CLOSE {
            return Ok(Some(frame));
        }
        let is_last = frame.fin;
        let mut message = match (self.message.take(), frame.opcode) {
            (Some(mut message), CONTINUATION) => {
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
            (None, CONTINUATION) => return Err(Unreadable("a fragment of no message")),
            (Some(_), _) => return Err(Unreadable("a message within another")),
            (None, _) => frame,
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
    /// The header that has begun, or that of the payload that is read.
    header: Vec<u8>,
    /// How much of the payload is still to come, once the header is whole.
    rest: Option<u64>,
    payload: Vec<u8>,
    /// Bytes of a payload that are kept at most.
    most: usize,
    length: u64,
}

impl FrameReader {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            header: Vec::new(),
            rest: None,
            payload: Vec::new(),
            most,
            length: 0,
        }
    }

    /// Whether a frame has begun and not ended.
    pub(crate) fn is_inside(&self) -> bool {
        self.rest.is_some() || !self.header.is_empty()
    }

    /// The next frame; `None` when `input` is used up before its end.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Option<RawFrame> {
        let rest = match self.rest {
            Some(rest) => rest,
            None => {
                let length = self.read_header(input)?;
                self.length = length;
                length
            }
        };
        let now = usize::try_from(rest).map_or(input.len(), |rest| rest.min(input.len()));
        let (bytes, behind) = input.split_at(now);
        *input = behind;
        if self.length <= self.most as u64 {
            self.payload.extend_from_slice(bytes);
        }
        let rest = rest - now as u64;
        self.rest = Some(rest);
        (rest == 0).then(|| self.frame())
    }

    /// The frame that has begun, its rest filled up with zeros.
    pub(crate) fn filled_up(&mut self) -> Option<RawFrame> {
        self.rest?;
        let length = usize::try_from(self.length).ok()?;
        let mut frame = self.frame();
        if let Some(payload) = &mut frame.payload {
            payload.resize(length, 0);
        }
        Some(frame)
    }

    /// Collects the header; the payload's length when it is whole.
    fn read_header(&mut self, input: &mut &[u8]) -> Option<u64> {
        loop {
            if let [_, second, extended @ ..] = &self.header[..] {
                let masked = second & 0x80 != 0;
                let length_bytes = match second & 0x7f {
                    127 => 8,
                    126 => 2,
                    _ => 0,
                };
                if extended.len() == length_bytes + if masked { 4 } else { 0 } {
                    let length = extended.iter().take(length_bytes);
                    return Some(match length_bytes {
                        0 => u64::from(second & 0x7f),
                        _ => length.fold(0, |length, &byte| length << 8 | u64::from(byte)),
                    });
                }
            }
            let (&byte, rest) = input.split_first()?;
            self.header.push(byte);
            *input = rest;
        }
    }

    fn frame(&mut self) -> RawFrame {
        let header = std::mem::take(&mut self.header);
        let mut payload = std::mem::take(&mut self.payload);
        self.rest = None;
        let first = header.first().copied().unwrap_or_default();
        let masked = header.get(1).is_some_and(|second| second & 0x80 != 0);
        if masked && let Some(mask) = header.last_chunk::<4>() {
            apply(*mask, &mut payload);
        }
        RawFrame {
            fin: first & 0x80 != 0,
            rsv: first >> 4 & 7,
            opcode: first & 0x0f,
            masked,
            payload: (self.length <= self.most as u64).then_some(payload),
        }
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
            for (opcode, masked) in [(0, true), (2, false), (PING, true), (11, true)] {
                let frame = || RawFrame {
                    fin: opcode != 0,
                    rsv: 4,
                    masked,
                    ..RawFrame::client(opcode, vec![7; length])
                };
                assert_eq!(frames(&frame().encode(), 9), [frame()]);
                let again = frame().recorded(Side::Client);
                assert_eq!(again.map(|again| RawFrame::of(&again)), Ok(frame()));
            }
        }
        let long = RawFrame::client(BINARY, vec![0; 1 << 16]).encode();
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
        assert_eq!(joiner.add(part(false, 1, b"a")), Ok(None));
        let ping = joiner.add(part(true, PING, b""));
        assert_eq!(ping, Ok(Some(part(true, PING, b""))));
        assert_eq!(joiner.add(part(false, CONTINUATION, b"b")), Ok(None));
        let whole = joiner.add(part(true, CONTINUATION, b"c"));
        assert_eq!(whole, Ok(Some(part(true, 1, b"abc"))));

        assert!(joiner.add(part(true, CONTINUATION, b"")).is_err());
        assert_eq!(joiner.add(part(false, 1, b"abcd")), Ok(None));
        assert_eq!(joiner.add(part(true, CONTINUATION, b"efg")), Err(TOO_LONG));
        assert_eq!(joiner.add(part(false, 1, b"")), Ok(None));
        assert!(joiner.add(part(true, 1, b"")).is_err());
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
