//! Protobuf, masked where it stands: every substitute is as long as what it stands for, so nothing
//! around it changes. The schema is `compat/proto/pull.proto`.

use super::ids::Ids;
use super::{json, text};

/// What the bytes of a field are.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Message(Schema),
    /// `Receiver` or `ChannelId`: an id in field 1 and its signature in field 3.
    Address,
    Id,
    /// A message's id, which tells nothing.
    Keep,
    Json,
    /// A label; the one that means none stays.
    Label,
    Text,
}

/// The fields that hold bytes. All others are masked as text.
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
    (5, Kind::Label),
];
const SENDER: Schema = &[(2, Kind::Id)];

const RESPONSES: Schema = &[(1, Kind::Message(RESPONSE))];
const RESPONSE: Schema = &[
    (1, Kind::Message(&[(1, Kind::Message(OUTGOING))])),
    (2, Kind::Message(&[(1, Kind::Message(&[(1, Kind::Id)]))])),
    (3, Kind::Message(&[(1, Kind::Json)])),
    (4, Kind::Json),
];
const OUTGOING: Schema = &[(1, Kind::Keep), (2, Kind::Text), (5, Kind::Message(SENDER))];

/// Masks a `RequestBatch`.
pub(super) fn mask_request(data: &mut [u8], ids: &Ids) {
    message(data, REQUESTS, ids);
}

/// Masks a `ResponseBatch`.
pub(super) fn mask_response(data: &mut [u8], ids: &Ids) {
    message(data, RESPONSES, ids);
}

fn message(data: &mut [u8], schema: Schema, ids: &Ids) {
    fields(data, |number, value| {
        let known = schema.iter().find(|(known, _)| *known == number);
        match known.map_or(Kind::Text, |(_, kind)| *kind) {
            Kind::Message(schema) => message(value, schema, ids),
            Kind::Address => address(value, ids),
            Kind::Id => replace(value, &ids.raw_id(value)),
            Kind::Keep => {}
            Kind::Json => json::mask(value, ids),
            Kind::Label if value == b"unknown" => {}
            Kind::Label | Kind::Text => text::mask(value),
        }
    });
}

fn address(data: &mut [u8], ids: &Ids) {
    let mut id = Vec::new();
    // The last of a kind counts.
    fields(&mut data.to_vec(), |number, value| {
        if number == 1 {
            id = value.to_vec();
        }
    });
    fields(data, |number, value| match number {
        1 => replace(value, &ids.raw_id(value)),
        3 => replace(value, &ids.raw_signature(&id, value)),
        _ => text::mask(value),
    });
}

fn replace(value: &mut [u8], substitute: &[u8]) {
    if value.len() == substitute.len() {
        value.copy_from_slice(substitute);
    } else {
        value.fill(0);
    }
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const GROUP: u64 = 3;
const GROUP_END: u64 = 4;
const FIXED32: u64 = 5;

/// Calls `visit` for each field that holds bytes. What cannot be read is masked as text, and so cannot
/// be read afterwards.
fn fields(data: &mut [u8], mut visit: impl FnMut(u32, &mut [u8])) {
    let mut rest = data;
    while !rest.is_empty() {
        let Some((number, length, content)) = field(rest) else {
            return text::mask(rest);
        };
        let (field, behind) = rest.split_at_mut(length.min(rest.len()));
        if let Some(value) = content.and_then(|start| field.get_mut(start..)) {
            visit(number, value);
        }
        rest = behind;
    }
}

/// The first field of `data`: its number, its length, and where its bytes begin if it holds some.
fn field(data: &[u8]) -> Option<(u32, usize, Option<usize>)> {
    let (key, start) = varint(data, 0)?;
    let number = u32::try_from(key >> 3).ok()?;
    let (end, content) = match key & 7 {
        VARINT => (varint(data, start)?.1, None),
        FIXED64 => (start + 8, None),
        BYTES => {
            let (length, start) = varint(data, start)?;
            let end = start.checked_add(usize::try_from(length).ok()?)?;
            (end, Some(start))
        }
        // Of a group its fields are masked one by one, in the message that it stands in.
        GROUP | GROUP_END => (start, None),
        FIXED32 => (start + 4, None),
        _ => return None,
    };
    (end <= data.len()).then_some((number, end, content))
}

/// The number that begins at `at`, and where it ends.
fn varint(data: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut number = 0;
    for (place, byte) in data.get(at..)?.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(place).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((number, at + place + 1));
        }
    }
    None
}
