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
        .fetch(&newest(listed), now)
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
    let mut memory = Memory::new(10 * (100 + OVERHEAD), MessageId::MIN);
    for number in 1..=30 {
        append(&mut memory, &message(number, 60), &[channel(1)], NOW);
    }
    assert_eq!(
        numbers(&memory, &[channel(1)], 0, NOW),
        (21..=30).collect::<Vec<_>>()
    );
}
