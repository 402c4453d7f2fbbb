//! Text frames that were read can be written, and those that were written are read.

use bytes::Bytes;
use pullgate_compat::message::{Body, Message, MessageId, Sender};
use pullgate_compat::text::{self, FrameError, MARK_END, MARK_START, Now};

/// `data` is a row of frames, and the body of some.
pub fn text_frames(data: &[u8]) {
    let read: Vec<_> = text::frames(data).collect();
    let errors = read.iter().filter(|frame| frame.is_err()).count();
    assert!(errors <= 1, "nothing comes behind an error");
    assert!(errors == 0 || read.last().is_some_and(Result::is_err));

    let deliveries: Vec<_> = read
        .into_iter()
        .filter_map(Result::ok)
        .filter_map(|frame| Some((message(frame.mid, frame.text), frame.delivered()?)))
        .collect();
    come_back(&deliveries);

    // What is between two frames is nowhere escaped, so it must not be in a body.
    let body = Body::from_lossy(Bytes::copy_from_slice(data));
    let between = format!("}}{MARK_END}{MARK_START}");
    if !String::from_utf8_lossy(body.as_bytes()).contains(&between) {
        let length = u64::try_from(data.len()).unwrap_or_default();
        let id = MessageId::new(1_700_000_000, length);
        let delivery = (message(id, data), Now::at(length * 1001));
        come_back(&[delivery.clone(), delivery]);
    }
}

fn message(id: MessageId, body: &[u8]) -> Message {
    Message {
        id,
        body: Body::from_lossy(Bytes::copy_from_slice(body)),
        expiry: 0,
        created: 0,
        sender: Sender::Unknown,
    }
}

fn come_back(deliveries: &[(Message, Now)]) {
    let mut written = Vec::new();
    for (message, now) in deliveries {
        text::encode(message, now, &mut written);
    }
    let read: Result<Vec<_>, FrameError> = text::frames(&written).collect();
    let expected: Vec<_> = deliveries
        .iter()
        .map(|(message, now)| (message.id, message.body.as_bytes(), Some(*now)))
        .collect();
    let read: Vec<_> = read
        .expect("what was written is read")
        .iter()
        .map(|frame| (frame.mid, frame.text, frame.delivered()))
        .collect();
    assert_eq!(read, expected);
}
