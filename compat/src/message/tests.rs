use proptest::prelude::*;

use super::*;

#[test]
fn an_id_is_start_and_counter() {
    let id = MessageId::new(1_700_000_000, 15);
    assert_eq!(id.to_string(), "17000000000000000000000015");
    assert_eq!((id.start(), id.counter()), (1_700_000_000, 15));
    assert_eq!(id.as_bytes()[..6], [0x17, 0, 0, 0, 0, 0]);
    assert_eq!(MessageId::from_bytes(*id.as_bytes()), Some(id));
    assert_eq!(MessageId::from_slice(&id.as_bytes()[1..]), None);
    assert_eq!(MessageId::parse(&"0".repeat(26)), Some(MessageId::MIN));
    assert_eq!(
        MessageId::new(u32::MAX, u64::MAX).to_string(),
        "42949672959999999999999999"
    );
}

#[test]
fn everything_else_is_no_id() {
    for wrong in [
        "",
        "1700000000000000000000001",
        "170000000000000000000000015",
        "1700000000000000000000001a",
        "+1700000000000000000000015",
        " 1700000000000000000000001",
        "1700000000000000000000001\u{661}",
    ] {
        assert_eq!(MessageId::parse(wrong), None, "{wrong}");
    }
    assert_eq!(MessageId::from_bytes([0x0a; 13]), None);
    assert_eq!(MessageId::from_bytes([0xa0; 13]), None);
}

#[test]
fn bodies_are_mended_not_refused() {
    let body = |bytes: &'static [u8]| Body::from_lossy(Bytes::from_static(bytes));
    assert_eq!(body(b"\xef\xbb\xbfa\0").as_bytes(), b"\xef\xbb\xbfa\0");
    assert_eq!(body(b"a\xff"), "a\u{fffd}".into());
    assert_eq!(body(b"\xed\xa0\x80"), "\u{fffd}\u{fffd}\u{fffd}".into());
    assert_eq!(body(b"\xf0\x9f\x98 "), "\u{fffd} ".into());
    assert!(body(b"").is_empty());
}

#[test]
fn a_good_body_is_not_copied() {
    let bytes = Bytes::from("text".to_owned());
    let address = bytes.as_ptr();
    let body = Body::from_lossy(bytes);
    let another = body.clone();
    assert_eq!(body.as_bytes().as_ptr(), address);
    assert_eq!(another.as_bytes().as_ptr(), address);
}

#[test]
fn expiry_is_read_as_javascript_does() {
    for (value, seconds) in [
        ("60", 60),
        ("60abc", 60),
        (" \t60", 60),
        ("1.9", 1),
        ("1e3", 1),
        ("+7", 7),
        ("007", 7),
        ("10, 20", 10),
        ("0x10", 0),
        ("abc", 0),
        ("-5", 0),
        ("+-5", 0),
        ("+ 5", 0),
        ("", 0),
        ("99999999999999999999", u32::MAX),
    ] {
        assert_eq!(
            Expiry::from_header(Some(value)).seconds(),
            seconds,
            "{value}"
        );
    }
    assert!(Expiry::from_header(None).is_zero());
    assert_eq!(Expiry::of_seconds(90_000).capped(86_400).seconds(), 86_400);
    assert_eq!(Expiry::of_seconds(60).capped(86_400).seconds(), 60);
}

#[test]
fn labels_have_32_characters_at_most() {
    assert_eq!(MessageType::parse(b"im_message-*").as_str(), "im_message-*");
    assert_eq!(MessageType::parse(&[b'a'; 32]).as_str().len(), 32);
    for wrong in [&b""[..], b"a b", b"\xff", "\u{e9}".as_bytes(), &[b'a'; 33]] {
        assert_eq!(MessageType::parse(wrong).as_str(), "unknown");
    }
}

proptest! {
    #[test]
    fn expiry_takes_anything(value in ".*") {
        Expiry::from_header(Some(&value));
    }

    #[test]
    fn expiry_comes_back(seconds in any::<u32>(), behind in "([^0-9].*)?") {
        let value = format!("{seconds}{behind}");
        prop_assert_eq!(Expiry::from_header(Some(&value)).seconds(), seconds);
    }
}
