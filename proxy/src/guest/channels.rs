//! What a guest's client is told to listen to, signed as the site's own channels are.

use pullgate_compat::channel::{ChannelList, Receiver};
use pullgate_compat::guest::{GuestId, GuestKeys};
use pullgate_compat::signature::SignatureKey;

/// The newest channels of a guest, as `CHANNEL_ID` has them.
#[derive(Debug)]
pub(crate) struct Signed {
    /// `private:public.signature`, or `private.signature` where no public id is wanted.
    pub(crate) private: String,
    /// `public.signature`; empty where none is wanted.
    pub(crate) public: String,
    /// `private.signature` of the channel of all guests.
    pub(crate) shared: String,
}

impl Signed {
    pub(crate) fn of(
        id: GuestId,
        keys: &GuestKeys,
        key: &SignatureKey,
        now: u64,
        with_public: bool,
    ) -> Self {
        let channels = keys.channels(id, now);
        let signed = |text: String| {
            let signature = key.sign(&text);
            format!("{text}.{signature}")
        };
        let (private, public) = (channels.private.to_string(), channels.public.to_string());
        let shared = signed(keys.shared_channel(now).to_string());
        match with_public {
            true => Self {
                private: signed(format!("{private}:{public}")),
                public: format!("{public}.{}", key.sign(&format!("public:{public}"))),
                shared,
            },
            false => Self {
                private: signed(private),
                public: String::new(),
                shared,
            },
        }
    }
}

/// Whether a browser listens as a user, though its cookie is a guest's: users have it too, from before their login.
/// Beside a guest's own channels its list has the module's shared one at most; a user's has a pair of ids that is
/// not this guest's, or, up to version 3, two channels without public ids.
pub(crate) fn are_of_a_user(
    list: &ChannelList,
    guest: GuestId,
    keys: &GuestKeys,
    now: u64,
) -> bool {
    let mut own = keys.receivers(Some(guest), now, 0);
    own.extend(keys.receivers(None, now, 0));
    let mut others = list
        .channels()
        .iter()
        .filter(|channel| !own.contains(&Receiver::Private(channel.private)));
    let first = others.next();
    first.is_some_and(|channel| channel.public.is_some()) || others.next().is_some()
}

#[cfg(test)]
mod tests {
    use pullgate_compat::channel::Role;
    use pullgate_compat::signature::Algorithm;

    use super::*;

    #[test]
    fn whose_list_it_is() {
        let keys = GuestKeys::derive(&["a secret that is long enough for it"], "").unwrap();
        let key = SignatureKey::new(Algorithm::Sha1, "key");
        let now = 1_800_000_000;
        let guest = GuestId::new(17).unwrap();
        let own = |now| Signed::of(guest, &keys, &key, now, true);
        let other = Signed::of(GuestId::new(18).unwrap(), &keys, &key, now, true);
        let signed = |text: String| format!("{text}.{}", key.sign(&text));
        let (a, b) = (signed("a".repeat(32)), signed("b".repeat(32)));
        let pair = signed(format!("{}:{}", "c".repeat(32), "d".repeat(32)));
        let is_users = |parts: &[&str]| {
            let list = ChannelList::parse(&parts.join("/"), &key, Role::Subscriber);
            assert_eq!(list.channels().len(), parts.len());
            are_of_a_user(&list, guest, &keys, now)
        };
        let (mine, before) = (own(now), own(now - 43_200));
        for guests in [
            &[&*a][..],
            &[&mine.private, &a],
            &[&mine.private, &mine.shared],
            &[&before.private, &before.shared, &a],
        ] {
            assert!(!is_users(guests), "{guests:?}");
        }
        for users in [
            &[&*pair][..],
            &[&pair, &a],
            &[&a, &pair],
            &[&a, &b],
            &[&other.private, &mine.shared],
        ] {
            assert!(is_users(users), "{users:?}");
        }
    }
}
