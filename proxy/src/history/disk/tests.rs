use std::time::Duration;

use pullgate_compat::channel::ChannelId;
use pullgate_compat::message::{Body, Sender};

use super::*;
use crate::history::{CATCH_UP_PER_CHANNEL, newest};

const NOW: u64 = 1_800_000_000;

fn bounds() -> Bounds {
    Bounds {
        max_bytes: 1 << 30,
        message_ttl: Duration::from_secs(80),
    }
}

fn channel(number: u8) -> Receiver {
    Receiver::Private(ChannelId::from_bytes([number; 16]))
}

fn entry(number: u64, channels: &[u8], expires: u64) -> Entry {
    Entry {
        message: Arc::new(Message {
            id: MessageId::new(1, number),
            body: Body::from_lossy(vec![b'x'; 100].into()),
            expiry: 60,
            created: 5,
            sender: Sender::Backend,
        }),
        receivers: channels.iter().map(|number| channel(*number)).collect(),
        expires,
    }
}

/// What a subscriber of `channels` would catch up with.
fn numbers(store: &Store, channels: &[u8], after: u64, until: u64, now: u64) -> Vec<u64> {
    let receivers: Vec<_> = channels.iter().map(|number| channel(*number)).collect();
    let (after, until) = (MessageId::new(1, after), MessageId::new(1, until));
    let listed = store.listed(&receivers, after, until).unwrap();
    let found = store.fetch(&newest(listed), usize::MAX, now).unwrap();
    found
        .messages
        .iter()
        .map(|message| message.id.counter())
        .collect()
}

#[test]
fn messages_are_found_by_channel_over_buckets_and_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), bounds()).unwrap();
    for number in 1..=30 {
        // A bucket takes ten seconds.
        let channels = [u8::from(number % 2 == 1), 7];
        let written = entry(number, &channels, NOW + 1000);
        store.write(&[written], NOW + number).unwrap();
    }
    let check = |store: &Store| {
        assert_eq!(numbers(store, &[0], 0, 10, NOW), [2, 4, 6, 8, 10]);
        assert_eq!(numbers(store, &[1, 7], 27, 29, NOW), [28, 29]);
        assert_eq!(numbers(store, &[7], 0, 99, NOW).len(), 30);
        assert_eq!(numbers(store, &[9], 0, 99, NOW), [] as [u64; 0]);
    };
    check(&store);
    assert!(store.bytes() > 30 * 100);
    drop(store);
    let store = Store::open(directory.path(), bounds()).unwrap();
    check(&store);
    let found = store.fetch(&[MessageId::new(1, 5)], 0, NOW).unwrap();
    assert_eq!(*found.messages[0], *entry(5, &[], 0).message);
}

#[test]
fn a_catch_up_brings_the_newest_hundred_of_a_channel() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), bounds()).unwrap();
    let entries: Vec<_> = (1..=150).map(|n| entry(n, &[1], NOW + 60)).collect();
    store.write(&entries, NOW).unwrap();
    let found = numbers(&store, &[1], 0, 140, NOW);
    assert_eq!(found, (41..=140).collect::<Vec<_>>());
    assert_eq!(found.len(), CATCH_UP_PER_CHANNEL);
}

#[test]
fn what_has_expired_is_not_found_and_goes_with_its_bucket() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), bounds()).unwrap();
    let batch = [entry(1, &[1], NOW + 20), entry(2, &[1], NOW + 40)];
    store.write(&batch, NOW).unwrap();
    store.write(&[entry(3, &[1], NOW + 75)], NOW + 15).unwrap();
    assert_eq!(numbers(&store, &[1], 0, 9, NOW + 20), [2, 3]);
    assert_eq!(store.tidy(NOW + 39).unwrap(), 0);
    assert_eq!(numbers(&store, &[1], 0, 9, NOW + 20), [2, 3]);
    let before = store.bytes();
    assert_eq!(store.tidy(NOW + 40).unwrap(), 0);
    assert!(store.bytes() < before);
    assert_eq!(numbers(&store, &[1], 0, 9, NOW + 20), [3]);
    drop(store);
    let store = Store::open(directory.path(), bounds()).unwrap();
    assert_eq!(numbers(&store, &[1], 0, 9, NOW + 20), [3]);
}

