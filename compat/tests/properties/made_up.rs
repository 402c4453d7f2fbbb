//! Inputs for each property that come near to what is right.

mod protobuf;

use std::fmt::Write as _;

use data_encoding::HEXLOWER;
use proptest::prelude::*;
use pullgate_compat::guest::GuestId;
use pullgate_compat::message::{Body, Message, MessageId, Sender};
use pullgate_compat::text::{self, MARK_END, MARK_START, Now};
use pullgate_compat::websocket::{Header, apply_mask};

use crate::properties::{self, GUESTS, KEY};

/// Texts, and the same with a character changed, added or taken away. ASCII must be where it changes.
fn spoilt(texts: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let change = (any::<prop::sample::Index>(), 0..2_usize, "[ -~]?");
    (texts, prop::option::of(change)).prop_map(|(mut text, change)| {
        if let Some((at, length, with)) = change {
            let at = at.index(text.len() + 1);
            let end = text.len().min(at + length);
            if text.is_char_boundary(at) && text.is_char_boundary(end) {
                text.replace_range(at..end, &with);
            }
        }
        text
    })
}

fn channel_id() -> impl Strategy<Value = String> {
    let part = any::<([u8; 16], Option<[u8; 16]>)>().prop_map(|(private, public)| {
        let mut ids = HEXLOWER.encode(&private);
        if let Some(public) = public {
            write!(ids, ":{}", HEXLOWER.encode(&public)).unwrap();
        }
        format!("{ids}.{}", KEY.sign(&ids))
    });
    prop::collection::vec(part, 1..6).prop_map(|parts| parts.join("/"))
}

fn mid() -> impl Strategy<Value = String> {
    let given = (any::<u32>(), 0..=MessageId::MAX_COUNTER);
    prop_oneof![
        given.prop_map(|(start, counter)| format!("{start:010}{counter:016}")),
        "[0-9]{26}|[0-9a-f]{26}|[/-:]{26}",
    ]
}

fn frames() -> impl Strategy<Value = String> {
    let body = prop_oneof![
        ".*",
        Just(MARK_START.to_owned()),
        Just(format!("}}{MARK_END}")),
        Just(format!("}}{MARK_END}}}{MARK_END}")),
    ];
    let message = (0..=MessageId::MAX_COUNTER, body).prop_map(|(counter, body)| Message {
        id: MessageId::new(1_700_000_000, counter),
        body: Body::from(body),
        expiry: 0,
        created: 0,
        sender: Sender::Backend,
    });
    let messages = prop::collection::vec(message, 0..5);
    (messages, any::<u64>()).prop_map(|(messages, unix_ms)| {
        let mut data = Vec::new();
        for message in messages {
            text::encode(&message, &Now::at(unix_ms >> 20), &mut data);
        }
        String::from_utf8(data).unwrap()
    })
}

/// A frame whose members are of the right kind, and no more.
fn foreign_frame() -> impl Strategy<Value = String> {
    let digits = "[0-9]{3}|[+0-9]{0,20}|1844674407370955161[0-9]";
    let time = "(Tue|Sun), [0-9]{2} (Nov|Jan) (19|20|99)[0-9]{2} 02:08:40 GMT";
    (digits, mid(), "-|.*", digits, time, ".*").prop_map(|(id, mid, channel, tag, time, text)| {
        format!(
            "{MARK_START}{{\"id\":{id},\"mid\":\"{mid}\",\"channel\":\"{channel}\",\
             \"tag\":\"{tag}\",\"time\":\"{time}\",\"text\":{text}}}{MARK_END}"
        )
    })
}

fn cookie() -> impl Strategy<Value = String> {
    (1..=GuestId::MAX, any::<u64>())
        .prop_map(|(number, issued)| GUESTS.sign_cookie(GuestId::new(number).unwrap(), issued))
}

/// What could be signed, and may be written in another way than ours.
fn unsigned() -> impl Strategy<Value = String> {
    prop_oneof![
        "1\\.[+-]?0?[0-9]{0,11}\\.0?[0-9]{0,21}\\.",
        "t=0?[0-9]{0,21},v1="
    ]
}

