mod closing;
mod slow;
mod together;

use std::future::poll_fn;
use std::task::Poll;

use closing::*;
use pullgate_compat::channel::{ChannelId, Role};
use pullgate_compat::message::{Body, Sender};
use pullgate_compat::signature::{Algorithm, SignatureKey};
use slow::*;
use tempfile::TempDir;
use together::*;

use super::*;
use crate::config::Engine;
use crate::history::disk::{Bounds, Disk, Durability};

/// An engine of history, and a folder for what it keeps.
struct Setup {
    engine: Engine,
    directory: TempDir,
    connections_per_channel: usize,
    subscriber_queue: usize,
    queues: Arc<Queues>,
}

impl Setup {
    fn new(engine: Engine) -> Self {
        Self {
            engine,
            directory: tempfile::tempdir().unwrap(),
            connections_per_channel: 100,
            subscriber_queue: 1 << 20,
            queues: Arc::new(Queues::new(1 << 40)),
        }
    }

    /// A process that begins at `start`. Its memory is so small that most is in the archive soon.
    fn start(&self, start: u32) -> Arc<Hub> {
        let archive = match self.engine {
            Engine::Memory => Archive::None,
            Engine::Redis => panic!("its tests are in tests/cluster.rs"),
            Engine::Disk => {
                let bounds = Bounds {
                    max_bytes: 1 << 30,
                    message_ttl: Duration::from_secs(86_400),
                };
                Archive::Disk(
                    Disk::open(self.directory.path(), bounds, Durability::Always).unwrap(),
                )
            }
        };
        let max_memory = match self.engine {
            Engine::Memory | Engine::Redis => 1 << 20,
            Engine::Disk => 4000,
        };
        let limits = Limits {
            connections_per_channel: self.connections_per_channel,
            message_ttl: 86_400,
            subscriber_queue: self.subscriber_queue,
        };
        let hub = Hub::new(1, start, max_memory, archive, limits, &self.queues);
        let hub = Arc::new(hub);
        self.queues.watch(&hub);
        hub
    }
}

const START: u32 = 1_700_000_000;

/// Every engine must pass every one of these.
macro_rules! for_every_engine {
    ($($test:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Setup::new(crate::config::Engine::Memory)).await;
            })+
        }
        mod disk {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Setup::new(crate::config::Engine::Disk)).await;
            })+
        }
    };
}

for_every_engine!(
    a_subscriber_gets_what_comes_once_and_in_order,
    nothing_is_lost_or_doubled_between_catch_up_and_live,
    the_oldest_of_too_many_goes,
    a_slow_subscriber_is_closed_and_the_others_are_not,
    what_waits_elsewhere_for_a_subscriber_counts,
    who_went_is_offline,
    a_catch_up_brings_the_newest_in_order,
    what_expires_is_not_brought,
    the_last_id_is_that_of_the_newest_that_is_stored,
    publishers_and_reconnecting_subscribers_side_by_side,
    ids_grow_over_a_restart_and_a_disk_remembers,
    what_is_taken_late_is_whole,
    short_messages_count_with_their_frames,
    a_burst_does_not_make_a_quick_subscriber_slow,
    who_is_sent_away_goes_by_and_by,
    a_message_for_many_is_kept_once,
    the_slowest_go_when_all_together_are_too_much,
    who_catches_up_waits_for_room_that_others_do_not_give,
);

fn id(number: u8) -> Receiver {
    Receiver::Private(ChannelId::from_bytes([number; 16]))
}

/// Channels by number, each a private id or a pair.
fn channels(numbers: &[u8], pairs: bool) -> ChannelList {
    let key = SignatureKey::new(Algorithm::Sha1, "key");
    let part = |number: &u8| {
        let private = format!("{number:02x}").repeat(16);
        let ids = if pairs {
            format!("{private}:{private}")
        } else {
            private
        };
        format!("{ids}.{}", key.sign(&ids))
    };
    let value: Vec<String> = numbers.iter().map(part).collect();
    ChannelList::parse(&value.join("/"), &key, Role::Subscriber)
}

async fn publish(hub: &Hub, receivers: &[Receiver], body: &'static str, expiry: u32) {
    let draft = Draft {
        receivers: receivers.to_vec(),
        signatures: Vec::new(),
        body: Body::from_lossy(body.into()),
        expiry,
        sender: Sender::Backend,
    };
    hub.publish(vec![draft]).await.unwrap();
}

/// What is in the queue after the core had its turn.
async fn received(hub: &Arc<Hub>, subscription: &Subscription) -> (Vec<String>, Option<Closed>) {
    let deliverer = tokio::spawn({
        let hub = Arc::clone(hub);
        async move { hub.deliver(0).await }
    });
    while !hub.inboxes[0].is_idle() {
        tokio::task::yield_now().await;
    }
    deliverer.abort();
    let mut messages = Vec::new();
    let polled = poll_fn(|cx| match subscription.poll_next(cx, &mut messages) {
        Poll::Ready(Err(closed)) => Poll::Ready(Some(closed)),
        Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(None),
    })
    .await;
    let bodies = messages
        .iter()
        .map(|outgoing| String::from_utf8(outgoing.message().body.as_bytes().to_vec()).unwrap())
        .collect();
    (bodies, polled)
}

