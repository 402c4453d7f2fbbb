//! What all that waits takes together, and who goes for it.

use super::*;
use crate::net::cut_off::CutOff;

const MIB: usize = 1 << 20;
const BODY: usize = 100_000;

fn long(number: usize) -> &'static str {
    format!("{number:04}{}", "x".repeat(BODY)).leak()
}

async fn listener(hub: &Arc<Hub>, number: u8) -> Subscription {
    let channels = channels(&[number], false);
    hub.subscribe(0, &channels, None).await.unwrap().0
}

pub(super) async fn a_message_for_many_is_kept_once(setup: Setup) {
    let hub = setup.start(START);
    let mut listeners = Vec::new();
    for _ in 0..1000 {
        listeners.push(listener(&hub, 1).await);
    }
    for number in 0..3 {
        publish(&hub, &[id(1)], long(number), 0).await;
    }
    assert_eq!(received(&hub, &listeners[0]).await.0.len(), 3);
    let mut taken = Vec::new();
    for listener in &listeners[1..] {
        listener.take_queued(&mut taken);
    }
    // Three messages, and their frames.
    let frames = taken.iter().map(|it| it.encoded(outgoing::Format::Text));
    let frames: Vec<_> = frames.cloned().collect();
    let used = setup.queues.used();
    assert!((6 * BODY..7 * BODY).contains(&used), "{used}");
    // Whoever has a part of a frame keeps all of it.
    let part = frames[0].slice(..1);
    drop((taken, frames));
    let used = setup.queues.used();
    assert!((BODY..2 * BODY).contains(&used), "{used}");
    drop((part, listeners));
    assert_eq!(setup.queues.used(), 0);
}

/// Eight that take nothing share more than may wait; one takes what comes.
pub(super) async fn the_slowest_go_when_all_together_are_too_much(setup: Setup) {
    let hub = setup.start(START);
    setup.queues.set_max(4 * MIB);
    let quick = listener(&hub, 0).await;
    let mut slow = Vec::new();
    for number in 1..=8 {
        slow.push(listener(&hub, number).await);
    }
    let mut most = 0;
    for number in 0..9 {
        for channel in 0..=8 {
            publish(&hub, &[id(channel)], long(number), 600).await;
        }
        let (got, closed) = received(&hub, &quick).await;
        assert!(
            got == [long(number)] && closed.is_none(),
            "{number}: {closed:?}"
        );
        most = most.max(setup.queues.used());
    }
    // 8 times 9 messages are 7 MiB: half of these, and no more, had to go.
    assert!((3 * MIB..=4 * MIB).contains(&most), "{most}");
    let mut gone = 0;
    for (listener, channel) in slow.iter().zip(1..) {
        let (got, closed) = received(&hub, listener).await;
        match closed {
            Some(Closed::NoRoom) => gone += 1,
            closed => assert_eq!((got.len(), closed), (3, None), "a piece"),
        }
        if setup.engine == Engine::Memory {
            continue; // It has let go of most.
        }
        // Whoever comes back has lost nothing.
        let (_, missed) = hub
            .subscribe(0, &channels(&[channel], false), Some(MessageId::MIN))
            .await
            .unwrap();
        setup.queues.set_max(1 << 40);
        let all: Vec<_> = (0..9).map(long).collect();
        assert!(texts(missed).await == all);
        setup.queues.set_max(4 * MIB);
    }
    assert!((3..=6).contains(&gone), "{gone}");
    drop((slow, quick));
    assert_eq!(setup.queues.used(), 0);
}

/// A client that does not take its piece is cut off for another that wants one.
pub(super) async fn who_catches_up_waits_for_room_that_others_do_not_give(setup: Setup) {
    let hub = setup.start(START);
    publish(&hub, &[id(1)], long(0), 600).await;
    let catch_up = async || {
        let channels = channels(&[1], false);
        let all = hub.subscribe(0, &channels, Some(MessageId::MIN)).await;
        all.unwrap().1
    };
    setup.queues.set_max(outgoing::PIECE + BODY + BODY / 2);
    let cut_off = CutOff::default();
    let mut slow = catch_up().await;
    slow.read_over(Some(cut_off.clone()));
    let piece = slow.next().await.unwrap();
    let held = slow.encoded(&piece, outgoing::Format::Text);
    drop(slow);
    assert!(setup.queues.used() >= BODY);
    let mut next = catch_up().await;
    let reading = tokio::spawn(async move { next.next().await.unwrap().len() });
    while !cut_off.is_cut() {
        assert!(!reading.is_finished(), "there was room");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Its connection has ended.
    drop(held);
    assert_eq!(reading.await.unwrap(), 1);
    assert_eq!(setup.queues.used(), 0);
}