#[test]
fn the_oldest_go_when_there_is_too_much_and_space_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let max_bytes = 1 << 20;
    let store = Store::open(
        directory.path(),
        Bounds {
            max_bytes,
            ..bounds()
        },
    )
    .unwrap();
    let mut evicted = 0;
    for batch in 0..50_u64 {
        let entries: Vec<_> = (1..=400)
            .map(|n| entry(batch * 400 + n, &[1], NOW + 60))
            .collect();
        store.write(&entries, NOW).unwrap();
        evicted += store.tidy(NOW).unwrap();
    }
    assert!(evicted > 0);
    assert!(store.bytes() <= max_bytes);
    assert_eq!(numbers(&store, &[1], 19_990, 99_999, NOW).len(), 10);
    store.sync().unwrap();
    drop(store);
    // The journal holds what is not in tables yet, and is bounded too.
    let on_disk = size_of(directory.path());
    assert!(on_disk < 100 << 20, "{on_disk}");
}

fn size_of(path: &Path) -> u64 {
    std::fs::read_dir(path)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                size_of(&entry.path())
            } else {
                metadata.len()
            }
        })
        .sum()
}

#[test]
fn an_unknown_format_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("FORMAT");
    std::fs::write(&file, "pullgate history 2\n").unwrap();
    let error = Store::open(directory.path(), bounds()).unwrap_err();
    assert!(matches!(error, OpenError::Format { .. }), "{error}");
    assert_eq!(
        std::fs::read_to_string(file).unwrap(),
        "pullgate history 2\n"
    );
}

#[test]
fn two_processes_do_not_share_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let _open = Store::open(directory.path(), bounds()).unwrap();
    let error = Store::open(directory.path(), bounds()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
}

/// Overwrites the middle of every file that is long enough.
fn damage(path: &Path) -> usize {
    let mut damaged = 0;
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            damaged += damage(&path);
        } else if let Ok(mut bytes) = std::fs::read(&path)
            && bytes.len() > 40
            && !path.ends_with("lock")
        {
            let middle = bytes.len() / 4..bytes.len() * 3 / 4;
            bytes[middle].fill(0xa5);
            std::fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    damaged
}

#[tokio::test]
async fn a_damaged_store_is_kept_aside_and_a_new_one_begins() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history");
    let store = Store::open(&path, bounds()).unwrap();
    let entries: Vec<_> = (1..=5000).map(|n| entry(n, &[1], NOW + 60)).collect();
    store.write(&entries, NOW).unwrap();
    drop(store);
    assert!(damage(&path.join("data")) > 2);

    let disk = Disk::open(&path, bounds(), Durability::Always).unwrap();
    let after = entry(1, &[1], 0);
    disk.append(&after.message, &after.receivers, unix_time().as_secs());
    disk.durable(after.message.id).await.unwrap();
    assert_eq!(
        disk.fetch(&[after.message.id], 0)
            .await
            .unwrap()
            .messages
            .len(),
        1
    );
    let aside = std::fs::read_dir(directory.path())
        .unwrap()
        .filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().starts_with("history.damaged-")
        })
        .count();
    assert_eq!(aside, 1);
    disk.close();
}

#[tokio::test]
async fn what_was_appended_is_written_when_it_closes() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::open(directory.path(), bounds(), Durability::Interval).unwrap();
    let now = unix_time().as_secs();
    for number in 1..=1000 {
        let entry = entry(number, &[1], 0);
        disk.append(&entry.message, &entry.receivers, now);
    }
    disk.close();
    drop(disk);
    let disk = Disk::open(directory.path(), bounds(), Durability::Interval).unwrap();
    let until = MessageId::new(1, 2000);
    let after = MessageId::new(1, 990);
    let listed = disk.listed(&[channel(1)], after, until).await.unwrap();
    assert_eq!(
        disk.fetch(&newest(listed), usize::MAX)
            .await
            .unwrap()
            .messages
            .len(),
        10
    );
    disk.close();
}

#[test]
fn what_waits_to_be_written_counts_until_it_is() {
    let mut waiting = Waiting::default();
    let mut pushed = 0;
    while waiting.bytes < MAX_WAITING {
        pushed += 1;
        let mut entry = entry(pushed, &[1], 0);
        Arc::make_mut(&mut entry.message).body = Body::from("7 bytes");
        waiting.push(entry);
    }
    assert!(pushed < 300_000, "{pushed}");
    let mut written = 0;
    while !waiting.entries.is_empty() {
        let before = waiting.bytes - waiting.writing;
        written += waiting.take_batch().len();
        assert_eq!(waiting.bytes, before);
        assert!(waiting.writing < BATCH + 1000);
    }
    assert_eq!(u64::try_from(written).unwrap(), pushed);
    assert!(waiting.take_batch().is_empty());
    assert_eq!(waiting.bytes, 0);
}