async fn a_subscriber_gets_what_comes_once_and_in_order(setup: Setup) {
    let hub = setup.start(START);
    publish(&hub, &[id(1)], "before", 0).await;
    let (subscription, missed) = hub
        .subscribe(0, &channels(&[1, 2], false), None)
        .await
        .unwrap();
    assert!(missed.is_empty());
    publish(&hub, &[id(1), id(2)], "both", 0).await;
    publish(&hub, &[id(2)], "second", 60).await;
    publish(&hub, &[id(3)], "other", 0).await;
    assert_eq!(
        received(&hub, &subscription).await,
        (vec!["both".into(), "second".into()], None)
    );
}

async fn nothing_is_lost_or_doubled_between_catch_up_and_live(setup: Setup) {
    let hub = setup.start(START);
    let (early, _) = hub
        .subscribe(0, &channels(&[1], false), None)
        .await
        .unwrap();
    publish(&hub, &[id(1)], "1", 60).await;
    let first = hub.last_id(&[id(1)]).await.unwrap().unwrap();
    publish(&hub, &[id(1)], "2", 60).await;
    // "2" is in history, and still in the core's inbox for `early`, whose group `late` joins.
    let (late, missed) = hub
        .subscribe(0, &channels(&[1], false), Some(first))
        .await
        .unwrap();
    assert_eq!(texts(missed).await, ["2"]);
    publish(&hub, &[id(1)], "3", 60).await;
    assert_eq!(received(&hub, &late).await.0, ["3"]);
    assert_eq!(received(&hub, &early).await.0, ["1", "2", "3"]);
}

async fn the_oldest_of_too_many_goes(mut setup: Setup) {
    setup.connections_per_channel = 2;
    let hub = setup.start(START);
    let (first, _) = hub.subscribe(0, &channels(&[1], true), None).await.unwrap();
    let (_second, _) = hub.subscribe(0, &channels(&[1], true), None).await.unwrap();
    assert_eq!(received(&hub, &first).await.1, None);
    let (_third, _) = hub.subscribe(0, &channels(&[1], true), None).await.unwrap();
    assert_eq!(received(&hub, &first).await.1, Some(Closed::Evicted));
    // A channel without a public id has no limit.
    let mut shared = Vec::new();
    for _ in 0..5 {
        let (subscription, _) = hub
            .subscribe(0, &channels(&[2], false), None)
            .await
            .unwrap();
        shared.push(subscription);
    }
    for subscription in &shared {
        assert_eq!(received(&hub, subscription).await.1, None);
    }
}

async fn a_slow_subscriber_is_closed_and_the_others_are_not(mut setup: Setup) {
    setup.subscriber_queue = 5;
    let hub = setup.start(START);
    let (slow, _) = hub
        .subscribe(0, &channels(&[1], false), None)
        .await
        .unwrap();
    let (quick, _) = hub
        .subscribe(0, &channels(&[1], false), None)
        .await
        .unwrap();
    publish(&hub, &[id(1)], "1234", 60).await;
    assert_eq!(received(&hub, &quick).await.0, ["1234"]);
    publish(&hub, &[id(1)], "5678", 60).await;
    assert_eq!(received(&hub, &quick).await.0, ["5678"]);
    assert_eq!(received(&hub, &slow).await, (vec![], Some(Closed::TooSlow)));
}

async fn what_waits_elsewhere_for_a_subscriber_counts(mut setup: Setup) {
    setup.subscriber_queue = 10_000;
    let hub = setup.start(START);
    let (slow, _) = hub
        .subscribe(0, &channels(&[1], false), None)
        .await
        .unwrap();
    assert!(slow.count_outside(10_000, 0) && !slow.count_outside(10_001, 0));
    slow.count_outside(5000, 0);
    publish(&hub, &[id(1)], "1234", 60).await;
    assert_eq!(received(&hub, &slow).await.0, ["1234"]);
    slow.count_outside(9999, 0);
    publish(&hub, &[id(1)], "5678", 60).await;
    assert_eq!(received(&hub, &slow).await, (vec![], Some(Closed::TooSlow)));
}

async fn who_went_is_offline(setup: Setup) {
    let hub = setup.start(START);
    let (subscription, _) = hub
        .subscribe(0, &channels(&[1], false), None)
        .await
        .unwrap();
    assert_eq!(hub.online(&[id(1), id(2)]).await, [true, false]);
    drop(subscription);
    assert_eq!(hub.online(&[id(1)]).await, [false]);
}

/// What a subscriber who comes back with `mid` catches up with.
async fn missed(hub: &Arc<Hub>, numbers: &[u8], mid: MessageId) -> Vec<String> {
    let channels = channels(numbers, false);
    let (_, missed) = hub.subscribe(0, &channels, Some(mid)).await.unwrap();
    texts(missed).await
}

async fn texts(missed: Missed) -> Vec<String> {
    all(missed)
        .await
        .iter()
        .map(|message| text(message))
        .collect()
}

