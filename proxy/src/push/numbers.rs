//! Publishing to guests by number: `USER_ID=-17/-18`, or `USER_ID=0` for all of them.

use pullgate_compat::channel::Receiver;
use pullgate_compat::guest::{GuestId, GuestKeys};

use crate::clock::unix_time;

/// To whom; `None` is everybody.
#[derive(Debug)]
pub(crate) struct Numbers<'a> {
    keys: &'a GuestKeys,
    guests: Vec<Option<GuestId>>,
}

/// Numbers that nothing can be sent to. Shown to the publisher.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadNumbers {
    #[error("USER_ID: {0:?} is no guest; expected 0 or -1 to -2147483647, several joined by /")]
    NoGuest(String),
    #[error("USER_ID: {0} numbers, at most {1} are allowed")]
    TooMany(usize, usize),
    #[error("USER_ID: guests are not served here, see guest.enabled and guest.push.enabled")]
    NotServed,
}

impl<'a> Numbers<'a> {
    /// Reads the parameter; one bad number makes all of it bad, so that nothing is half sent.
    pub(crate) fn parse(value: &str, keys: &'a GuestKeys, max: usize) -> Result<Self, BadNumbers> {
        let guests: Vec<_> = value.split('/').map(guest).collect::<Result<_, _>>()?;
        if guests.len() > max {
            return Err(BadNumbers::TooMany(guests.len(), max));
        }
        Ok(Self { keys, guests })
    }

    /// The channels for a message that is kept for `expiry` seconds.
    pub(crate) fn receivers(&self, expiry: u32) -> Vec<Receiver> {
        self.receivers_at(unix_time().as_secs(), expiry)
    }

    fn receivers_at(&self, now: u64, expiry: u32) -> Vec<Receiver> {
        self.guests
            .iter()
            .flat_map(|guest| self.keys.receivers(*guest, now, expiry))
            .collect()
    }
}

fn guest(number: &str) -> Result<Option<GuestId>, BadNumbers> {
    if number == "0" {
        return Ok(None);
    }
    number
        .strip_prefix('-')
        .filter(|digits| !digits.starts_with(['0', '+']))
        .and_then(|digits| GuestId::new(digits.parse().ok()?))
        .map(Some)
        .ok_or_else(|| BadNumbers::NoGuest(number.chars().take(20).collect()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pullgate_compat::channel::{ChannelList, Role};
    use pullgate_compat::guest::EPOCH;
    use pullgate_compat::message::{Body, Message, MessageId, Sender};
    use pullgate_compat::signature::{Algorithm, SignatureKey};

    use super::*;
    use crate::guest::channels::Signed;
    use crate::history::{Archive, Draft};
    use crate::hub::memory::Queues;
    use crate::hub::{Hub, Limits};

    #[test]
    fn guests_and_everybody_but_no_users() {
        let keys = GuestKeys::derive(&["a secret that is long enough for it"], "").unwrap();
        let parse = |value: &str| Numbers::parse(value, &keys, 2).map(|numbers| numbers.guests);
        let guest = |number| GuestId::new(number);
        assert_eq!(
            parse("-17/-2147483647"),
            Ok(vec![guest(17), guest(2_147_483_647)])
        );
        assert_eq!(parse("0"), Ok(vec![None]));
        for bad in [
            "",
            "17",
            "-",
            "-0",
            "+1",
            "-+1",
            "-01",
            "--1",
            "-17/",
            "-17,-18",
            "-2147483648",
            " -1",
        ] {
            assert!(matches!(parse(bad), Err(BadNumbers::NoGuest(_))), "{bad:?}");
        }
        assert_eq!(parse("-1/-2/-3"), Err(BadNumbers::TooMany(3, 2)));
    }

    /// A hub with no history but its memory.
    fn hub() -> Arc<Hub> {
        let limits = Limits {
            connections_per_channel: 100,
            message_ttl: 86_400,
            subscriber_queue: 1 << 20,
        };
        let queues = Arc::new(Queues::new(1 << 30));
        Arc::new(Hub::new(
            1,
            1_700_000_000,
            1 << 20,
            Archive::None,
            limits,
            &queues,
        ))
    }

    async fn publish(hub: &Hub, receivers: Vec<Receiver>, body: &'static str) {
        let draft = Draft {
            receivers,
            signatures: Vec::new(),
            body: Body::from_lossy(body.into()),
            expiry: 60,
            sender: Sender::Backend,
        };
        hub.publish(vec![draft]).await.unwrap();
    }

    /// What a client that has asked for its configuration at `asked` catches up with.
    async fn missed(hub: &Arc<Hub>, keys: &GuestKeys, asked: &[u64]) -> Vec<String> {
        let key = SignatureKey::new(Algorithm::Sha1, "key");
        let signed = asked
            .iter()
            .map(|asked| Signed::of(GuestId::new(17).unwrap(), keys, &key, *asked, true).private);
        let list = signed.collect::<Vec<_>>().join("/");
        let channels = ChannelList::parse(&list, &key, Role::Subscriber);
        let (_, mut missed) = hub
            .subscribe(0, &channels, Some(MessageId::MIN))
            .await
            .unwrap();
        let text = |message: &Arc<Message>| String::from_utf8_lossy(message.body.as_bytes()).into();
        missed.next().await.unwrap().iter().map(text).collect()
    }

    #[tokio::test]
    async fn an_epochs_end_loses_and_doubles_nothing() {
        let keys = GuestKeys::derive(&["a secret that is long enough for it"], "").unwrap();
        let numbers = Numbers::parse("-17", &keys, 1).unwrap();
        let (before, after) = (100 * EPOCH - 10, 100 * EPOCH + 10);
        let hub = hub();
        publish(&hub, numbers.receivers_at(before, 60), "before").await;
        publish(&hub, numbers.receivers_at(after, 60), "after").await;
        // The client that has not asked again, the one that has, and one that listens to both.
        for asked in [&[before][..], &[after], &[before, after]] {
            assert_eq!(
                missed(&hub, &keys, asked).await,
                ["before", "after"],
                "{asked:?}"
            );
        }
        assert_eq!(missed(&hub, &keys, &[before - EPOCH]).await, ["before"]);
    }
}
