//! What a sender may ask for, checked before anything of it is done.
//!
//! The order of the checks decides which error is told, and follows the reference server: for a request
//! of a client the public id it needs, then the form, then the command; for each message the number of
//! its receivers, then each of them. One error anywhere, and nothing is published.

use bytes::Bytes;

use super::request::{Address, Incoming, Request, decode_request};
use crate::channel::{PublicId, Receiver};
use crate::message::{Body, Expiry, MessageType, Sender};
use crate::signature::SignatureKey;
use crate::status::Status;

/// What the sender of a request may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// The site, on the pub route: every command but registration, every channel, no signatures.
    Trusted,
    /// The site, which said beside the request to whom it goes: publishing alone, and what channels its
    /// messages name does not count.
    TrustedByNumber,
    /// A browser, on the rest route or over a websocket: publishing and channel statistics, public
    /// channels only, each with its signature.
    Untrusted {
        /// The first public id of its `CHANNEL_ID`, without which it may do nothing.
        sender: Option<PublicId>,
    },
}

impl Rights {
    fn sender(self) -> Result<Sender, Status> {
        match self {
            Self::Trusted | Self::TrustedByNumber => Ok(Sender::Backend),
            Self::Untrusted { sender } => {
                sender.map(Sender::Client).ok_or(Status::PublicIdRequired)
            }
        }
    }
}

/// How much one request may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Messages in a request; 100 by default. `maxMessagesPerRequest` of the reference server.
    pub max_messages: usize,
    /// Receivers of each message, or channels of a question; 100 by default. `maxChannelsPerRequest` of
    /// the reference server.
    pub max_channels: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_messages: 100,
            max_channels: 100,
        }
    }
}

/// A request that may be carried out. Keeps nothing of the data it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// Publish these, in this order. None is allowed, and does nothing.
    Publish(Vec<Publication>),
    /// Tell which of these channels are online, in this order.
    ChannelStats(Vec<Receiver>),
    /// Tell the server's statistics.
    ServerStats,
}

/// A message that may be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Where it goes; what is named twice receives twice. May be empty: a client may prove an id that is
    /// not 16 bytes, and nobody listens to such a one.
    pub receivers: Vec<Receiver>,
    /// The raw signatures of the receivers as they came, in the same order; empty where there was none.
    pub signatures: Vec<Vec<u8>>,
    /// What it says.
    pub body: Body,
    /// For how long to keep it; the server's limit is not applied yet.
    pub expiry: Expiry,
    /// Its label in the statistics.
    pub label: MessageType,
    /// Who sent it: the site, or the client that has this public id.
    pub sender: Sender,
}

/// Reads a request and checks it, both in the reference server's order.
///
/// # Errors
///
/// The status to refuse it with: [`Status::PublicIdRequired`] even for data that is no request, then
/// those of [`decode_request`], then those of [`check`].
pub fn accept(
    data: &[u8],
    rights: Rights,
    limits: &Limits,
    key: &SignatureKey,
) -> Result<Checked, Status> {
    rights.sender()?;
    check(decode_request(data)?, rights, limits, key)
}

/// Checks a request that was read before.
///
/// # Errors
///
/// The status to refuse it with; every code from 4012 to 4021.
#[allow(
    clippy::needless_pass_by_value,
    reason = "a request is checked once, and used up by it"
)]
pub fn check(
    request: Request<'_>,
    rights: Rights,
    limits: &Limits,
    key: &SignatureKey,
) -> Result<Checked, Status> {
    let sender = rights.sender()?;
    let checker = Checker {
        rights,
        limits,
        key,
    };
    match request {
        Request::Publish(messages) => {
            if messages.len() > limits.max_messages {
                return Err(Status::TooManyMessages);
            }
            let receivers = messages
                .iter()
                .map(|message| checker.receivers(&message.receivers))
                .collect::<Result<Vec<_>, _>>()?;
            let publications = messages.iter().zip(receivers);
            Ok(Checked::Publish(
                publications
                    .map(|(message, receivers)| publication(message, receivers, sender))
                    .collect(),
            ))
        }
        Request::ChannelStats(_) if rights == Rights::TrustedByNumber => {
            Err(Status::CommandNotAllowed)
        }
        Request::ChannelStats(channels) => checker.receivers(&channels).map(Checked::ChannelStats),
        Request::ServerStats => match rights {
            Rights::Trusted => Ok(Checked::ServerStats),
            Rights::TrustedByNumber | Rights::Untrusted { .. } => Err(Status::CommandNotAllowed),
        },
        Request::Registration => Err(match rights {
            Rights::Trusted => Status::WrongCommand,
            Rights::TrustedByNumber | Rights::Untrusted { .. } => Status::CommandNotAllowed,
        }),
    }
}

fn publication(message: &Incoming<'_>, receivers: Vec<Receiver>, sender: Sender) -> Publication {
    let named = message.receivers.iter();
    let signatures = named
        .filter(|address| address.receiver().is_some())
        .map(|address| address.signature.to_vec())
        .collect();
    Publication {
        receivers,
        signatures,
        body: Body::from_lossy(Bytes::copy_from_slice(message.body)),
        expiry: Expiry::of_seconds(message.expiry),
        label: MessageType::parse(message.label),
        sender,
    }
}

struct Checker<'a> {
    rights: Rights,
    limits: &'a Limits,
    key: &'a SignatureKey,
}

impl Checker<'_> {
    fn receivers(&self, addresses: &[Address<'_>]) -> Result<Vec<Receiver>, Status> {
        if self.rights == Rights::TrustedByNumber {
            return Ok(Vec::new());
        }
        if addresses.is_empty() {
            return Err(Status::NoChannels);
        }
        if addresses.len() > self.limits.max_channels {
            return Err(Status::TooManyChannels);
        }
        let mut receivers = Vec::with_capacity(addresses.len());
        for address in addresses {
            receivers.extend(self.receiver(address)?);
        }
        Ok(receivers)
    }

    /// `None` if the address is allowed, and is of no channel that there could be.
    fn receiver(&self, address: &Address<'_>) -> Result<Option<Receiver>, Status> {
        let receiver = address.receiver();
        match self.rights {
            Rights::Trusted if receiver.is_none() => Err(Status::InvalidChannelId),
            Rights::Trusted | Rights::TrustedByNumber => Ok(receiver),
            Rights::Untrusted { .. } if address.is_private => Err(Status::PrivateNotAllowed),
            Rights::Untrusted { .. } => {
                if !self.key.verify_public(address.id, address.signature) {
                    return Err(Status::InvalidSignature);
                }
                Ok(receiver)
            }
        }
    }
}
