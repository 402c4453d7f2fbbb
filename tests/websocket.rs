//! Websocket clients that do not behave: what waits for them is bounded, and what they send is checked.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use pullgate_compat::websocket::{
    CloseCode, Decoder, Event, Header, Opcode, Peer, apply_mask, encode_frame,
};
use socket2::SockRef;

use crate::binary::{field, public_receiver};
use crate::harness::{Server, get, read_head, send, wait_for};
use crate::push::{A, B, bodies, publish, signed, start, wait_until_online};

const MASK: [u8; 4] = [1, 2, 3, 4];
const MIB: usize = 1 << 20;

/// A client on raw frames.
struct Client {
    stream: TcpStream,
    decoder: Decoder,
    /// Read, and not yet decoded.
    rest: Vec<u8>,
}

impl Client {
    fn open(server: &Server, query: &str) -> Self {
        Self::over(TcpStream::connect(&server.site).unwrap(), query)
    }

    /// One that the kernel buffers little for.
    fn open_narrow(server: &Server, query: &str) -> Self {
        let stream = TcpStream::connect(&server.site).unwrap();
        SockRef::from(&stream)
            .set_recv_buffer_size(64 << 10)
            .unwrap();
        Self::over(stream, query)
    }

    fn over(mut stream: TcpStream, query: &str) -> Self {
        let within = Some(Duration::from_secs(60));
        stream.set_read_timeout(within).unwrap();
        stream.set_write_timeout(within).unwrap();
        let head = handshake(query, "HTTP/1.1", "");
        stream.write_all(head.as_bytes()).unwrap();
        let head = read_head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        Self::opened(stream)
    }

    fn opened(stream: TcpStream) -> Self {
        Self {
            stream,
            decoder: Decoder::new(Peer::Server, usize::MAX),
            rest: Vec::new(),
        }
    }

    fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut frame = Vec::new();
        encode_frame(opcode, Some(MASK), payload, &mut frame);
        self.stream.write_all(&frame).unwrap();
    }

    /// The next message or control frame, read `step` bytes at a time after a `pause`; `None` at the end.
    fn read(&mut self, step: usize, pause: Duration) -> Option<Event> {
        let mut buffer = vec![0; step];
        loop {
            let mut rest = self.rest.as_slice();
            let event = self.decoder.next(&mut rest).unwrap();
            self.rest = rest.to_vec();
            if event.is_some() {
                return event;
            }
            sleep(pause);
            match self.stream.read(&mut buffer).unwrap_or_default() {
                0 => return None,
                read => self.rest.extend(&buffer[..read]),
            }
        }
    }

    /// The code with which the server closes.
    fn closed(&mut self) -> Option<u16> {
        loop {
            if let Event::Close(frame) = self.read(1, Duration::ZERO)? {
                return frame.map(|frame| frame.code.into());
            }
        }
    }

    /// Writes `bytes` again and again, no more than `limit` bytes, and then a byte now and then; until the
    /// server has ended the connection.
    fn write_until_cut(&mut self, bytes: &[u8], limit: usize) {
        let mut written = 0;
        let began = Instant::now();
        while self.stream.write_all(bytes).is_ok() {
            written += bytes.len();
            if written > limit {
                let cut = || self.stream.write_all(&[0]).is_err();
                return wait_for(cut);
            }
            assert!(began.elapsed() < Duration::from_secs(60), "not cut");
        }
    }
}

