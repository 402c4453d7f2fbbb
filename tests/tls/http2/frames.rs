//! A client of HTTP/2 on raw frames (RFC 9113 4), so that it can do what no client should.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Read, Write};
use std::time::Duration;

use crate::harness::Server;
use crate::tls::client::{TlsStream, handshake};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Data = 0,
    Headers = 1,
    Reset = 3,
    Settings = 4,
    Ping = 6,
    GoAway = 7,
    WindowUpdate = 8,
    Continuation = 9,
}

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(super) const ACK: u8 = 1;

#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct Response {
    pub(super) status: &'static str,
    pub(super) data: Vec<u8>,
}

impl Response {
    pub(super) fn body(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }
}

pub(super) struct Client {
    stream: TlsStream,
    /// Came while something else was waited for.
    kept: VecDeque<Frame>,
    settings: Vec<(u16, u32)>,
    /// What we may still send of all bodies together.
    window: i64,
}

impl Client {
    /// Before the preface.
    pub(super) fn connect(server: &Server) -> TlsStream {
        let (stream, _) = handshake(&server.site, "site.test", rustls::ALL_VERSIONS, &["h2"]);
        assert_eq!(stream.conn.alpn_protocol(), Some(b"h2".as_slice()));
        stream
    }

    pub(super) fn open(server: &Server) -> Self {
        let mut client = Self {
            stream: Self::connect(server),
            kept: VecDeque::new(),
            settings: Vec::new(),
            window: 65_535,
        };
        let within = Some(Duration::from_secs(60));
        client.stream.sock.set_write_timeout(within).unwrap();
        client
            .stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .unwrap();
        client.frame(Kind::Settings, 0, 0, &[]);
        client
    }

    pub(super) fn frame(&mut self, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
        self.try_frame(kind, flags, stream, payload).unwrap();
    }

    /// Fails where the server has gone.
    pub(super) fn try_frame(
        &mut self,
        kind: Kind,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> std::io::Result<()> {
        self.try_send(&frame(kind, flags, stream, payload))
    }

    /// The same for whole frames.
    pub(super) fn try_send(&mut self, frames: &[u8]) -> std::io::Result<()> {
        let written = self.stream.write_all(frames);
        let waited =
            |error: &Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        assert!(
            !written.as_ref().is_err_and(waited),
            "the server neither reads nor goes"
        );
        written
    }

    /// A head of literal fields without names of the table (RFC 7541 6.2.2).
    pub(super) fn headers(&mut self, stream: u32, fields: &[(&str, &str)], ends: bool) {
        let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
        self.frame(Kind::Headers, flags, stream, &block(fields));
    }

    pub(super) fn get(&mut self, stream: u32, path: &str, more: &[(&str, &str)]) {
        let mut fields = vec![
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "site.test"),
            (":path", path),
        ];
        fields.extend(more);
        self.headers(stream, &fields, true);
    }

    pub(super) fn request(&mut self, stream: u32, more: &[(&str, &str)]) {
        self.get(stream, "/page?x", more);
    }

    pub(super) fn open_connection_window(&mut self, by: u32) {
        self.frame(Kind::WindowUpdate, 0, 0, &by.to_be_bytes());
    }