async fn all(mut missed: Missed) -> Vec<Arc<Message>> {
    let mut all = Vec::new();
    while !missed.is_empty() {
        all.extend(missed.next().await.unwrap());
    }
    all
}

fn text(message: &Message) -> String {
    String::from_utf8(message.body.as_bytes().to_vec()).unwrap()
}

fn numbered(numbers: std::ops::RangeInclusive<usize>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

async fn a_catch_up_brings_the_newest_in_order(setup: Setup) {
    let hub = setup.start(START);
    for number in 1..=450_usize {
        let channel = id([0, 1, 2][number % 3]);
        publish(&hub, &[channel], number.to_string().leak(), 60).await;
    }
    let one = missed(&hub, &[0], MessageId::MIN).await;
    assert_eq!(one.len(), 100);
    assert_eq!((one[0].as_str(), one[99].as_str()), ("153", "450"));
    assert_eq!(
        missed(&hub, &[0, 1, 2], MessageId::MIN).await,
        numbered(251..=450)
    );
    let some = missed(&hub, &[0, 1, 2], MessageId::new(START, 300)).await;
    assert_eq!(some, numbered(301..=450));
    assert_eq!(
        missed(&hub, &[0, 1], MessageId::new(START, 448)).await,
        ["450"]
    );
}

async fn what_expires_is_not_brought(setup: Setup) {
    let hub = setup.start(START);
    // Time enough to look on a busy machine.
    publish(&hub, &[id(1)], "soon", 5).await;
    publish(&hub, &[id(1)], "later", 60).await;
    publish(&hub, &[id(1)], "never stored", 0).await;
    assert_eq!(missed(&hub, &[1], MessageId::MIN).await, ["soon", "later"]);
    while missed(&hub, &[1], MessageId::MIN).await != ["later"] {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn the_last_id_is_that_of_the_newest_that_is_stored(setup: Setup) {
    let hub = setup.start(START);
    assert_eq!(hub.last_id(&[id(1)]).await.unwrap(), None);
    for number in 1..=100_usize {
        let channel = id([0, 1][number % 2]);
        publish(&hub, &[channel], "x", u32::from(number < 99) * 60).await;
    }
    let newest = Some(MessageId::new(START, 98));
    assert_eq!(hub.last_id(&[id(0), id(1)]).await.unwrap(), newest);
    let newest = Some(MessageId::new(START, 97));
    assert_eq!(hub.last_id(&[id(1)]).await.unwrap(), newest);
}

/// A subscriber that is cut off all the time, and catches up by mid.
async fn listen(hub: Arc<Hub>, channels: ChannelList, until: usize) -> Vec<String> {
    let mut mid = MessageId::MIN;
    let mut got: Vec<String> = Vec::new();
    while got.len() < until {
        let (subscription, missed) = hub.subscribe(0, &channels, Some(mid)).await.unwrap();
        let mut take = |message: &Message| {
            mid = message.id;
            got.push(text(message));
        };
        all(missed).await.iter().for_each(|message| take(message));
        let mut live = Vec::new();
        let waited = tokio::time::timeout(Duration::from_millis(5), subscription.next(&mut live));
        // Nothing may have come.
        let _ = waited.await;
        live.iter().for_each(|outgoing| take(outgoing.message()));
        tokio::task::yield_now().await;
    }
    got
}

async fn publishers_and_reconnecting_subscribers_side_by_side(setup: Setup) {
    const MESSAGES: usize = 600;
    let hub = setup.start(START);
    let deliverer = tokio::spawn({
        let hub = Arc::clone(&hub);
        async move { hub.deliver(0).await }
    });
    let subscribers: Vec<_> = (0..8)
        .map(|_| tokio::spawn(listen(Arc::clone(&hub), channels(&[1, 2], false), MESSAGES)))
        .collect();
    for number in 0..MESSAGES {
        let channel = id([1, 2][number % 2]);
        publish(&hub, &[channel], number.to_string().leak(), 60).await;
        tokio::task::yield_now().await;
    }
    for subscriber in subscribers {
        assert_eq!(subscriber.await.unwrap(), numbered(0..=MESSAGES - 1));
    }
    deliverer.abort();
}

async fn ids_grow_over_a_restart_and_a_disk_remembers(setup: Setup) {
    let hub = setup.start(START);
    for number in 1..=150_usize {
        publish(&hub, &[id(1)], number.to_string().leak(), 60).await;
    }
    let before = hub.last_id(&[id(1)]).await.unwrap().unwrap();
    hub.archive().close();
    drop(hub);
    let hub = setup.start(START + 1);
    let remembered = match setup.engine {
        Engine::Memory | Engine::Redis => Vec::new(),
        Engine::Disk => numbered(140..=150),
    };
    let mid = MessageId::new(START, 139);
    assert_eq!(missed(&hub, &[1], mid).await, remembered);
    publish(&hub, &[id(1)], "151", 60).await;
    assert!(hub.last_id(&[id(1)]).await.unwrap().unwrap() > before);
    let all = [remembered, vec!["151".to_owned()]].concat();
    assert_eq!(missed(&hub, &[1], mid).await, all);
    hub.archive().close();
}
