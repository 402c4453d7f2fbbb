//! Channel ids and the `CHANNEL_ID` parameter.
//!
//! A *private* id is a secret between the site and one visitor, a *public* id lets other clients
//! write to that visitor. Both are 16 bytes, written as 32 lower-case hex digits.

use std::fmt;

use data_encoding::HEXLOWER;

use crate::signature::SignatureKey;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Reads exactly 32 lower-case hex digits; anything else is no id.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                if text.len() != 32 {
                    return None;
                }
                let mut bytes = [0; 16];
                HEXLOWER.decode_mut(text.as_bytes(), &mut bytes).ok()?;
                Some(Self(bytes))
            }

            /// The id of these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The id of these bytes, if there are 16.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// The id as it stands in protobuf and in Redis keys.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

id! {
    /// A private channel id.
    ChannelId
}
id! {
    /// A public channel id.
    PublicId
}

/// Whom a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Receiver {
    /// Everybody who listens to a private channel.
    Private(ChannelId),
    /// Everybody who listens to the pair that has this public id.
    Public(PublicId),
}

/// One part of a `CHANNEL_ID`: `private[:public][.signature]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channel {
    /// The private id.
    pub private: ChannelId,
    /// The public id of a pair.
    pub public: Option<PublicId>,
}

/// Who sent the `CHANNEL_ID`, which decides what must be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A client that listens or publishes: every part must be signed.
    Subscriber,
    /// The back end: pairs must be signed; a private id alone need not be, and a wrong signature
    /// of one is not noticed, as with the reference server.
    Publisher,
}

/// The channels of a `CHANNEL_ID`. Empty when any part of it is bad.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelList(Vec<Channel>);

impl ChannelList {
    /// Reads parts joined by `/`, already percent-decoded.
    #[must_use]
    pub fn parse(value: &str, key: &SignatureKey, role: Role) -> Self {
        Self(
            value
                .split('/')
                .map(|part| Channel::parse(part, key, role))
                .collect::<Option<_>>()
                .unwrap_or_default(),
        )
    }

    /// No channel was accepted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The channels in the order given.
    #[must_use]
    pub fn channels(&self) -> &[Channel] {
        &self.0
    }

    /// Every private and public id in the order given; repeats are repeated.
    pub fn receivers(&self) -> impl Iterator<Item = Receiver> + '_ {
        self.0.iter().flat_map(Channel::receivers)
    }

    /// What this client's own messages name as their sender: its first public id.
    #[must_use]
    pub fn sender(&self) -> Option<PublicId> {
        self.0.iter().find_map(|channel| channel.public)
    }
}

impl Channel {
    /// The private id, then the public one.
    pub fn receivers(&self) -> impl Iterator<Item = Receiver> + use<> {
        std::iter::once(Receiver::Private(self.private)).chain(self.public.map(Receiver::Public))
    }

    fn parse(part: &str, key: &SignatureKey, role: Role) -> Option<Self> {
        let (ids, signature) = match part.split_once('.') {
            Some((ids, signature)) if is_signature(signature) => (ids, Some(signature)),
            Some(_) => return None,
            None => (part, None),
        };
        let (private, public) = match ids.split_once(':') {
            Some((private, public)) => (private, Some(PublicId::parse(public)?)),
            None => (ids, None),
        };
        let channel = Self {
            private: ChannelId::parse(private)?,
            public,
        };
        let must_verify = role == Role::Subscriber || public.is_some();
        (!must_verify || signature.is_some_and(|signature| key.verify(ids, signature)))
            .then_some(channel)
    }
}

fn is_signature(text: &str) -> bool {
    (32..=128).contains(&text.len())
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::Algorithm;

    const PRIVATE: &str = "0123456789abcdef0123456789abcdef";
    const PUBLIC: &str = "fedcba9876543210fedcba9876543210";

    fn key() -> SignatureKey {
        SignatureKey::new(Algorithm::Sha1, "key")
    }

    fn accepted(value: &str, role: Role) -> usize {
        ChannelList::parse(value, &key(), role).channels().len()
    }

    #[test]
    fn subscribers_must_sign_every_part() {
        let alone = format!("{PRIVATE}.{}", key().sign(PRIVATE));
        let pair = format!("{PRIVATE}:{PUBLIC}");
        let pair = format!("{pair}.{}", key().sign(&pair));
        assert_eq!(accepted(&alone, Role::Subscriber), 1);
        assert_eq!(accepted(&format!("{alone}/{pair}"), Role::Subscriber), 2);
        for bad in [
            PRIVATE.into(),
            format!("{alone}/"),
            format!("{alone}/{PRIVATE}"),
            alone.to_uppercase(),
            format!("{alone}0"),
        ] {
            assert_eq!(accepted(&bad, Role::Subscriber), 0, "{bad}");
        }
    }

    #[test]
    fn publishers_need_no_signature_of_a_lone_private_id() {
        assert_eq!(accepted(PRIVATE, Role::Publisher), 1);
        assert_eq!(
            accepted(&format!("{PRIVATE}.{}", "0".repeat(40)), Role::Publisher),
            1
        );
        assert_eq!(accepted(&format!("{PRIVATE}:{PUBLIC}"), Role::Publisher), 0);
        assert_eq!(accepted(&format!("{PRIVATE}.short"), Role::Publisher), 0);
        assert_eq!(accepted("", Role::Publisher), 0);
    }

    #[test]
    fn the_first_public_id_is_the_sender() {
        let pair = format!("{PRIVATE}:{PUBLIC}");
        let value = format!("{PRIVATE}/{pair}.{}", key().sign(&pair));
        let list = ChannelList::parse(&value, &key(), Role::Publisher);
        assert_eq!(list.sender(), PublicId::parse(PUBLIC));
        assert_eq!(list.receivers().count(), 3);
    }
}