    /// With a body, as the windows let it go.
    pub(super) fn post(&mut self, stream: u32, path: &str, body: &[u8]) {
        let fields = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "site.test"),
            (":path", path),
        ];
        self.headers(stream, &fields, false);
        self.read_settings();
        let initial = self.settings.iter().find(|(key, _)| *key == 4);
        let mut window = initial.map_or(65_535, |(_, value)| i64::from(*value));
        let mut sent = 0;
        while sent < body.len() {
            let room = usize::try_from(window.min(self.window).max(0)).unwrap();
            let piece = room.min(16_384).min(body.len() - sent);
            if piece == 0 {
                let frame = self.next().expect("a window opens");
                if frame.kind == Kind::WindowUpdate as u8 && frame.stream == stream {
                    window += i64::from(u32::from_be_bytes(frame.payload[..].try_into().unwrap()));
                } else {
                    self.kept.push_back(frame);
                }
                continue;
            }
            self.frame(Kind::Data, 0, stream, &body[sent..sent + piece]);
            sent += piece;
            window -= i64::try_from(piece).unwrap();
            self.window -= i64::try_from(piece).unwrap();
        }
        self.frame(Kind::Data, END_STREAM, stream, &[]);
    }

    fn read_settings(&mut self) {
        while self.settings.is_empty() {
            let frame = self.next().expect("settings");
            self.kept.push_back(frame);
        }
    }

    pub(super) fn settings(&self) -> &[(u16, u32)] {
        &self.settings
    }

    /// The next frame, or `None` at the end. Settings and pings are answered, and windows of the connection counted.
    pub(super) fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).ok()?;
        let frame = Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload,
        };
        if frame.kind == Kind::Settings as u8 && frame.flags & ACK == 0 {
            let pair = |pair: &[u8]| {
                let key = u16::from_be_bytes([pair[0], pair[1]]);
                (
                    key,
                    u32::from_be_bytes([pair[2], pair[3], pair[4], pair[5]]),
                )
            };
            self.settings = frame.payload.chunks(6).map(pair).collect();
            let _ = self.try_frame(Kind::Settings, ACK, 0, &[]);
        }
        if frame.kind == Kind::Ping as u8 && frame.flags & ACK == 0 {
            let _ = self.try_frame(Kind::Ping, ACK, 0, &frame.payload);
        }
        if frame.kind == Kind::WindowUpdate as u8 && frame.stream == 0 {
            self.window += i64::from(u32::from_be_bytes(frame.payload[..].try_into().unwrap()));
        }
        Some(frame)
    }

    /// The next for which this holds; what comes before it is kept.
    fn find(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        if let Some(at) = self.kept.iter().position(&wanted) {
            return self.kept.remove(at);
        }
        loop {
            let frame = self.next()?;
            if wanted(&frame) {
                return Some(frame);
            }
            self.kept.push_back(frame);
        }
    }

    /// Waits for the whole of it, opening windows as it comes.
    pub(super) fn response(&mut self, stream: u32) -> Response {
        let mut response = Response::default();
        loop {
            let frame =
                self.find(|frame| frame.stream == stream && frame.kind != Kind::WindowUpdate as u8);
            let frame = frame.expect("a response");
            assert_ne!(
                frame.kind,
                Kind::Reset as u8,
                "{frame:?} behind {response:?}"
            );
            if frame.kind == Kind::Headers as u8 && response.status.is_empty() {
                response.status = status(&frame.payload);
            }
            if frame.kind == Kind::Data as u8 {
                response.data.extend(&frame.payload);
                let taken = u32::try_from(frame.payload.len()).unwrap();
                if taken > 0 {
                    self.open_connection_window(taken);
                    if frame.flags & END_STREAM == 0 {
                        self.frame(Kind::WindowUpdate, 0, stream, &taken.to_be_bytes());
                    }
                }
            }
            if frame.flags & END_STREAM != 0 {
                return response;
            }
        }
    }

    pub(super) fn was_reset(&mut self, stream: u32) -> bool {
        self.find(|frame| frame.stream == stream && frame.kind == Kind::Reset as u8)
            .is_some()
    }

    /// By a reset, or as too large.
    pub(super) fn refused(&mut self, stream: u32) -> bool {
        let about =
            |frame: &Frame| frame.stream == stream && frame.kind != Kind::WindowUpdate as u8;
        let frame = self.find(|frame| about(frame) || frame.kind == Kind::GoAway as u8);
        frame.is_some_and(|frame| {
            frame.kind != Kind::Headers as u8 || status(&frame.payload) == "431"
        })
    }

    pub(super) fn was_sent_away(&mut self) -> bool {
        self.find(|frame| frame.kind == Kind::GoAway as u8)
            .is_some()
    }

    /// Why the server ended the connection, if it gave a reason other than being done.
    pub(super) fn end(&mut self) -> Option<u32> {
        let mut reason = None;
        while let Some(frame) = self.next() {
            if frame.kind == Kind::GoAway as u8 {
                reason = Some(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()));
            }
        }
        reason.filter(|reason| *reason != 0)
    }
}

/// A frame as it is sent.
pub(crate) fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind as u8, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Literal fields, never indexed, without Huffman.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0x10);
        for text in [name, value] {
            length(text.len(), &mut block);
            block.extend(text.as_bytes());
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541 5.1).
fn length(mut value: usize, into: &mut Vec<u8>) {
    if value < 127 {
        return into.push(u8::try_from(value).unwrap());
    }
    into.push(127);
    value -= 127;
    while value >= 128 {
        into.push(u8::try_from(value % 128).unwrap() | 128);
        value /= 128;
    }
    into.push(u8::try_from(value).unwrap());
}

/// The status, which comes first: one of the static table, or three digits, perhaps in Huffman's code.
fn status(block: &[u8]) -> &'static str {
    // An update of the table's size may stand before it.
    let block = match block {
        [first, rest @ ..] if first & 0xe0 == 0x20 => rest,
        block => block,
    };
    let digits = match block[0] {
        0x88 => return "200",
        0x89 => return "204",
        0x8a => return "206",
        0x8b => return "304",
        0x8c => return "400",
        0x8d => return "404",
        0x8e => return "500",
        // A literal with the name of entry 8.
        0x48 | 0x08 | 0x18 => &block[2..2 + usize::from(block[1] & 0x7f)],
        other => panic!("no status: {other:x}"),
    };
    let digits = match block[1] & 0x80 != 0 {
        true => huffman(digits),
        false => String::from_utf8(digits.to_vec()).unwrap(),
    };
    let known = ["301", "308", "405", "408", "413", "421", "431", "502"];
    let found = known.into_iter().find(|known| **known == digits);
    found.unwrap_or_else(|| panic!("{digits}"))
}

/// Digits of Huffman's code: 0, 1 and 2 have five bits, the others six (RFC 7541, appendix B).
fn huffman(code: &[u8]) -> String {
    let bits: Vec<u8> = code
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1))
        .collect();
    let mut digits = String::new();
    let mut at = 0;
    while digits.len() < 3 {
        let number = |bits: &[u8]| bits.iter().fold(0u8, |sum, bit| sum << 1 | bit);
        let five = number(&bits[at..at + 5]);
        if five < 3 {
            digits.push(char::from(b'0' + five));
            at += 5;
        } else {
            // 3 is 011001, 9 is 011111.
            digits.push(char::from(b'3' + number(&bits[at..at + 6]) - 0b01_1001));
            at += 6;
        }
    }
    digits
}
