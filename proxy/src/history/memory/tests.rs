use pullgate_compat::channel::ChannelId;
use pullgate_compat::message::{Body, Sender};

use super::*;
use crate::history::newest;

const NOW: u64 = 1_800_000_000;

fn channel(number: u8) -> Receiver {
    Receiver::Private(ChannelId::from_bytes([number; 16]))
}

fn message(number: u64, expiry: u32) -> Arc<Message> {
    Arc::new(Message {
        id: MessageId::new(1, number),
        body: Body::from_lossy(vec![b'x'; 100].into()),
        expiry,
        created: 0,
        sender: Sender::Backend,
    })
}

fn append(memory: &mut Memory, message: &Arc<Message>, receivers: &[Receiver], now: u64) {
    memory.append(message, receivers, now, message.id);
}

/// What a subscriber would catch up with.
fn numbers(memory: &Memory, receivers: &[Receiver], after: u64, now: u64) -> Vec<u64> {
    let listed = memory.listed(receivers, MessageId::new(1, after));
    memory
        .fetch(&newest(listed), usize::MAX, now)
        .messages
        .iter()
        .map(|message| message.id.counter())
        .collect()
}

#[test]
fn the_newest_hundred_of_a_channel_and_two_hundred_in_all() {
    let mut memory = Memory::new(1 << 30, MessageId::MIN);
    for number in 1..=450 {
        append(
            &mut memory,
            &message(number, 60),
            &[channel((number % 3) as u8)],
            NOW,
        );
    }
    assert_eq!(
        numbers(&memory, &[channel(0)], 0, NOW).len(),
        CATCH_UP_PER_CHANNEL
    );
    let all = numbers(&memory, &[channel(0), channel(1), channel(2)], 0, NOW);
    assert_eq!(all, (251..=450).collect::<Vec<_>>());
    assert_eq!(numbers(&memory, &[channel(0), channel(0)], 447, NOW), [450]);
}

#[test]
fn a_message_of_two_channels_comes_once() {
    let mut memory = Memory::new(1 << 30, MessageId::MIN);
    append(
        &mut memory,
        &message(1, 60),
        &[channel(1), channel(2), channel(1)],
        NOW,
    );
    assert_eq!(numbers(&memory, &[channel(1), channel(2)], 0, NOW), [1]);
}

#[test]
fn expired_messages_go_and_leave_nothing() {
    let mut memory = Memory::new(1 << 30, MessageId::MIN);
    append(&mut memory, &message(1, 60), &[channel(1)], NOW);
    append(&mut memory, &message(2, 10), &[channel(1)], NOW);
    append(&mut memory, &message(3, 0), &[channel(1)], NOW);
    assert_eq!(
        newest(memory.listed(&[channel(1)], MessageId::MIN)).len(),
        2
    );
    assert_eq!(numbers(&memory, &[channel(1)], 0, NOW + 10), [1]);
    assert_eq!(
        newest(memory.listed(&[channel(1)], MessageId::MIN)).len(),
        2,
        "an expired one is listed while an older one lives"
    );
    append(&mut memory, &message(4, 1), &[channel(2)], NOW + 60);
    append(&mut memory, &message(5, 0), &[channel(2)], NOW + 70);
    assert_eq!(
        (memory.bytes, memory.messages.len(), memory.channels.len()),
        (0, 0, 0)
    );
}

#[test]
fn the_oldest_go_when_memory_is_full() {
    let size = MESSAGE + 100 + size_of::<Receiver>() + LISTED;
    let mut memory = Memory::new(CHANNEL + 10 * size, MessageId::MIN);
    for number in 1..=30 {
        append(&mut memory, &message(number, 60), &[channel(1)], NOW);
    }
    assert_eq!(
        numbers(&memory, &[channel(1)], 0, NOW),
        (21..=30).collect::<Vec<_>>()
    );
    assert_eq!(memory.bytes, memory.max_bytes);
}

/// Places in all the structures.
fn places(memory: &Memory) -> usize {
    let listed = memory.channels.values().map(|listed| listed.ids.len());
    memory.messages.len() + memory.expiries.len() + memory.channels.len() + listed.sum::<usize>()
}

#[test]
fn what_was_evicted_leaves_nothing() {
    let mut memory = Memory::new(1 << 20, MessageId::MIN);
    let mut most = 0;
    for number in 1..=200_000 {
        // Half of them in a channel of their own.
        let own = ChannelId::from_bytes(u128::from(number).to_be_bytes());
        let receiver = match number % 2 {
            0 => Receiver::Private(own),
            _ => channel(1),
        };
        append(&mut memory, &message(number, 86_400), &[receiver], NOW);
        assert!(memory.bytes <= memory.max_bytes);
        assert_eq!(memory.messages.len(), memory.expiries.len());
        if number % 1000 == 0 {
            most = most.max(places(&memory));
        }
    }
    assert!(most < (1 << 20) / 100, "{most}");
}

#[test]
fn ids_without_a_message_count_and_go_with_the_oldest() {
    let mut memory = Memory::new(20_000, MessageId::MIN);
    for number in 0..10_000 {
        // In every channel one message lives, and most have expired.
        let expiry = if number % 50 == 0 { 86_400 } else { 1 };
        let receiver = channel((number / 50 % 250) as u8);
        append(
            &mut memory,
            &message(number + 1, expiry),
            &[receiver],
            NOW + number,
        );
        assert!(memory.bytes <= memory.max_bytes);
    }
    let listed: usize = memory.channels.values().map(|it| it.ids.len()).sum();
    assert!(listed * LISTED <= memory.bytes, "{listed}");
    assert!(memory.channels.values().all(|listed| listed.live > 0));
}

#[test]
fn a_backlog_expires_in_steps() {
    let mut memory = Memory::new(1 << 30, MessageId::MIN);
    for number in 1..=10_000 {
        append(
            &mut memory,
            &message(number, 60),
            &[channel((number % 200) as u8)],
            NOW,
        );
    }
    let mut left = memory.messages.len();
    let mut steps = 0;
    while left > 0 {
        append(&mut memory, &message(20_000 + steps, 0), &[], NOW + 60);
        let gone = left - memory.messages.len();
        assert!(
            (1..=STEP / MESSAGE + 1).contains(&gone),
            "{gone} in one step"
        );
        left = memory.messages.len();
        steps += 1;
    }
    assert!(steps > 10, "{steps}");
    assert_eq!((memory.bytes, places(&memory)), (0, 0));
}

#[test]
fn a_long_message_may_push_out_many_short_ones() {
    let mut memory = Memory::new(1 << 20, MessageId::MIN);
    for number in 1..=5000 {
        append(
            &mut memory,
            &message(number, 60),
            &[channel((number % 200) as u8)],
            NOW,
        );
    }
    let long = Arc::new(Message {
        body: Body::from_lossy(vec![b'x'; 1 << 19].into()),
        ..(*message(6000, 60)).clone()
    });
    append(&mut memory, &long, &[channel(1)], NOW);
    assert!(memory.bytes <= memory.max_bytes);
    assert!(memory.has(long.id));
}
