//! Who is online, for the other nodes: marks that go by themselves when nobody renews them.

use std::collections::HashSet;
use std::sync::Arc;

use pullgate_compat::channel::Receiver;
use tokio::sync::mpsc;

use super::connection::Link;
use super::{Audience, commands};

/// Sets the marks of channels that are listened to. While Redis is unreachable there are none to renew; when
/// it is back all are set.
pub(super) async fn mark(
    mut listened: mpsc::Receiver<Box<[Receiver]>>,
    audience: Arc<dyn Audience>,
    link: Link,
    seconds: u64,
) {
    let mut seen = 0;
    let mut lists: Vec<Box<[Receiver]>> = Vec::new();
    loop {
        let (channels, mut session) = tokio::select! {
            (number, session) = link.next(seen) => {
                seen = number;
                (audience.listening(), session)
            }
            count = listened.recv_many(&mut lists, commands::MANY) => {
                let channels: HashSet<Receiver> = lists.drain(..).flatten().collect();
                match link.now() {
                    Some(session) if count > 0 => (channels.into_iter().collect(), session),
                    None if count > 0 => continue,
                    Some(_) | None => return,
                }
            }
        };
        for some in channels.chunks(commands::MANY) {
            if let Err(why) = commands::mark_online(&mut session.commands, some, seconds).await {
                tracing::warn!(%why, "channels cannot be marked as online");
                break;
            }
        }
    }
}
