//! The channels of a guest: derived, not stored, so that every node has the same, after every restart.
//!
//! ```text
//! id = the first 16 bytes of HMAC-SHA256(key, kind 00 number 00 epoch)
//! ```
//!
//! where key is that of the purpose `guest-channel`, kind is `private`, `public` or `shared`, number is the
//! guest's (0 for `shared`, which is everybody's) and epoch is unix time / 43200. A client is told to ask for new
//! ones within an epoch, so what it listens to is of this epoch or the last.

use super::{GuestId, GuestKeys, Key, authenticate};
use crate::channel::{ChannelId, PublicId, Receiver};

/// How long channels are the newest, in seconds: half a day, as long as the module's.
pub const EPOCH: u64 = 43_200;

/// What a guest listens to, and what others may write to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestChannels {
    /// To the guest alone.
    pub private: ChannelId,
    /// By which a page lets others write to the guest.
    pub public: PublicId,
}

impl GuestKeys {
    /// The newest channels of `id` at `now`, unix seconds.
    pub fn channels(&self, id: GuestId, now: u64) -> GuestChannels {
        let derive = |kind| self.channel.first.channel(kind, id.number(), now / EPOCH);
        GuestChannels {
            private: ChannelId::from_bytes(derive("private")),
            public: PublicId::from_bytes(derive("public")),
        }
    }

    /// The newest channel of all guests at `now`, for sites that have none of their own.
    pub fn shared_channel(&self, now: u64) -> ChannelId {
        ChannelId::from_bytes(self.channel.first.channel("shared", 0, now / EPOCH))
    }

    /// To whom a message at `now` goes that is kept for `expiry` seconds; `None` is everybody.
    ///
    /// The channels of this epoch and the last are listened to now. Those of the epochs up to its expiry
    /// will be listened to by who comes back then and asks for what was missed.
    pub fn receivers(&self, id: Option<GuestId>, now: u64, expiry: u32) -> Vec<Receiver> {
        let (kind, number) = match id {
            Some(id) => ("private", id.number()),
            None => ("shared", 0),
        };
        let epoch = now / EPOCH;
        let last = now.saturating_add(expiry.into()) / EPOCH;
        let derive = |key: &Key, epoch| {
            Receiver::Private(ChannelId::from_bytes(key.channel(kind, number, epoch)))
        };
        let newest =
            (epoch.saturating_sub(1)..=last).map(|epoch| derive(&self.channel.first, epoch));
        // Who asked before the secrets were changed still listens to what the old one made.
        let older = self
            .channel
            .older
            .iter()
            .flat_map(|key| [epoch.saturating_sub(1), epoch].map(|epoch| derive(key, epoch)));
        newest.chain(older).collect()
    }
}

impl Key {
    fn channel(&self, kind: &str, number: u32, epoch: u64) -> [u8; 16] {
        let text = [kind, "\0", &number.to_string(), "\0", &epoch.to_string()];
        let whole = authenticate(self.keyed.clone(), &text);
        *whole.first_chunk().expect("a digest has 32 bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "an old secret that is long enough for it";
    const NEW_SECRET: &str = "a new secret that is long enough for it";

    fn keys(secrets: &[&str], site: &str) -> GuestKeys {
        GuestKeys::derive(secrets, site).unwrap()
    }

    fn guest(number: u32) -> GuestId {
        GuestId::new(number).unwrap()
    }

    #[test]
    fn channels_differ_by_guest_epoch_site_and_kind() {
        let keys_ = keys(&[SECRET], "");
        let now = 100 * EPOCH;
        let all = [
            keys_.channels(guest(1), now).private,
            keys_.channels(guest(2), now).private,
            keys_.channels(guest(1), now + EPOCH).private,
            keys_.channels(guest(1), now - 1).private,
            keys(&[SECRET], "other").channels(guest(1), now).private,
            keys(&[NEW_SECRET], "").channels(guest(1), now).private,
            keys_.shared_channel(now),
            ChannelId::from_bytes(*keys_.channels(guest(1), now).public.as_bytes()),
        ];
        for (at, channel) in all.iter().enumerate() {
            assert!(!all[..at].contains(channel), "{at}");
        }
        assert_eq!(
            keys_.channels(guest(1), now),
            keys_.channels(guest(1), now + EPOCH - 1)
        );
    }

    #[test]
    fn a_message_reaches_who_listens_and_who_will() {
        let keys = keys(&[SECRET], "");
        let now = 100 * EPOCH + 7;
        let received = |expiry, at| {
            keys.receivers(Some(guest(1)), now, expiry)
                .contains(&Receiver::Private(keys.channels(guest(1), at).private))
        };
        assert!(received(0, now) && received(0, now - EPOCH));
        assert!(!received(0, now - 2 * EPOCH) && !received(0, now + EPOCH));
        assert!(received(86_400, now + 86_400));
        let shared = Receiver::Private(keys.shared_channel(now));
        assert!(keys.receivers(None, now, 0).contains(&shared));
    }

    #[test]
    fn an_old_secret_still_reaches_who_asked_before() {
        let (before, after) = (keys(&[SECRET], ""), keys(&[NEW_SECRET, SECRET], ""));
        let now = 100 * EPOCH;
        let old = Receiver::Private(before.channels(guest(1), now).private);
        assert!(after.receivers(Some(guest(1)), now, 0).contains(&old));
        assert_ne!(
            before.channels(guest(1), now),
            after.channels(guest(1), now)
        );
    }
}
