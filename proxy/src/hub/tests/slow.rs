//! Subscribers that take late what waits for them.

use super::*;

pub(super) async fn what_is_taken_late_is_whole(setup: Setup) {
    let hub = setup.start(START);
    let long = |number: usize| format!("{number:04}{}", "x".repeat(8000));
    for number in 0..100 {
        publish(&hub, &[id(1)], long(number).leak(), 60).await;
    }
    let (subscription, mut missed) = hub
        .subscribe(0, &channels(&[1], false), Some(MessageId::MIN))
        .await
        .unwrap();
    let mut got: Vec<String> = Vec::new();
    let first = missed.next().await.unwrap();
    assert!((20..50).contains(&first.len()), "{}", first.len());
    got.extend(first.iter().map(|message| text(message)));
    // History keeps a hundred of a channel, and memory has no room for more.
    for number in 100..220 {
        publish(&hub, &[id(1)], long(number).leak(), 60).await;
    }
    got.extend(texts(missed).await);
    assert_eq!(got, (0..100).map(long).collect::<Vec<_>>());
    let mut live = received(&hub, &subscription).await.0;
    live.extend(received(&hub, &subscription).await.0);
    assert_eq!(live[..20], (100..120).map(long).collect::<Vec<_>>());
}

pub(super) async fn short_messages_count_with_their_frames(setup: Setup) {
    let hub = setup.start(START);
    let listen = async || {
        let (subscription, _) = hub
            .subscribe(0, &channels(&[1], false), None)
            .await
            .unwrap();
        subscription
    };
    let (slow, quick) = (listen().await, listen().await);
    let mut took = 0;
    for _ in 0..30 {
        for _ in 0..100 {
            publish(&hub, &[id(1)], "7 bytes", 0).await;
        }
        took += received(&hub, &quick).await.0.len();
    }
    // A mebibyte is 2000 of them; what is taken goes out in frames of a quarter.
    assert_eq!(took, 3000);
    assert_eq!(received(&hub, &slow).await, (vec![], Some(Closed::TooSlow)));
    for _ in 0..1000 {
        publish(&hub, &[id(1)], "7 bytes", 0).await;
    }
    let first = received(&hub, &quick).await.0.len();
    assert!((400..600).contains(&first), "{first}");
    let mut rest = Vec::new();
    quick.take_queued(&mut rest);
    assert_eq!(first + rest.len(), 1000);
}

/// A core that is busy elsewhere for a while has much to deliver at once.
pub(super) async fn a_burst_does_not_make_a_quick_subscriber_slow(setup: Setup) {
    const MESSAGES: usize = 10_000;
    let hub = setup.start(START);
    let (subscription, _) = hub
        .subscribe(0, &channels(&[1], false), None)
        .await
        .unwrap();
    for _ in 0..MESSAGES {
        publish(&hub, &[id(1)], "7 bytes", 0).await;
    }
    let deliverer = tokio::spawn({
        let hub = Arc::clone(&hub);
        async move { hub.deliver(0).await }
    });
    let mut came = 0;
    while came < MESSAGES {
        let mut piece = Vec::new();
        subscription.next(&mut piece).await.unwrap();
        came += piece.len();
    }
    deliverer.abort();
}
