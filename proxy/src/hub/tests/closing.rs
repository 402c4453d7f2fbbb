//! Subscribers that are sent away.

use futures_util::FutureExt;

use super::*;

pub(super) async fn who_is_sent_away_goes_by_and_by(setup: Setup) {
    let hub = setup.start(START);
    let listen = async || {
        let all = channels(&[1], false);
        hub.subscribe(0, &all, None).await.unwrap().0
    };
    let mut subscriptions = Vec::new();
    for _ in 0..100 {
        subscriptions.push(listen().await);
    }
    let closed = async |subscriptions: &[Subscription]| {
        let mut closed = 0;
        for subscription in subscriptions {
            closed += usize::from(received(&hub, subscription).await.1 == Some(Closed::Drained));
        }
        closed
    };
    let mut closing = Box::pin(hub.close_all(Duration::from_secs(10)));
    assert!(closing.as_mut().now_or_never().is_none());
    // All of them listen to one channel.
    assert!((1..10).contains(&closed(&subscriptions).await));
    // Who comes meanwhile goes again.
    assert_eq!(closed(&[listen().await]).await, 1);
    closing.await;
    assert_eq!(closed(&subscriptions).await, 100);
}
