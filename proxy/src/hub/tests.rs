use std::future::poll_fn;
use std::task::Poll;

use pullgate_compat::channel::{ChannelId, Role};
use pullgate_compat::message::{Body, Sender};
use pullgate_compat::signature::{Algorithm, SignatureKey};

use super::*;

fn hub(connections_per_channel: usize, subscriber_queue: usize) -> Arc<Hub> {
    let limits = Limits {
        connections_per_channel,
        message_ttl: 86_400,
        subscriber_queue,
    };
    Arc::new(Hub::new(1, 1_700_000_000, 1 << 20, Archive::None, limits))
}

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
    tokio::task::yield_now().await;
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

#[tokio::test]
async fn a_subscriber_gets_what_comes_once_and_in_order() {
    let hub = hub(100, 1 << 20);
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

#[tokio::test]
async fn nothing_is_lost_or_doubled_between_catch_up_and_live() {
    let hub = hub(100, 1 << 20);
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
    assert_eq!(
        missed
            .iter()
            .map(|message| message.body.as_bytes())
            .collect::<Vec<_>>(),
        [b"2"]
    );
    publish(&hub, &[id(1)], "3", 60).await;
    assert_eq!(received(&hub, &late).await.0, ["3"]);
    assert_eq!(received(&hub, &early).await.0, ["1", "2", "3"]);
}

#[tokio::test]
async fn the_oldest_of_too_many_goes() {
    let hub = hub(2, 1 << 20);
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

#[tokio::test]
async fn a_slow_subscriber_is_closed_and_the_others_are_not() {
    let hub = hub(100, 5);
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

#[tokio::test]
async fn who_went_is_offline() {
    let hub = hub(100, 1 << 20);
    let (subscription, _) = hub
        .subscribe(0, &channels(&[1], false), None)
        .await
        .unwrap();
    assert!(hub.is_online(id(1)));
    drop(subscription);
    assert!(!hub.is_online(id(1)));
}
