//! Protobuf, masked where it stands: every substitute is as long as what it stands for, so nothing
//! around it changes. The schema is `compat/proto/pull.proto`.

use pullgate_compat::wire::{self, Field, decode_request, decode_response};

use super::ids::Ids;
use super::{json, text};

/// What a field is.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Message(Schema),
    /// `Receiver` or `ChannelId`: an id in field 1 and its signature in field 3.
    Address,
    Id,
    /// A number, or a message's id: they tell nothing.
    Keep,
    Json,
    /// A label; the one that means none stays.
    Label,
    Text,
}

/// The fields that are known. All others are masked: bytes as text, numbers as 0.
type Schema = &'static [(u32, Kind)];

const REQUESTS: Schema = &[(1, Kind::Message(REQUEST))];
const REQUEST: Schema = &[
    (1, Kind::Message(&[(1, Kind::Message(INCOMING))])),
    (2, Kind::Message(&[(1, Kind::Address)])),
    (3, Kind::Message(&[])),
    (4, Kind::Message(&[(1, Kind::Text), (2, Kind::Text)])),
];
const INCOMING: Schema = &[
    (1, Kind::Address),
    (2, Kind::Message(SENDER)),
    (3, Kind::Text),
    (4, Kind::Keep),
    (5, Kind::Label),
];
const SENDER: Schema = &[(1, Kind::Keep), (2, Kind::Id)];

const RESPONSES: Schema = &[(1, Kind::Message(RESPONSE))];
const RESPONSE: Schema = &[
    (1, Kind::Message(&[(1, Kind::Message(OUTGOING))])),
    (2, Kind::Message(&[(1, Kind::Message(CHANNEL_STATS))])),
    (3, Kind::Message(&[(1, Kind::Json)])),
    (4, Kind::Json),
];
const OUTGOING: Schema = &[
    (1, Kind::Keep),
    (2, Kind::Text),
    (3, Kind::Keep),
    (4, Kind::Keep),
    (5, Kind::Message(SENDER)),
];
const CHANNEL_STATS: Schema = &[(1, Kind::Id), (2, Kind::Keep), (3, Kind::Keep)];

/// Masks a `RequestBatch`.
pub(super) fn mask_request(data: &mut [u8], ids: &Ids) {
    let is_one = |data: &[u8]| decode_request(data).is_ok();
    if is_one(data) {
        message(data, REQUESTS, ids);
    } else {
        // Anything: a text may look like fields, so their form must not save it.
        text::mask(data);
        if is_one(data) {
            data.fill(0xff);
        }
    }
}

/// Masks a `ResponseBatch`.
pub(super) fn mask_response(data: &mut [u8], ids: &Ids) {
    if decode_response(data).is_ok() {
        message(data, RESPONSES, ids);
    } else {
        text::mask(data);
    }
}

fn message(data: &mut [u8], schema: Schema, ids: &Ids) {
    fields(data, |number, value| {
        let known = schema.iter().find(|(known, _)| *known == number);
        match (known.map(|(_, kind)| *kind), value) {
            (Some(Kind::Message(schema)), Value::Bytes(bytes)) => message(bytes, schema, ids),
            (Some(Kind::Address), Value::Bytes(bytes)) => address(bytes, ids),
            (Some(Kind::Id), Value::Bytes(bytes)) => replace(bytes, &ids.raw_id(bytes)),
            (Some(Kind::Keep), _) => {}
            (Some(Kind::Json), Value::Bytes(bytes)) => json::mask(bytes, ids),
            (Some(Kind::Label), Value::Bytes(bytes)) if bytes == b"unknown" => {}
            (_, value) => value.hide(),
        }
    });
}

fn address(data: &mut [u8], ids: &Ids) {
    let mut id = Vec::new();
    // The last of a kind counts.
    fields(&mut data.to_vec(), |number, value| {
        if let (1, Value::Bytes(bytes)) = (number, value) {
            id = bytes.to_vec();
        }
    });
    fields(data, |number, value| match (number, value) {
        (1, Value::Bytes(bytes)) => replace(bytes, &ids.raw_id(bytes)),
        // Whether it is private.
        (2, Value::Number(_)) => {}
        (3, Value::Bytes(bytes)) => replace(bytes, &ids.raw_signature(&id, bytes)),
        (_, value) => value.hide(),
    });
}

fn replace(value: &mut [u8], substitute: &[u8]) {
    if value.len() == substitute.len() {
        value.copy_from_slice(substitute);
    } else {
        value.fill(0);
    }
}

/// What a field holds, where it stands.
enum Value<'a> {
    Bytes(&'a mut [u8]),
    /// A varint, or one of four or eight bytes.
    Number(&'a mut [u8]),
    /// A group's begin or end. Its fields are visited one by one, as if they were of the message.
    Nothing,
}

impl Value<'_> {
    fn hide(self) {
        match self {
            Value::Bytes(bytes) => text::mask(bytes),
            // The high bits say where a varint ends.
            Value::Number(bytes) => bytes.iter_mut().for_each(|byte| *byte &= 0x80),
            Value::Nothing => {}
        }
    }
}

/// Calls `visit` for each field. What cannot be read is masked as text.
fn fields(data: &mut [u8], mut visit: impl FnMut(u32, Value<'_>)) {
    let mut rest = data;
    while let Some(Field {
        number,
        value,
        start,
        end,
    }) = Field::first(rest)
    {
        let kind: fn(_) -> _ = match value {
            wire::Value::Bytes(_) => Value::Bytes,
            wire::Value::Varint(_) | wire::Value::Fixed32(_) | wire::Value::Fixed64 => {
                Value::Number
            }
            wire::Value::GroupStart | wire::Value::GroupEnd => |_| Value::Nothing,
        };
        let (field, behind) = rest.split_at_mut(end);
        visit(number, kind(field.get_mut(start..).unwrap_or_default()));
        rest = behind;
    }
    text::mask(rest);
}
