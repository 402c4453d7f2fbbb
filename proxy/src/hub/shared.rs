//! With Redis, and through it with other nodes: messages get their ids there and come back from there.

use std::sync::Arc;
use std::time::Instant;

use pullgate_compat::channel::Receiver;
use pullgate_compat::message::{Message, MessageId};
use pullgate_compat::wire::Recipient;

use super::{Hub, Overloaded, Refused};
use crate::clock::unix_time;
use crate::history::redis::publish::{self, Publication};
use crate::history::redis::{Audience, Redis};
use crate::history::{Archive, Draft};

impl Hub {
    /// Publishes where the ids, and the messages too, come from Redis: see [`Audience::deliver`].
    pub(super) async fn hand_over(&self, redis: &Redis, drafts: Vec<Draft>) -> Result<(), Refused> {
        if let Some(behind) = self.overloaded() {
            return Err(Overloaded(behind).into());
        }
        let now = unix_time().as_secs();
        let longest = self.sequence().limits.message_ttl;
        let publication = |draft: Draft| {
            let mut signatures = draft.signatures.into_iter();
            let recipients = draft.receivers.iter().map(|receiver| Recipient {
                receiver: *receiver,
                signature: signatures.next().unwrap_or_default(),
            });
            Publication {
                recipients: recipients.collect(),
                message: Message {
                    id: MessageId::MIN,
                    body: draft.body,
                    expiry: draft.expiry.min(longest),
                    created: u32::try_from(now).unwrap_or(u32::MAX),
                    sender: draft.sender,
                },
            }
        };
        let publications = drafts.into_iter().map(publication).collect();
        redis.publish(publications).await.map_err(|why| match why {
            publish::Refused::Full(waiting) => Overloaded(waiting).into(),
            publish::Refused::Unavailable(why) => why.into(),
        })
    }

    /// Which of `receivers` anybody listens to, here or at another node.
    pub(crate) async fn online(&self, receivers: &[Receiver]) -> Vec<bool> {
        let mut online: Vec<bool> = {
            let (sequence, now) = (self.sequence(), Instant::now());
            let here = |receiver| {
                sequence.channels.contains_key(receiver)
                    || sequence.lingering.contains(receiver, now)
            };
            receivers.iter().map(here).collect()
        };
        if let Archive::Redis(redis) = &self.archive {
            let others: Vec<(&Receiver, &mut bool)> = receivers
                .iter()
                .zip(&mut online)
                .filter(|(_, here)| !**here)
                .collect();
            let (asked, answers): (Vec<&Receiver>, Vec<&mut bool>) = others.into_iter().unzip();
            for (answer, there) in answers.into_iter().zip(redis.online(&asked).await) {
                *answer = there;
            }
        }
        online
    }
}

/// What comes from Redis, of all nodes.
impl Audience for Hub {
    fn deliver(&self, message: Arc<Message>, receivers: &[Receiver]) {
        self.dispatch(&self.sequence(), message, receivers);
    }

    fn listening(&self) -> Vec<Receiver> {
        self.sequence().channels.keys().copied().collect()
    }

    fn left(&self, mut receivers: Vec<Receiver>) -> Vec<Receiver> {
        let (sequence, now) = (self.sequence(), Instant::now());
        receivers.retain(|receiver| {
            !sequence.channels.contains_key(receiver) && !sequence.lingering.contains(receiver, now)
        });
        receivers
    }
}
