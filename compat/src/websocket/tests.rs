use super::*;

const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

/// A client's frame.
fn frame(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(opcode, Some(MASK), payload, &mut frame);
    if let (false, Some(first)) = (fin, frame.first_mut()) {
        *first &= 0x7f;
    }
    frame
}

fn decode(input: &[u8], step: usize, max: usize) -> (Vec<Event>, Option<Violation>) {
    let mut decoder = Decoder::new(Peer::Client, max);
    let mut events = Vec::new();
    for mut part in input.chunks(step) {
        loop {
            match decoder.next(&mut part) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(violation) => return (events, Some(violation)),
            }
        }
    }
    (events, None)
}

fn violation(input: &[u8]) -> Option<Violation> {
    let found = decode(input, input.len().max(1), 1000).1;
    assert_eq!(decode(input, 1, 1000).1, found);
    found
}

#[test]
fn messages_come_wherever_the_bytes_are_cut() {
    let input = [
        frame(false, Opcode::Text, "gr\u{fc}".as_bytes()),
        frame(true, Opcode::Ping, b"are you there?"),
        frame(false, Opcode::Continuation, b""),
        frame(true, Opcode::Continuation, "\u{df}e".as_bytes()),
        frame(true, Opcode::Binary, &[7; 300]),
        frame(true, Opcode::Pong, b""),
        frame(true, Opcode::Text, b""),
        frame(true, Opcode::Close, b"\x03\xe8bye"),
    ]
    .concat();
    let close = CloseFrame {
        code: CloseCode::NORMAL,
        reason: "bye".into(),
    };
    let expected = vec![
        Event::Ping(b"are you there?".to_vec()),
        Event::Text("gr\u{fc}\u{df}e".into()),
        Event::Binary(vec![7; 300]),
        Event::Pong(Vec::new()),
        Event::Text(Vec::new()),
        Event::Close(Some(close)),
    ];
    for step in 1..40 {
        assert_eq!(decode(&input, step, 300), (expected.clone(), None));
    }
}

#[test]
fn what_the_protocol_forbids_is_a_violation() {
    let cases: [(&[u8], Violation); 15] = [
        (b"\xc1\x80abcd", Violation::ReservedBits),
        (b"\x83\x80abcd", Violation::Opcode),
        (b"\x8b\x80abcd", Violation::Opcode),
        (b"\x81\x00", Violation::Mask),
        (b"\x82\xfe\x00\x7dabcd", Violation::Length),
        (b"\x89\xfe\x00\x05abcd", Violation::Length),
        (b"\x82\xff\0\0\0\0\0\0\xff\xffabcd", Violation::Length),
        (b"\x82\xff\x80\0\0\0\0\0\0\0abcd", Violation::Length),
        (b"\x09\x80abcd", Violation::Control),
        (b"\x89\xfe\x00\x7eabcd", Violation::Control),
        (b"\x80\x80abcd", Violation::Fragments),
        (b"\x01\x80abcd\x82\x80abcd", Violation::Fragments),
        (b"\x88\x81\0\0\0\0\x03", Violation::Close),
        (b"\x88\x82\0\0\0\0\x03\xed", Violation::Close),
        (b"\x88\x83\0\0\0\0\x03\xe8\xff", Violation::NotUtf8),
    ];
    for (input, expected) in cases {
        assert_eq!(violation(input), Some(expected), "{input:?}");
    }
}

#[test]
fn a_text_is_judged_as_it_comes() {
    let long = |text: &[u8]| [b"\x01\xfe\x01\x00\0\0\0\0".as_slice(), text].concat();
    assert_eq!(violation(&long(b"\xce")), None);
    assert_eq!(violation(&long(b"\xce\xba\xf4")), None);
    assert_eq!(violation(&long(b"\xf4\x90")), Some(Violation::NotUtf8));
    assert_eq!(violation(&long(b"\xed\xa0")), Some(Violation::NotUtf8));
    let unfinished = frame(true, Opcode::Text, b"\xce");
    assert_eq!(violation(&unfinished), Some(Violation::NotUtf8));
    assert_eq!(violation(&frame(true, Opcode::Binary, b"\xff")), None);
}

#[test]
fn a_message_is_bounded_before_it_is_kept() {
    let announced = |length: u64| {
        let mut header = Vec::new();
        Header {
            length,
            ..Header::new(Opcode::Binary, Some(MASK), 0)
        }
        .encode(&mut header);
        header
    };
    assert_eq!(violation(&announced(1000)), None);
    assert_eq!(violation(&announced(1001)), Some(Violation::TooBig));
    assert_eq!(violation(&announced(u64::MAX / 2)), Some(Violation::TooBig));

    let half = frame(false, Opcode::Binary, &[0; 600]);
    let rest = |length| frame(true, Opcode::Continuation, &vec![0; length]);
    assert_eq!(violation(&[half.clone(), rest(400)].concat()), None);
    let too_much = [half, rest(401)].concat();
    assert_eq!(violation(&too_much), Some(Violation::TooBig));

    let mut empty = frame(false, Opcode::Text, b"");
    for _ in 0..1000 {
        empty.extend(frame(false, Opcode::Continuation, b""));
    }
    assert_eq!(violation(&empty), Some(Violation::TooBig));
}

#[test]
fn a_client_reads_what_a_server_writes() {
    let mut decoder = Decoder::new(Peer::Server, 100);
    let mut written = Vec::new();
    encode_frame(Opcode::Text, None, b"hello", &mut written);
    let read = decoder.next(&mut written.as_slice());
    assert_eq!(read, Ok(Some(Event::Text(b"hello".to_vec()))));
    let masked = frame(true, Opcode::Text, b"hello");
    assert_eq!(decoder.next(&mut masked.as_slice()), Err(Violation::Mask));
}

#[test]
fn close_codes() {
    for code in [1000, 1001, 1002, 1003, 1007, 1011, 1013, 3000, 4010, 4999] {
        assert_eq!(CloseCode::new(code).map(u16::from), Some(code));
    }
    for code in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535,
    ] {
        assert_eq!(CloseCode::new(code), None, "{code}");
    }
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    let close = encode_close(Some(&CloseFrame {
        code: CloseCode::POLICY,
        reason: format!("{}\u{fc}", "x".repeat(122)),
    }));
    assert_eq!(close.len(), 124);
    assert!(encode_close(None).is_empty());
}

#[test]
fn the_key_of_the_specification() {
    assert_eq!(
        accept_key("dGhlIHNhbXBsZSBub25jZQ=="),
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
}
