use super::*;
use crate::message::{Body, MessageId, Sender};

fn message(counter: u64, body: &str) -> Message {
    Message {
        id: MessageId::new(1_700_000_000, counter),
        body: Body::from(body.to_owned()),
        expiry: 0,
        created: 0,
        sender: Sender::Backend,
    }
}

fn encoded(messages: &[Message], now: &Now) -> Vec<u8> {
    let mut out = Vec::new();
    for message in messages {
        encode(message, now, &mut out);
    }
    out
}

#[test]
fn a_frame_is_as_the_reference_writes_it() {
    let frame = encoded(&[message(15, "{\"a\":1}")], &Now::at(1_795_486_120_003));
    assert_eq!(
        str::from_utf8(&frame).unwrap(),
        "#!NGINXNMS!#{\"id\":15,\"mid\":\"17000000000000000000000015\",\"channel\":\"-\",\
         \"tag\":\"003\",\"time\":\"Tue, 24 Nov 2026 02:08:40 GMT\",\"text\":{\"a\":1}}#!NGINXNME!#"
    );
}

#[test]
fn counters_have_no_leading_zeros() {
    for (counter, shown) in [
        (0, "\"id\":0,"),
        (100, "\"id\":100,"),
        (MessageId::MAX_COUNTER, "\"id\":9999999999999999,"),
    ] {
        let frame = encoded(&[message(counter, "")], &Now::at(0));
        assert!(str::from_utf8(&frame).unwrap().contains(shown), "{counter}");
        assert!(frame.len() <= LONGEST_ENVELOPE);
    }
}

#[test]
fn a_moment_keeps_its_date_within_a_second() {
    let now = Now::at(1_795_486_120_003);
    for unix_ms in [1_795_486_120_999, 1_795_486_121_000, 0, u64::MAX] {
        assert_eq!(now.moved_to(unix_ms), Now::at(unix_ms), "{unix_ms}");
    }
    assert_eq!(
        str::from_utf8(&now.date),
        Ok("Tue, 24 Nov 2026 02:08:40 GMT")
    );
}

#[test]
fn bodies_may_hold_the_marks() {
    let tricky = [
        "}#!NGINXNME!#",
        "}#!NGINXNME!#}#!NGINXNME!",
        "#!NGINXNMS!#",
        "\",\"text\":",
        "",
        "}",
    ];
    let messages = tricky.map(|body| message(1, body));
    let data = encoded(&messages, &Now::at(0));
    let read: Vec<_> = frames(&data).map(|frame| frame.unwrap().text).collect();
    assert_eq!(read, tricky.map(str::as_bytes));
}

#[test]
fn a_moment_is_shown_by_a_date_and_three_digits() {
    let delivered = |tag, time| {
        let data = encoded(&[message(1, "")], &Now::at(0));
        let frame = frames(&data).next().unwrap().unwrap();
        TextFrame { tag, time, ..frame }.delivered()
    };
    let time = "Tue, 24 Nov 2026 02:08:40 GMT";
    assert_eq!(delivered("003", time), Some(Now::at(1_795_486_120_003)));
    for tag in ["", "3", "0003", "00a", "18446744073709551615"] {
        assert_eq!(delivered(tag, time), None, "{tag}");
    }
    for time in ["", "Wed, 31 Dec 1969 23:59:59 GMT"] {
        assert_eq!(delivered("003", time), None, "{time}");
    }
}

#[test]
fn what_is_no_frame_is_refused_once() {
    let data = encoded(&[message(1, "a")], &Now::at(0));
    let behind = [&data[..], b" "].concat();
    let results: Vec<_> = frames(&behind).collect();
    assert_eq!(results, [Err(FrameError::Missing("end mark"))]);
    for length in 1..data.len() {
        assert_eq!(frames(&data[..length]).filter(Result::is_ok).count(), 0);
    }
    assert_eq!(frames(b"").count(), 0);
}
