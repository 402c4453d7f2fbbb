//! One direction of an HTTP/1 connection, cut into heads and bodies while its bytes go by.

use super::Unreadable;

/// A head longer than this is no push server's.
const LONGEST_HEAD: usize = 64 * 1024;

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Empty,
    Length(u64),
    Chunked,
    UntilEnd,
}

/// What a direction consists of.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Start line and headers. The reader must be told with [`Messages::expect`] what follows.
    Head(Vec<u8>),
    /// The message has ended.
    End(Body),
}

/// A body without its chunked coding.
#[derive(Debug, Default)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    /// Bytes that went by, kept or not.
    pub(crate) length: u64,
    /// How many are kept.
    most: usize,
}

impl Body {
    /// The body, unless it was longer than what is kept.
    pub(crate) fn whole(self) -> Option<Vec<u8>> {
        (self.bytes.len() as u64 == self.length).then_some(self.bytes)
    }

    fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        if self.length <= self.most as u64 {
            self.bytes.extend_from_slice(bytes);
        } else {
            self.bytes = Vec::new();
        }
    }
}

/// The reader of one direction.
#[derive(Debug)]
pub(crate) struct Messages {
    state: State,
    /// The line or head that has begun.
    line: Vec<u8>,
    head: Vec<u8>,
    body: Body,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Head,
    /// That many bytes of the body are to come.
    Rest(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailer,
    UntilEnd,
}

impl Messages {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Head,
            line: Vec::new(),
            head: Vec::new(),
            body: Body::default(),
        }
    }

    /// Says what follows the head that was just read; of its body `most` bytes are kept.
    pub(crate) fn expect(&mut self, framing: Framing, most: usize) {
        self.state = match framing {
            Framing::Empty => State::Rest(0),
            Framing::Length(length) => State::Rest(length),
            Framing::Chunked => State::ChunkSize,
            Framing::UntilEnd => State::UntilEnd,
        };
        self.body = Body {
            most,
            ..Body::default()
        };
    }

    /// Says that another head follows, as after an interim response.
    pub(crate) fn expect_head(&mut self) {
        self.state = State::Head;
    }

    /// Whether a message has begun and not ended.
    pub(crate) fn is_inside(&self) -> bool {
        !matches!(self.state, State::Head) || !self.head.is_empty() || !self.line.is_empty()
    }

    /// Reads from `input` up to the end of the next piece; `None` when `input` is used up before.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Piece>, Unreadable> {
        loop {
            match self.state {
                State::Head => {
                    if !self.read_line(input)? {
                        return Ok(None);
                    }
                    let blank = is_blank(&self.line);
                    // Blank lines before a message do not count (RFC 9112 2.2).
                    if !blank || !self.head.is_empty() {
                        self.head.append(&mut self.line);
                    }
                    self.line.clear();
                    if blank && !self.head.is_empty() {
                        return Ok(Some(Piece::Head(std::mem::take(&mut self.head))));
                    }
                }
                State::Rest(0) => return Ok(Some(self.end())),
                State::Rest(rest) => match self.read_body(input, rest) {
                    0 => return Ok(None),
                    read => self.state = State::Rest(rest - read),
                },
                State::ChunkSize => {
                    if !self.read_line(input)? {
                        return Ok(None);
                    }
                    self.state = match chunk_size(&self.line)? {
                        0 => State::Trailer,
                        size => State::Chunk(size),
                    };
                    self.line.clear();
                }
                State::Chunk(0) => self.state = State::ChunkEnd,
                State::Chunk(rest) => match self.read_body(input, rest) {
                    0 => return Ok(None),
                    read => self.state = State::Chunk(rest - read),
                },
                State::ChunkEnd => {
                    if !self.read_line(input)? {
                        return Ok(None);
                    }
                    if !is_blank(&self.line) {
                        return Err(Unreadable("a chunk is longer than its size"));
                    }
                    self.line.clear();
                    self.state = State::ChunkSize;
                }
                State::Trailer => {
                    if !self.read_line(input)? {
                        return Ok(None);
                    }
                    let last = is_blank(&self.line);
                    self.line.clear();
                    if last {
                        return Ok(Some(self.end()));
                    }
                }
                State::UntilEnd => {
                    self.read_body(input, u64::MAX);
                    return Ok(None);
                }
            }
        }
    }

    /// The connection has ended: the body that it ends, if there is one.
    pub(crate) fn finish(&mut self) -> Option<Body> {
        match self.state {
            State::UntilEnd => {
                self.state = State::Head;
                Some(std::mem::take(&mut self.body))
            }
            State::Head
            | State::Rest(_)
            | State::ChunkSize
            | State::Chunk(_)
            | State::ChunkEnd
            | State::Trailer => None,
        }
    }

    fn end(&mut self) -> Piece {
        self.state = State::Head;
        Piece::End(std::mem::take(&mut self.body))
    }

    /// Takes at most `most` bytes of the body and says how many there were.
    fn read_body(&mut self, input: &mut &[u8], most: u64) -> u64 {
        let length = usize::try_from(most).map_or(input.len(), |most| most.min(input.len()));
        let (bytes, rest) = input.split_at(length);
        self.body.add(bytes);
        *input = rest;
        length as u64
    }

    /// Takes up to a line's end; whether it was reached.
    fn read_line(&mut self, input: &mut &[u8]) -> Result<bool, Unreadable> {
        let end = input.iter().position(|&byte| byte == b'\n');
        let (bytes, rest) = input.split_at(end.map_or(input.len(), |at| at + 1));
        if self.head.len() + self.line.len() + bytes.len() > LONGEST_HEAD {
            return Err(Unreadable("a head or line is too long"));
        }
        self.line.extend_from_slice(bytes);
        *input = rest;
        Ok(end.is_some())
    }
}