fn handshake(query: &str, version: &str, more: &str) -> String {
    format!(
        "GET /bitrix/subws/?{query} {version}\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

fn query(server: &Server) -> String {
    format!("CHANNEL_ID={}", signed(server, A))
}

/// Memory that the server has, bytes.
fn resident(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() << 10
}

/// Most memory that the server takes more than now while `run` runs.
fn growth(server: &Server, run: impl FnOnce() + Send) -> usize {
    let before = resident(server);
    std::thread::scope(|scope| {
        let running = scope.spawn(run);
        let mut most = before;
        while !running.is_finished() {
            most = most.max(resident(server));
            sleep(Duration::from_millis(20));
        }
        running.join().unwrap();
        most - before
    })
}

fn is_online(server: &Server) -> bool {
    let target = format!("/bitrix/pub/?CHANNEL_ID={A}/{B}");
    get(&server.publish, &target, &[]).body.contains(A)
}

#[test]
fn pings_without_reading_are_bounded_and_end_the_connection() {
    let server = start("");
    let mut client = Client::open(&server, &query(&server));
    let mut pings = Vec::new();
    for _ in 0..500 {
        encode_frame(Opcode::Ping, Some(MASK), &[0; 125], &mut pings);
    }
    let growth = growth(&server, || client.write_until_cut(&pings, 200 * MIB));
    assert!(growth < 40 * MIB, "{growth}");
    wait_for(|| !is_online(&server));
}

#[test]
fn small_pings_count_with_what_is_kept_beside_them() {
    let server = start("");
    let mut client = Client::open(&server, &query(&server));
    let mut pings = Vec::new();
    for _ in 0..10_000 {
        encode_frame(Opcode::Ping, Some(MASK), b"", &mut pings);
    }
    let growth = growth(&server, || client.write_until_cut(&pings, 60 * MIB));
    assert!(growth < 40 * MIB, "{growth}");
}

#[test]
fn answers_without_reading_are_bounded_and_end_the_connection() {
    let server = start("");
    let pair = signed(&server, &format!("{A}:{B}"));
    let mut client = Client::open(&server, &format!("CHANNEL_ID={pair}&binaryMode=true"));
    // Is anybody there?
    let channel = field(1, &public_receiver(&server));
    let question = field(1, &field(2, &channel));
    let mut request = Vec::new();
    encode_frame(Opcode::Binary, Some(MASK), &question, &mut request);
    client.stream.write_all(&request).unwrap();
    assert!(matches!(
        client.read(4096, Duration::ZERO),
        Some(Event::Binary(_))
    ));
    let requests = request.repeat(1000);
    let growth = growth(&server, || client.write_until_cut(&requests, 40 * MIB));
    assert!(growth < 40 * MIB, "{growth}");
}

const LARGE: &str = "[push.limits]\nmax_payload = \"8MiB\"\nsubscriber_queue = \"16MiB\"\n";

/// A server whose clients may be silent for a moment only.
fn impatient() -> Server {
    let push = format!(
        "[push]\nsignature_key = \"{}\"\n{LARGE}",
        crate::harness::SIGNATURE_KEY
    );
    Server::start_with_push("send_timeout = \"3s\"\n", &push)
}

#[test]
fn a_slow_but_steady_reader_gets_a_large_frame() {
    let server = impatient();
    let mut client = Client::open_narrow(&server, &query(&server));
    wait_until_online(&server);
    let body = "x".repeat(6 * MIB);
    publish(&server, A, &body, 0);
    let began = Instant::now();
    let Some(Event::Text(frame)) = client.read(64 << 10, Duration::from_millis(60)) else {
        panic!("the frame did not come");
    };
    assert!(bodies(&String::from_utf8(frame).unwrap()) == [body]);
    assert!(began.elapsed() > Duration::from_secs(4), "not slow");
    // It is a client like any other afterwards.
    publish(&server, A, "next", 0);
    let Some(Event::Text(frame)) = client.read(4096, Duration::ZERO) else {
        panic!("nothing came");
    };
    assert_eq!(bodies(&String::from_utf8(frame).unwrap()), ["next"]);
}

#[test]
fn a_client_that_takes_nothing_is_let_go() {
    let server = impatient();
    let _client = Client::open_narrow(&server, &query(&server));
    wait_until_online(&server);
    publish(&server, A, &"x".repeat(6 * MIB), 0);
    wait_for(|| !is_online(&server));
}

#[test]
fn a_client_is_answered_while_it_reads_slowly() {
    let server = start(LARGE);
    let mut client = Client::open_narrow(&server, &query(&server));
    wait_until_online(&server);
    publish(&server, A, &"x".repeat(6 * MIB), 0);
    // The message is on its way.
    client.stream.peek(&mut [0]).unwrap();
    client.send(Opcode::Ping, b"meanwhile");
    let mut events = std::iter::from_fn(|| client.read(64 << 10, Duration::ZERO));
    assert!(matches!(events.next(), Some(Event::Text(_))));
    assert_eq!(events.next(), Some(Event::Pong(b"meanwhile".to_vec())));
}

#[test]
fn a_handshake_needs_http_1_1_and_no_body() {
    let server = start("");
    let query = query(&server);
    let status = |version: &str, more: &str| {
        let mut stream = TcpStream::connect(&server.site).unwrap();
        let head = handshake(&query, version, more);
        stream.write_all(head.as_bytes()).unwrap();
        let head = read_head(&mut stream);
        head.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    assert_eq!(status("HTTP/1.1", ""), "101");
    assert_eq!(status("HTTP/1.1", "Content-Length: 0\r\n"), "101");
    assert_eq!(status("HTTP/1.0", ""), "400");
    assert_eq!(status("HTTP/1.1", "Content-Length: 5\r\n"), "400");
    assert_eq!(status("HTTP/1.1", "Transfer-Encoding: chunked\r\n"), "400");
}

#[test]
fn what_is_sent_with_the_handshake_is_read() {
    let server = start("");
    let mut stream = TcpStream::connect(&server.site).unwrap();
    let mut bytes = handshake(&query(&server), "HTTP/1.1", "").into_bytes();
    encode_frame(Opcode::Ping, Some(MASK), b"early", &mut bytes);
    stream.write_all(&bytes).unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 101 "));
    let mut client = Client::opened(stream);
    assert_eq!(
        client.read(4096, Duration::ZERO),
        Some(Event::Pong(b"early".to_vec()))
    );
}

#[test]
fn a_close_is_answered_with_the_same() {
    let server = start("");
    let mut client = Client::open(&server, &query(&server));
    client.send(Opcode::Close, b"\x0f\xa0bye");
    let Some(Event::Close(Some(close))) = client.read(4096, Duration::ZERO) else {
        panic!("no close frame");
    };
    assert_eq!((u16::from(close.code), &*close.reason), (4000, "bye"));
    assert_eq!(client.read(1, Duration::ZERO), None);
}

#[test]
fn what_the_protocol_forbids_is_closed_with_its_code() {
    let server = start("");
    let query = query(&server);
    let code = |bytes: &[u8]| {
        let mut client = Client::open(&server, &query);
        client.stream.write_all(bytes).unwrap();
        client.closed()
    };
    let protocol = Some(u16::from(CloseCode::PROTOCOL));
    // Lengths that would fit into less.
    assert_eq!(code(b"\x82\xfe\x00\x05abcdhello"), protocol);
    assert_eq!(code(b"\x82\xff\0\0\0\0\0\0\x01\x00abcd"), protocol);
    // Beyond 2^63.
    assert_eq!(code(b"\x82\xff\x80\0\0\0\0\0\0\0abcd"), protocol);
    // Without a mask.
    assert_eq!(code(b"\x82\x00"), protocol);
    assert_eq!(code(b"\x81\x82\0\0\0\0\xc3\x28"), Some(1007));
}

#[test]
fn an_announced_frame_takes_no_memory() {
    let server = start("");
    let query = query(&server);
    let growth = growth(&server, || {
        for length in [2 * MIB as u64, 1 << 40, (1 << 63) - 1] {
            let mut client = Client::open(&server, &query);
            let mut header = Vec::new();
            Header {
                length,
                ..Header::new(Opcode::Binary, Some(MASK), 0)
            }
            .encode(&mut header);
            client.stream.write_all(&header).unwrap();
            assert_eq!(client.closed(), Some(1009), "{length}");
        }
    });
    assert!(growth < 40 * MIB, "{growth}");
}

#[test]
fn fragments_have_an_end() {
    let server = start("[push.limits]\nmax_payload = \"64KiB\"\n");
    let query = query(&server);
    for payload in [b"".as_slice(), b"x"] {
        let mut client = Client::open(&server, &query);
        let mut payload = payload.to_vec();
        apply_mask(MASK, 0, &mut payload);
        let fragment = |first: u8| {
            let length = 0x80 | u8::try_from(payload.len()).unwrap();
            [&[first, length], &MASK[..], &payload].concat()
        };
        client.stream.write_all(&fragment(1)).unwrap();
        let rest = fragment(0).repeat(64 << 10);
        // The server may have closed before it is all written.
        let _ = client.stream.write_all(&rest);
        assert_eq!(client.closed(), Some(1009));
    }
    // The server is none the worse for it.
    assert_eq!(
        send(&server.site, "GET", "/bitrix/sub/?CHANNEL_ID=x", &[], "").status,
        400
    );
}
