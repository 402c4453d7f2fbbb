//! Bytes of a recording, stored by what they are: text, Base64, or pieces repeated.
//!
//! A payload of the member `body` is found under one of `body_utf8`, `body_base64`, `body_parts_utf8` and
//! `body_parts_base64`; the parts come with `body_length` and `body_sha1` of the whole.

use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};

/// As many equal bytes in a row are written as one piece and how often it comes.
const LONG_RUN: usize = 1024;

/// What went over the wire. `None`: nothing did, or nothing is known of it.
pub type Payload = Option<Vec<u8>>;

/// A payload's members that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{member}: {what}")]
pub struct PayloadError {
    member: String,
    what: &'static str,
}

/// Reads the payload stored under `name`.
///
/// # Errors
/// For Base64 that is none, and parts that are not what their length and hash say.
pub fn read(members: &Map<String, Value>, name: &str) -> Result<Payload, PayloadError> {
    let error = |suffix: &str, what| PayloadError {
        member: format!("{name}{suffix}"),
        what,
    };
    let member = |suffix: &str| members.get(&format!("{name}{suffix}"));
    if let Some(text) = member("_utf8") {
        let text = text.as_str().ok_or(error("_utf8", "expected a string"))?;
        return Ok(Some(text.into()));
    }
    if let Some(encoded) = member("_base64") {
        return bytes(encoded, true)
            .map(Some)
            .ok_or(error("_base64", "expected a string in Base64"));
    }
    for (suffix, base64) in [("_parts_utf8", false), ("_parts_base64", true)] {
        let Some(parts) = member(suffix) else {
            continue;
        };
        let whole = joined(parts, base64).ok_or(error(suffix, "expected pairs [piece, count]"))?;
        let length = member("_length").and_then(Value::as_u64);
        if length.is_some_and(|length| length != whole.len() as u64) {
            return Err(error("_length", "is not the length of the parts"));
        }
        let hash = member("_sha1").and_then(Value::as_str);
        if hash.is_some_and(|hash| hash != sha1(&whole)) {
            return Err(error("_sha1", "is not the hash of the parts"));
        }
        return Ok(Some(whole));
    }
    Ok(None)
}

/// The members under which `payload` is stored as `name`. `text`: as text if it is UTF-8.
#[must_use]
pub fn write(payload: &Payload, name: &str, text: bool) -> Map<String, Value> {
    let mut members = Map::new();
    let Some(bytes) = payload else {
        return members;
    };
    let utf8 = std::str::from_utf8(bytes).ok().filter(|_| text);
    let kind = if utf8.is_some() { "utf8" } else { "base64" };
    let piece = |bytes: &[u8]| match utf8 {
        Some(_) => json!(String::from_utf8_lossy(bytes)),
        None => json!(BASE64.encode(bytes)),
    };
    let runs = runs(bytes);
    if runs.iter().all(|(_, count)| *count == 1) {
        members.insert(format!("{name}_{kind}"), piece(bytes));
        return members;
    }
    let parts: Vec<Value> = runs
        .iter()
        .map(|(bytes, count)| json!([piece(bytes), count]))
        .collect();
    members.insert(format!("{name}_parts_{kind}"), parts.into());
    members.insert(format!("{name}_length"), bytes.len().into());
    members.insert(format!("{name}_sha1"), sha1(bytes).into());
    members
}

fn bytes(piece: &Value, base64: bool) -> Option<Vec<u8>> {
    let piece = piece.as_str()?;
    if base64 {
        BASE64.decode(piece.as_bytes()).ok()
    } else {
        Some(piece.into())
    }
}

fn joined(parts: &Value, base64: bool) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    for part in parts.as_array()? {
        let [piece, count] = part.as_array()?.as_slice() else {
            return None;
        };
        whole.extend(bytes(piece, base64)?.repeat(count.as_u64()?.try_into().ok()?));
    }
    Some(whole)
}

/// Long runs of one ASCII character, and what is between them.
fn runs(bytes: &[u8]) -> Vec<(&[u8], usize)> {
    let mut found = Vec::new();
    let mut between = 0;
    let mut at = 0;
    for run in bytes.chunk_by(|a, b| a == b) {
        let next = at + run.len();
        if let Some(first) = run.first()
            && first.is_ascii()
            && run.len() >= LONG_RUN
        {
            found.push((bytes.get(between..at).unwrap_or_default(), 1));
            found.push((std::slice::from_ref(first), run.len()));
            between = next;
        }
        at = next;
    }
    found.push((bytes.get(between..).unwrap_or_default(), 1));
    if found.len() > 1 {
        found.retain(|(piece, _)| !piece.is_empty());
    }
    found
}

fn sha1(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha1::digest(bytes))
}
