//! Frame headers as they are on the wire (RFC 6455 5.2), right or wrong: what a peer may send is for the
//! decoder to say.

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// More of the message that has begun.
    Continuation = 0,
    /// Begins a message of text.
    Text = 1,
    /// Begins a message of bytes.
    Binary = 2,
    /// The sender's last frame.
    Close = 8,
    /// Asks for a pong.
    Ping = 9,
    /// Answers a ping.
    Pong = 10,
}

impl Opcode {
    const ALL: [Self; 6] = [
        Self::Continuation,
        Self::Text,
        Self::Binary,
        Self::Close,
        Self::Ping,
        Self::Pong,
    ];

    /// By its number; the others are reserved.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|opcode| *opcode as u8 == number)
    }

    /// Whether it is about the connection, and no part of a message.
    #[must_use]
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// What stands before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whether the message ends here.
    pub fin: bool,
    /// The three reserved bits, 4 for the first.
    pub rsv: u8,
    /// The number of an [`Opcode`], or a reserved one; below 16.
    pub opcode: u8,
    /// Every frame of a client has one.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload.
    pub length: u64,
}

impl Header {
    /// Bytes of the longest one.
    pub const LONGEST: usize = 14;

    /// Of a whole message, or of a control frame.
    #[must_use]
    pub fn new(opcode: Opcode, mask: Option<[u8; 4]>, length: usize) -> Self {
        Self {
            fin: true,
            rsv: 0,
            opcode: opcode as u8,
            mask,
            length: u64::try_from(length).unwrap_or(u64::MAX),
        }
    }

    /// The header at the beginning of `bytes`, and how many of them it takes; `None` when it does not end
    /// among them. The number is greater than [`Header::encoded_len`] if the length was written too long.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&[first, second], rest) = bytes.split_first_chunk()?;
        let (length, rest) = match second & 0x7f {
            126 => {
                let (length, rest) = rest.split_first_chunk()?;
                (u16::from_be_bytes(*length).into(), rest)
            }
            127 => {
                let (length, rest) = rest.split_first_chunk()?;
                (u64::from_be_bytes(*length), rest)
            }
            short => (short.into(), rest),
        };
        let (mask, rest) = match second & 0x80 {
            0 => (None, rest),
            _ => {
                let (mask, rest) = rest.split_first_chunk()?;
                (Some(*mask), rest)
            }
        };
        let header = Self {
            fin: first & 0x80 != 0,
            rsv: first >> 4 & 7,
            opcode: first & 15,
            mask,
            length,
        };
        Some((header, bytes.len() - rest.len()))
    }

    /// Appends it, with the length in as few bytes as it fits in.
    pub fn encode(&self, into: &mut Vec<u8>) {
        let masked = u8::from(self.mask.is_some()) << 7;
        into.push(u8::from(self.fin) << 7 | (self.rsv & 7) << 4 | (self.opcode & 15));
        match (u8::try_from(self.length), u16::try_from(self.length)) {
            (Ok(length @ ..126), _) => into.push(masked | length),
            (_, Ok(length)) => {
                into.push(masked | 126);
                into.extend(length.to_be_bytes());
            }
            (_, Err(_)) => {
                into.push(masked | 127);
                into.extend(self.length.to_be_bytes());
            }
        }
        into.extend(self.mask.into_iter().flatten());
    }

    /// How many bytes [`Header::encode`] appends.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let length = match self.length {
            ..126 => 0,
            126..0x1_0000 => 2,
            0x1_0000.. => 8,
        };
        2 + length + self.mask.map_or(0, |mask| mask.len())
    }
}

/// Masks, or unmasks, what stands in a payload from byte `at` on.
pub fn apply_mask(mut mask: [u8; 4], at: usize, payload: &mut [u8]) {
    mask.rotate_left(at % 4);
    for four in payload.chunks_mut(4) {
        for (byte, mask) in four.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
}

/// Appends a whole message, or a control frame.
pub fn encode_frame(opcode: Opcode, mask: Option<[u8; 4]>, payload: &[u8], into: &mut Vec<u8>) {
    Header::new(opcode, mask, payload.len()).encode(into);
    let begin = into.len();
    into.extend_from_slice(payload);
    if let (Some(mask), Some(payload)) = (mask, into.get_mut(begin..)) {
        apply_mask(mask, 0, payload);
    }
}
