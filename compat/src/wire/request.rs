//! Requests, as they were sent: read, and not yet checked.

use super::reader::{Malformed, Value, fields};
use crate::channel::Receiver;
use crate::status::Status;

/// What the first request of a `RequestBatch` asks for. Borrows from the data it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request<'a> {
    /// Publish these.
    Publish(Vec<Incoming<'a>>),
    /// Tell which of these channels are online.
    ChannelStats(Vec<Address<'a>>),
    /// Tell the server's statistics.
    ServerStats,
    /// Register with a hosted cluster. No server of a site does that.
    Registration,
}

/// A message to publish. What it says about its sender is not read: it never counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Incoming<'a> {
    /// Where it goes.
    pub receivers: Vec<Address<'a>>,
    /// What it says; not always UTF-8.
    pub body: &'a [u8],
    /// For how many seconds to keep it; the server's limit is not applied yet.
    pub expiry: u32,
    /// Its label in the statistics; any bytes.
    pub label: &'a [u8],
}

/// A channel as a request names it: `Receiver` of a message, `ChannelId` of a question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Address<'a> {
    /// 16 bytes if it is an id.
    pub id: &'a [u8],
    /// Which kind of id it is.
    pub is_private: bool,
    /// Raw digest over a public id; empty if there is none.
    pub signature: &'a [u8],
}

/// How many messages and channels of one request are read at most, both together. What is beyond is
/// refused as too many whatever the configured limits say: each may take only two bytes of the request,
/// and some fifty in memory.
const MOST_PARTS: usize = 20_000;

/// Reads the first request of a `RequestBatch`; others are not looked at. If it holds several commands,
/// the last counts.
///
/// # Errors
///
/// [`Status::WrongRequestData`] for what is not a `RequestBatch` with a request with a command.
/// [`Status::TooManyMessages`] or [`Status::TooManyChannels`] for more than 20000 parts.
pub fn decode_request(data: &[u8]) -> Result<Request<'_>, Status> {
    let mut first = None;
    for field in fields(data) {
        if let (1, request) = field? {
            let request = request.bytes()?;
            first.get_or_insert(request);
        }
    }
    let mut command = None;
    for field in fields(first.ok_or(Malformed)?) {
        if let (number @ 1..=4, content) = field? {
            command = Some((number, content.bytes()?));
        }
    }
    let mut parts = Parts(0);
    match command {
        Some((1, content)) => messages(content, &mut parts).map(Request::Publish),
        Some((2, content)) => channels(content, &mut parts).map(Request::ChannelStats),
        Some((3, content)) => {
            well_formed(content)?;
            Ok(Request::ServerStats)
        }
        Some((4, content)) => {
            well_formed(content)?;
            Ok(Request::Registration)
        }
        Some(_) | None => Err(Status::WrongRequestData),
    }
}

fn messages<'a>(data: &'a [u8], parts: &mut Parts) -> Result<Vec<Incoming<'a>>, Status> {
    let mut messages = Vec::new();
    for field in fields(data) {
        if let (1, message) = field? {
            parts.count(Status::TooManyMessages)?;
            messages.push(incoming(message.bytes()?, parts)?);
        }
    }
    Ok(messages)
}

fn incoming<'a>(data: &'a [u8], parts: &mut Parts) -> Result<Incoming<'a>, Status> {
    let mut message = Incoming::default();
    for field in fields(data) {
        match field? {
            (1, receiver) => message.receivers.push(address(receiver, parts)?),
            (2, sender) => well_formed(sender.bytes()?)?,
            (3, body) => message.body = body.bytes()?,
            (4, expiry) => message.expiry = expiry.uint32()?,
            (5, label) => message.label = label.bytes()?,
            _ => {}
        }
    }
    Ok(message)
}

fn channels<'a>(data: &'a [u8], parts: &mut Parts) -> Result<Vec<Address<'a>>, Status> {
    let mut channels = Vec::new();
    for field in fields(data) {
        if let (1, channel) = field? {
            channels.push(address(channel, parts)?);
        }
    }
    Ok(channels)
}

fn address<'a>(value: Value<'a>, parts: &mut Parts) -> Result<Address<'a>, Status> {
    parts.count(Status::TooManyChannels)?;
    Ok(Address::read(value.bytes()?)?)
}

impl<'a> Address<'a> {
    pub(super) fn read(data: &'a [u8]) -> Result<Self, Malformed> {
        let mut address = Self::default();
        for field in fields(data) {
            match field? {
                (1, id) => address.id = id.bytes()?,
                (2, is_private) => address.is_private = is_private.bool()?,
                (3, signature) => address.signature = signature.bytes()?,
                _ => {}
            }
        }
        Ok(address)
    }

    /// The channel it names, if its id is one.
    pub fn receiver(&self) -> Option<Receiver> {
        Receiver::from_parts(self.id, self.is_private)
    }
}

/// Reads what nobody needs, for its errors.
fn well_formed(data: &[u8]) -> Result<(), Malformed> {
    fields(data).try_for_each(|field| field.map(|_| ()))
}

/// Parts of the request read so far; see [`MOST_PARTS`].
struct Parts(usize);

impl Parts {
    fn count(&mut self, too_many: Status) -> Result<(), Status> {
        self.0 += 1;
        if self.0 > MOST_PARTS {
            return Err(too_many);
        }
        Ok(())
    }
}

impl From<Malformed> for Status {
    fn from(Malformed: Malformed) -> Self {
        Self::WrongRequestData
    }
}
