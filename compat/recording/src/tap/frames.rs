//! One direction of a websocket, cut into frames while its bytes go by (RFC 6455 5.2).

/// A frame as it went by, its payload without the mask.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RawFrame {
    pub(super) fin: bool,
    /// The three reserved bits, 4 for the first.
    pub(super) rsv: u8,
    pub(super) opcode: u8,
    pub(super) masked: bool,
    /// `None` if it was longer than what is kept.
    pub(super) payload: Option<Vec<u8>>,
}

/// The reader of one direction.
#[derive(Debug)]
pub(super) struct FrameReader {
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
    pub(super) fn new(most: usize) -> Self {
        Self {
            header: Vec::new(),
            rest: None,
            payload: Vec::new(),
            most,
            length: 0,
        }
    }

    /// Whether a frame has begun and not ended.
    pub(super) fn is_inside(&self) -> bool {
        self.rest.is_some() || !self.header.is_empty()
    }

    /// The next frame; `None` when `input` is used up before its end.
    pub(super) fn next(&mut self, input: &mut &[u8]) -> Option<RawFrame> {
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
    pub(super) fn filled_up(&mut self) -> Option<RawFrame> {
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
            for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
                *byte ^= mask;
            }
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