fn token() -> impl Strategy<Value = String> {
    any::<u64>().prop_map(|now| GUESTS.token(GuestId::new(17).unwrap(), now))
}

fn site_cookie() -> impl Strategy<Value = String> {
    let id = prop_oneof![
        "-?[0-9]{1,11}",
        (1..=GuestId::MAX).prop_map(|id| id.to_string())
    ];
    (id, "[0-9|.]{0,12}", 0..2_usize, any::<bool>()).prop_map(|(id, time, form, escaped)| {
        let value = properties::adoptable(&id, &time)[form].clone();
        if escaped {
            value.replace(':', "%3A").replace('.', "%2e")
        } else {
            value
        }
    })
}

/// A row of frames, right but for a bit here and there.
fn websocket() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        ".{0,50}".prop_map(String::into_bytes),
        (999..1020_u16).prop_map(|code| code.to_be_bytes().to_vec()),
    ];
    let opcode = prop::sample::select(vec![0, 0, 1, 1, 2, 8, 9, 10, 11]);
    let rsv = prop::sample::select(vec![0, 0, 0, 0, 0, 0, 1]);
    let frame = (any::<(bool, [u8; 4])>(), rsv, opcode, payload);
    let frames = prop::collection::vec(frame, 0..8);
    (any::<(u8, bool)>(), frames).prop_map(|((cut, masked), frames)| {
        let mut data = vec![cut];
        for ((fin, mask), rsv, opcode, mut payload) in frames {
            let header = Header {
                fin,
                rsv,
                opcode,
                mask: masked.then_some(mask),
                length: payload.len() as u64,
            };
            header.encode(&mut data);
            if masked {
                apply_mask(mask, 0, &mut payload);
            }
            data.append(&mut payload);
        }
        data
    })
}

proptest! {
    #[test]
    fn whatever_comes(data in any::<Vec<u8>>(), text in ".*") {
        for (_, holds) in properties::ALL {
            holds(&data);
            holds(text.as_bytes());
        }
    }

    #[test]
    fn channel_lists(value in spoilt(channel_id())) {
        properties::channel_list(value.as_bytes());
    }

    #[test]
    fn queries(target in "[^?]*\\?([a%+=&?]|%[0-9a-fA-F]{2}|.)*") {
        properties::query(target.as_bytes());
    }

    #[test]
    fn proxy_headers(
        line in spoilt("PROXY (TCP[46]|UNKNOWN)( (1.2.3.4|::1|2001:db8::[0-9]{1,3})){2}( [0-9]{1,5}){2}\r\n"),
        fixed in (0x1f..0x23_u8, prop::sample::select(vec![0_u8, 0x11, 0x12, 0x21, 0x31]), 0..2_u8, any::<u8>()),
        block in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        properties::proxy_protocol(line.as_bytes());
        let (command, family, high, low) = fixed;
        let fixed = [b"\r\n\r\n\0\r\nQUIT\n", &[command, family, high, low][..]].concat();
        properties::proxy_protocol(&[fixed, block].concat());
    }

    #[test]
    fn mids(text in spoilt(mid()), bytes in any::<[u8; 13]>()) {
        properties::mid(text.as_bytes());
        properties::mid(&bytes);
    }

    #[test]
    fn text_frames(data in prop_oneof![spoilt(frames()), foreign_frame()]) {
        properties::text_frames(data.as_bytes());
    }

    #[test]
    fn websockets(data in websocket()) {
        properties::websocket(&data);
    }

    #[test]
    fn cookies(value in spoilt(prop_oneof![cookie(), token(), unsigned()])) {
        properties::cookie(value.as_bytes());
    }

    #[test]
    fn cookies_of_the_site(value in spoilt(site_cookie())) {
        properties::adopt(value.as_bytes());
    }

    #[test]
    fn forms_of_cookies(pattern in "([a-z0-9.:-]{0,2}(\\{(id|hmac|[a-z]?)\\})?){0,5}") {
        properties::adopt(pattern.as_bytes());
    }
}
