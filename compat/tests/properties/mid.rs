//! A message id is 26 decimal digits, and is written as it was read.

use data_encoding::HEXLOWER;
use pullgate_compat::message::MessageId;

/// `data` is an id in digits; its beginning is one in bytes.
pub fn mid(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data) {
        in_digits(text);
    }
    if let Some(bytes) = data.first_chunk() {
        let id = MessageId::from_bytes(*bytes);
        assert_eq!(id, MessageId::parse(&HEXLOWER.encode(bytes)));
    }
    let is_whole = MessageId::from_slice(data).is_some();
    assert!(!is_whole || data.len() == 13);
}

fn in_digits(text: &str) {
    let is_id = text.len() == 26 && text.bytes().all(|byte| byte.is_ascii_digit());
    let id = MessageId::parse(text);
    assert_eq!(id.is_some(), is_id);
    let Some(id) = id else { return };
    assert_eq!(id.to_string(), text);
    assert_eq!(HEXLOWER.encode(id.as_bytes()), text);
    assert_eq!(MessageId::from_slice(id.as_bytes()), Some(id));

    let (start, counter) = text.split_at(10);
    assert_eq!(start.parse(), Ok(id.start()));
    assert_eq!(counter.parse(), Ok(id.counter()));
    if let Ok(start) = u32::try_from(id.start()) {
        assert_eq!(MessageId::new(start, id.counter()), id);
    }

    // Ids are in the order of their digits. Another id to compare with is the same one backwards.
    let backwards: String = text.chars().rev().collect();
    let other = MessageId::parse(&backwards);
    assert_eq!(Some(id).cmp(&other), text.cmp(&backwards));
}
