//! Frames of websockets: it does not matter how they are cut, tungstenite reads the same, and what is written
//! is read.

use std::io::{self, Read, Write};

use pullgate_compat::websocket::{
    CloseCode, CloseFrame, Decoder, Event, Opcode, Peer, Violation, encode_close, encode_frame,
};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

/// More than any input has.
const MAX_MESSAGE: usize = 1 << 16;

/// What was read, and how it ended if before the end.
type Had<E> = (Vec<Event>, Option<E>);

/// `data` says how it is cut, and is what a client or a server sends, and a payload.
pub fn websocket(data: &[u8]) {
    let (&cut, wire) = data.split_first().unwrap_or((&0, &[]));
    for peer in [Peer::Client, Peer::Server] {
        let whole = read(peer, wire, MAX_MESSAGE);
        assert_eq!(read(peer, wire, usize::from(cut) + 1), whole);
        as_tungstenite(&whole, &read_by_tungstenite(peer, wire));
        for opcode in [Opcode::Text, Opcode::Binary, Opcode::Ping, Opcode::Close] {
            comes_back(peer, opcode, wire);
        }
    }
}

fn read(peer: Peer, wire: &[u8], step: usize) -> Had<Violation> {
    let mut decoder = Decoder::new(peer, MAX_MESSAGE);
    let mut events = Vec::new();
    for mut part in wire.chunks(step) {
        loop {
            match decoder.next(&mut part) {
                Ok(None) => break,
                Ok(Some(event)) => {
                    let is_last = matches!(event, Event::Close(_));
                    events.push(event);
                    if is_last {
                        return (events, None);
                    }
                }
                Err(violation) => return (events, Some(violation)),
            }
        }
    }
    (events, None)
}

/// Reads to the end, writes to nowhere.
struct Wire<'a>(&'a [u8]);

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn read_by_tungstenite(peer: Peer, wire: &[u8]) -> Had<Error> {
    let role = match peer {
        Peer::Client => Role::Server,
        Peer::Server => Role::Client,
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let mut socket = WebSocket::from_raw_socket(Wire(wire), role, Some(config));
    let mut events = Vec::new();
    loop {
        events.push(match socket.read() {
            Ok(Message::Text(text)) => Event::Text(text.as_bytes().to_vec()),
            Ok(Message::Binary(data)) => Event::Binary(data.into()),
            Ok(Message::Ping(data)) => Event::Ping(data.into()),
            Ok(Message::Pong(data)) => Event::Pong(data.into()),
            Ok(Message::Close(frame)) => {
                let frame = frame.map(|frame| CloseFrame {
                    code: CloseCode::new(frame.code.into()).expect("tungstenite checks it"),
                    reason: frame.reason.as_str().to_owned(),
                });
                events.push(Event::Close(frame));
                return (events, None);
            }
            Ok(Message::Frame(frame)) => panic!("a frame alone: {frame}"),
            Err(Error::Io(_)) => return (events, None),
            Err(error) => return (events, Some(error)),
        });
    }
}

fn as_tungstenite((ours, violation): &Had<Violation>, (theirs, error): &Had<Error>) {
    assert!(
        error.is_none() || violation.is_some(),
        "{error:?} after {theirs:?}, but {ours:?}"
    );
    // It takes lengths in any form.
    if *violation == Some(Violation::Length) {
        assert!(theirs.starts_with(ours), "{theirs:?}, but {ours:?}");
        return;
    }
    let but_close = |events: &[Event]| {
        let events = events.iter().cloned();
        let messages = events.filter(|event| !matches!(event, Event::Close(_)));
        messages.collect::<Vec<_>>()
    };
    assert_eq!(
        but_close(ours),
        but_close(theirs),
        "{violation:?}, {error:?}"
    );
    // It answers bad codes itself, 1014 among them.
    if let Some(Event::Close(close)) = ours.last()
        && close
            .as_ref()
            .is_none_or(|close| u16::from(close.code) != 1014)
    {
        assert_eq!(ours.last(), theirs.last());
    }
}

/// A payload of any bytes, as far as it may be one.
fn comes_back(peer: Peer, opcode: Opcode, payload: &[u8]) {
    let text = String::from_utf8_lossy(payload);
    let (payload, event) = match opcode {
        Opcode::Text => (
            text.as_bytes().to_vec(),
            Event::Text(text.as_bytes().to_vec()),
        ),
        Opcode::Close => {
            let reason: String = text.chars().take(30).collect();
            let code = CloseCode::POLICY;
            let frame = CloseFrame { code, reason };
            (encode_close(Some(&frame)), Event::Close(Some(frame)))
        }
        Opcode::Ping => {
            let payload = payload.get(..payload.len().min(125)).unwrap_or_default();
            (payload.to_vec(), Event::Ping(payload.to_vec()))
        }
        Opcode::Continuation | Opcode::Binary | Opcode::Pong => {
            (payload.to_vec(), Event::Binary(payload.to_vec()))
        }
    };
    let mask = (peer == Peer::Client).then_some([0x0f, 0, 0xff, 0x5a]);
    let mut wire = Vec::new();
    encode_frame(opcode, mask, &payload, &mut wire);
    assert_eq!(read(peer, &wire, 1), (vec![event.clone()], None));
    assert_eq!(read_by_tungstenite(peer, &wire).0, [event]);
}
