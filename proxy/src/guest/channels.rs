//! What a guest's client is told to listen to, signed as the site's own channels are.

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