fn is_blank(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"\r\n")
}

/// `1a;extension` and the line's end.
fn chunk_size(line: &[u8]) -> Result<u64, Unreadable> {
    let size = line.split(|&byte| byte == b';').next().unwrap_or_default();
    let size = str::from_utf8(size).map(str::trim);
    size.ok()
        .filter(|size| !size.starts_with('+'))
        .and_then(|size| u64::from_str_radix(size, 16).ok())
        .ok_or(Unreadable("a chunk without a size"))
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is a failed test"
)]
mod tests {
    use super::*;

    /// Reads `input` in pieces of `step` bytes, each message with this framing.
    fn bodies(input: &[u8], step: usize, framing: Framing) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let mut messages = Messages::new();
        let (mut found, mut head) = (Vec::new(), Vec::new());
        for mut part in input.chunks(step) {
            while let Some(piece) = messages.next(&mut part).unwrap() {
                match piece {
                    Piece::Head(bytes) => {
                        head = bytes;
                        messages.expect(framing, 8);
                    }
                    Piece::End(body) => found.push((std::mem::take(&mut head), body.whole())),
                }
            }
        }
        if let Some(body) = messages.finish() {
            found.push((head, body.whole()));
        }
        found
    }

    #[test]
    fn messages_are_cut_wherever_the_bytes_are() {
        for step in 1..60 {
            let input = b"A\r\nb: c\r\n\r\nhello\r\nB\n\nworld";
            let expected = [
                (b"A\r\nb: c\r\n\r\n".to_vec(), Some(b"hello".to_vec())),
                (b"B\n\n".to_vec(), Some(b"world".to_vec())),
            ];
            assert_eq!(bodies(input, step, Framing::Length(5)), expected, "{step}");
            let input =
                b"A\r\n\r\n3;x=\"\"\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: 1\r\n\r\nB\r\n\r\n0\r\n\r\n";
            let expected = [
                (b"A\r\n\r\n".to_vec(), Some(b"hello".to_vec())),
                (b"B\r\n\r\n".to_vec(), Some(Vec::new())),
            ];
            assert_eq!(bodies(input, step, Framing::Chunked), expected, "{step}");
            let expected = [(b"A\n\n".to_vec(), Some(b"hello".to_vec()))];
            assert_eq!(
                bodies(b"A\n\nhello", step, Framing::UntilEnd),
                expected,
                "{step}"
            );
        }
        assert_eq!(bodies(b"A\n\nB\n\n", 99, Framing::Empty).len(), 2);
    }

    #[test]
    fn long_bodies_are_counted_and_not_kept() {
        let found = bodies(b"A\n\n123456789", 4, Framing::UntilEnd);
        assert_eq!(found, [(b"A\n\n".to_vec(), None)]);
    }

    #[test]
    fn what_is_no_http_is_told() {
        let mut messages = Messages::new();
        let long = vec![b'x'; LONGEST_HEAD + 1];
        assert!(messages.next(&mut &long[..]).is_err());
        for chunk in [
            "x\r\n",
            "\r\n",
            "+1\r\n",
            "1\r\nab\r\n",
            "ffffffffffffffffff\r\n",
        ] {
            let mut messages = Messages::new();
            messages.expect(Framing::Chunked, 8);
            assert!(messages.next(&mut chunk.as_bytes()).is_err(), "{chunk}");
        }
    }
}
