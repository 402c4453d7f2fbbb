//! What protobufjs 6 lets pass, and what it does not (recording `publish_binary_lenient`).

use super::*;

/// A request to publish one message of these fields.
fn publish(message: &[u8]) -> Vec<u8> {
    field(1, &field(1, &field(1, message)))
}

/// The one message of a request.
fn published(data: &[u8]) -> Incoming<'_> {
    let Ok(Request::Publish(messages)) = decode_request(data) else {
        panic!("{data:?}");
    };
    assert_eq!(messages.len(), 1);
    messages[0].clone()
}

fn refused(data: &[u8]) -> bool {
    decode_request(data) == Err(Status::WrongRequestData)
}

#[test]
fn absent_fields_are_empty() {
    assert_eq!(published(&publish(b"")), Incoming::default());
}

#[test]
fn all_fields_are_read() {
    let receiver = [field(1, &ID), hex("1001"), field(3, b"sig")].concat();
    let data = [
        field(1, &receiver),
        field(2, &hex("0801")),
        field(3, b"body"),
        hex("203c"),
        field(5, b"type"),
    ];
    let data = publish(&data.concat());
    let address = Address {
        id: &ID,
        is_private: true,
        signature: b"sig",
    };
    let expected = Incoming {
        receivers: vec![address],
        body: b"body",
        expiry: 60,
        label: b"type",
    };
    assert_eq!(published(&data), expected);
}

#[test]
fn bodies_need_not_be_utf8() {
    assert_eq!(published(&publish(&hex("1a03 61fffe"))).body, b"a\xff\xfe");
}

#[test]
fn the_last_of_a_field_counts() {
    let data = publish(&hex("1a0131 203c 1a0132 2000"));
    assert_eq!(
        published(&data),
        Incoming {
            body: b"2",
            ..Incoming::default()
        }
    );
}

#[test]
fn the_last_command_of_the_first_request_counts() {
    let [publish, stats, server] = ["0a00", "1200", "1a00"].map(hex);
    let request = |commands: &[&[u8]]| field(1, &commands.concat());
    let two = request(&[&publish, &stats]);
    assert_eq!(decode_request(&two), Ok(Request::ChannelStats(Vec::new())));
    let three = request(&[&server, &stats, &publish]);
    assert_eq!(decode_request(&three), Ok(Request::Publish(Vec::new())));
    let two_requests = [request(&[&server]), request(&[&publish])].concat();
    assert_eq!(decode_request(&two_requests), Ok(Request::ServerStats));
    let unknown = request(&[&server, &hex("2a00")]);
    assert_eq!(decode_request(&unknown), Ok(Request::ServerStats));
}

#[test]
fn unknown_fields_and_groups_are_skipped() {
    for unknown in [
        "7805",
        "79 0000000000000000",
        "7a 0179",
        "7d 00000000",
        "7b 0801 7c",
        "7b 0801 0b 7a0179 0c 7c",
        "7b 0c",
    ] {
        let data = publish(&[hex("1a0178"), hex(unknown)].concat());
        assert_eq!(published(&data).body, b"x", "{unknown}");
    }
}

#[test]
fn groups_may_be_deep() {
    let depth = 500_000;
    let mut data = vec![0x0b; depth];
    assert!(refused(&data));
    data.extend(vec![0x0c; depth]);
    data.extend(field(1, &hex("1a00")));
    assert_eq!(decode_request(&data), Ok(Request::ServerStats));
}

#[test]
fn any_number_is_true_but_zero() {
    for (number, is_private) in [
        ("01", true),
        ("ac02", true),
        ("8000", false),
        ("ffffffff0f", true),
        ("ffffffffffffffffff01", true),
    ] {
        let data = publish(&field(1, &[hex("10"), hex(number)].concat()));
        assert_eq!(
            published(&data).receivers[0].is_private,
            is_private,
            "{number}"
        );
    }
}

#[test]
fn numbers_have_up_to_five_bytes_or_ten() {
    let expiry = |number: &str| publish(&[hex("20"), hex(number)].concat());
    assert_eq!(published(&expiry("ffffffff0f")).expiry, u32::MAX);
    assert_eq!(published(&expiry("ffffffff7f")).expiry, u32::MAX);
    assert_eq!(published(&expiry("ffffffffffffffffff01")).expiry, u32::MAX);
    assert!(refused(&expiry("ffffffffff01")));
    assert!(refused(&expiry("ffffffffffffffff01")));
    assert!(refused(&expiry("ffffffffffffffffffff01")));
}

#[test]
fn what_is_broken_is_refused() {
    for broken in [
        "",
        "7805",
        "0a00",
        "0a 022a00",
        "0102030405",
        "0a 7f 1a00",
        "0a021a00 00",
        "0a021a00 0200",
        "0a021a00 0f",
        "0a021a00 0e",
        "0a021a00 0c",
        "0a021a00 0b",
        "0a021a00 80",
        "0a021a00 0d0000",
        "0a021a00 0900000000",
        "0800",
        "0a02 0801",
        "0a04 0a02 0801",
    ] {
        assert!(refused(&hex(broken)), "{broken}");
    }
    for broken in ["0800", "1a", "1800", "250a000000", "20", "2a01"] {
        assert!(refused(&publish(&hex(broken))), "{broken}");
    }
}

/// A mebibyte of the shortest messages, or receivers, must not become a hundred mebibytes.
#[test]
fn parts_are_counted_while_they_are_read() {
    let many = |part: &[u8]| part.repeat(20_001);
    let long = |number: u8, content: &[u8]| {
        let mut out = Vec::new();
        encode::nested(&mut out, u32::from(number), |out| {
            out.extend_from_slice(content);
        });
        out
    };
    let messages = long(1, &long(1, &many(&hex("0a00"))));
    assert_eq!(decode_request(&messages), Err(Status::TooManyMessages));
    let receivers = long(1, &long(1, &long(1, &many(&hex("0a00")))));
    assert_eq!(decode_request(&receivers), Err(Status::TooManyChannels));
    let channels = long(1, &long(2, &many(&hex("0a00"))));
    assert_eq!(decode_request(&channels), Err(Status::TooManyChannels));
}
