//! Channel ids, and the `CHANNEL_ID` parameter that lists them.
//!
//! A channel id is 16 bytes, written as 32 lower-case hex digits. A *private* id is a secret between
//! the site and one user, who listens to it. A *public* id is handed to other users, who may write
//! to it; nobody can listen to a public id alone, only to the pair of both.

use std::fmt;

use data_encoding::HEXLOWER;

use crate::signature::SignatureKey;

/// One part of a `CHANNEL_ID`: what one subscriber listens to, or one publisher writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Channel {
    /// The secret id.
    pub private: ChannelId,
    /// The id that other clients know, if the site gave one; shared channels have none.
    pub public: Option<PublicId>,
}

impl Channel {
    /// Everything this part names: the private id, then the public one.
    pub fn receivers(&self) -> impl Iterator<Item = Receiver> + use<> {
        [
            Some(Receiver::Private(self.private)),
            self.public.map(Receiver::Public),
        ]
        .into_iter()
        .flatten()
    }

    /// Reads `private[:public][.signature]`, and verifies as much of it as `role` demands.
    fn parse(part: &str, key: &SignatureKey, role: Role) -> Option<Self> {
        let (ids, signature) = match part.split_once('.') {
            Some((ids, signature)) => (ids, Some(signature)),
            None => (part, None),
        };
        let channel = match ids.split_once(':') {
            Some((private, public)) => Self {
                private: ChannelId::parse(private)?,
                public: Some(PublicId::parse(public)?),
            },
            None => Self {
                private: ChannelId::parse(ids)?,
                public: None,
            },
        };
        if !signature.is_none_or(looks_like_signature) {
            return None;
        }
        let needed = match role {
            Role::Subscriber => true,
            Role::Publisher => channel.public.is_some(),
        };
        let proven = !needed || signature.is_some_and(|signature| key.verify(ids, signature));
        proven.then_some(channel)
    }
}

/// Whether `signature` has the form in which signatures are written: 32 to 128 lower-case hex digits.
fn looks_like_signature(signature: &str) -> bool {
    (32..=128).contains(&signature.len())
        && signature
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What a speaker must prove about the channels that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A browser, on the sub and rest routes: every part must be signed.
    Subscriber,
    /// The site itself, on the pub route: a private id alone needs no signature, and a wrong one is
    /// not noticed. A pair must be rightly signed even so.
    Publisher,
}

/// The channels of a `CHANNEL_ID` parameter that have passed verification.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelList(Vec<Channel>);

impl ChannelList {
    /// Reads a decoded `CHANNEL_ID`: parts `private[:public][.signature]` joined by `/`.
    ///
    /// One part that is malformed, or not signed as `role` demands, empties the whole list, as in
    /// the reference server (recording `channel_id_forms`). So does an empty part, such as the one
    /// behind a slash at the end. The number of parts is not limited here.
    pub fn parse(value: &str, key: &SignatureKey, role: Role) -> Self {
        value
            .split('/')
            .map(|part| Channel::parse(part, key, role))
            .collect::<Option<_>>()
            .map_or_else(Self::default, Self)
    }

    /// Adds a channel that needs no proof. A list in which something was wrong stays empty.
    pub fn join(&mut self, private: ChannelId) {
        if !self.is_empty() && self.0.iter().all(|channel| channel.private != private) {
            self.0.push(Channel {
                private,
                public: None,
            });
        }
    }

    /// Whether nothing was named, or something was wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The parts in the order in which they were written, repeated ones repeated.
    pub fn channels(&self) -> &[Channel] {
        &self.0
    }

    /// Every private and public id in order. A message to the list goes to each of them, so what is
    /// named twice receives twice (recording `duplicates`).
    pub fn receivers(&self) -> impl Iterator<Item = Receiver> + '_ {
        self.0.iter().flat_map(Channel::receivers)
    }

    /// Whom messages of this client come from: the first public id of the list, which need not
    /// belong to its first channel.
    pub fn sender(&self) -> Option<PublicId> {
        self.0.iter().find_map(|channel| channel.public)
    }
}

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Receiver {
    /// To those who know the secret id.
    Private(ChannelId),
    /// To those who listen to the pair that this id belongs to.
    Public(PublicId),
}

impl Receiver {
    /// The receiver of an id and its kind, as protobuf has them; `None` if it is not 16 bytes.
    pub fn from_parts(id: &[u8], is_private: bool) -> Option<Self> {
        if is_private {
            ChannelId::from_slice(id).map(Self::Private)
        } else {
            PublicId::from_slice(id).map(Self::Public)
        }
    }
}

/// The two ids are the same 16 bytes with different meanings, so each has its own type.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(crate) [u8; 16]);

        impl $name {
            /// Reads exactly 32 lower-case hex digits.
            pub fn parse(hex: &str) -> Option<Self> {
                let mut id = [0; 16];
                (hex.len() == 32 && HEXLOWER.decode_mut(hex.as_bytes(), &mut id).is_ok())
                    .then_some(Self(id))
            }

            /// The id of these bytes: any 16 bytes are one.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The id of these bytes, if there are 16 of them.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// The bytes as they stand in protobuf and in Redis keys.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut hex = [0; 32];
                HEXLOWER.encode_mut(&self.0, &mut hex);
                f.pad(str::from_utf8(&hex).map_err(|_| fmt::Error)?)
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
    /// A private channel id: a secret between the site and one user, or all users for a shared one.
    ChannelId
}

id! {
    /// A public channel id, by which other clients write to a user.
    PublicId
}

#[cfg(test)]
mod tests;
