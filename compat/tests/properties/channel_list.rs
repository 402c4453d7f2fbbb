//! `CHANNEL_ID` is taken if it is what we would write, and else not at all.

use data_encoding::HEXLOWER;
use pullgate_compat::channel::{Channel, ChannelList, Receiver, Role};

use super::{KEY, signature};

/// Both roles read the list in `data`, as it is and rightly signed.
pub fn channel_list(data: &[u8]) {
    let value = String::from_utf8_lossy(data);
    read_as_written(&value);
    read_as_written(&signed(&value));
}

fn read_as_written(value: &str) {
    let [subscriber, publisher] =
        [Role::Subscriber, Role::Publisher].map(|role| ChannelList::parse(value, &KEY, role));

    let is_right = value == signed(value) && value.split('/').map(ids).all(are_well_formed);
    assert_eq!(!subscriber.is_empty(), is_right);
    if is_right {
        assert_eq!(written(&subscriber), value);
        assert_eq!(subscriber, publisher);
    }
    if !publisher.is_empty() {
        assert_eq!(publisher.channels().len(), value.split('/').count());
        for (channel, part) in publisher.channels().iter().zip(value.split('/')) {
            assert_eq!(written_ids(channel), ids(part));
            let is_proven = part == signed(part);
            assert!(is_proven || channel.public.is_none() && has_form_of_signed(part));
        }
        let again = ChannelList::parse(&written(&publisher), &KEY, Role::Subscriber);
        assert_eq!(again, publisher);
    }
    names_its_channels(&publisher);
}

fn names_its_channels(list: &ChannelList) {
    let mut receivers = list.receivers();
    for channel in list.channels() {
        assert_eq!(receivers.next(), Some(Receiver::Private(channel.private)));
        if let Some(public) = channel.public {
            assert_eq!(receivers.next(), Some(Receiver::Public(public)));
        }
    }
    assert_eq!(receivers.next(), None);
    let sender = list.receivers().find_map(|receiver| match receiver {
        Receiver::Public(id) => Some(id),
        Receiver::Private(_) => None,
    });
    assert_eq!(list.sender(), sender);
}

/// Each part of `value` with the signature it should have.
fn signed(value: &str) -> String {
    let sign = |part| format!("{0}.{1}", ids(part), HEXLOWER.encode(&signature(ids(part))));
    value.split('/').map(sign).collect::<Vec<_>>().join("/")
}

/// Publishers need not prove a private id alone, but what stands there as a signature must look like one.
fn has_form_of_signed(part: &str) -> bool {
    part.split_once('.').is_none_or(|(_, signature)| {
        (32..=128).contains(&signature.len()) && signature.bytes().all(is_hex)
    })
}

fn ids(part: &str) -> &str {
    part.split('.').next().unwrap_or_default()
}

fn are_well_formed(ids: &str) -> bool {
    ids.split(':').count() <= 2
        && ids
            .split(':')
            .all(|id| id.len() == 32 && id.bytes().all(is_hex))
}

fn is_hex(digit: u8) -> bool {
    matches!(digit, b'0'..=b'9' | b'a'..=b'f')
}

fn written(list: &ChannelList) -> String {
    let ids: Vec<_> = list.channels().iter().map(written_ids).collect();
    signed(&ids.join("/"))
}

fn written_ids(channel: &Channel) -> String {
    match channel.public {
        Some(public) => format!("{}:{public}", channel.private),
        None => channel.private.to_string(),
    }
}
