//! Request targets: the push path stays, `CHANNEL_ID` gets other channels, other values go.

use pullgate_compat::query::Query;

use super::ids::Ids;
use super::text;
use crate::tap::paths::PushPaths;

/// Parameters that say how a client listens, not who it is.
const HARMLESS: [&str; 6] = ["binaryMode", "mid", "tag", "time", "revision", "format"];

/// Whether bodies are protobuf.
pub(super) fn is_binary(target: &str) -> bool {
    Query::of_target(target).first("binaryMode").as_deref() == Some("true")
}

/// `target` masked. `new_host` takes the place of a host in it, as it does in `Host`.
pub(super) fn masked(target: &str, paths: &PushPaths, new_host: &str, ids: &Ids) -> String {
    let prefix = paths.split(target).map_or(0, |(_, length)| length);
    let (prefix, rest) = target.split_at_checked(prefix).unwrap_or(("", target));
    // Of `http://host/path` the host goes.
    let host = prefix.find("://").map_or(0, |at| {
        let host = prefix.get(at + 3..).unwrap_or_default();
        at + 3 + host.find('/').unwrap_or(host.len())
    });
    let (host, path) = prefix.split_at_checked(host).unwrap_or(("", prefix));
    let host = match host.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://{new_host}"),
        None => String::new(),
    };
    let mut parts = rest.split('?');
    let behind = escaped(parts.next().unwrap_or_default(), text::mask);
    let mut masked = format!("{host}{path}{behind}");
    // Only what stands between the first and the second `?` is read as parameters.
    if let Some(query) = parts.next() {
        masked.push('?');
        let pairs: Vec<String> = query.split('&').map(|pair| parameter(pair, ids)).collect();
        masked.push_str(&pairs.join("&"));
    }
    for beyond in parts {
        masked.push('?');
        masked.push_str(&escaped(beyond, text::mask));
    }
    masked
}

fn parameter(pair: &str, ids: &Ids) -> String {
    let Some((name, value)) = pair.split_once('=') else {
        return match HARMLESS.contains(&pair) || pair == "CHANNEL_ID" {
            true => pair.to_owned(),
            false => escaped(pair, text::mask),
        };
    };
    let decoded = form_name(name);
    if decoded == "CHANNEL_ID" {
        // pullgate cuts off what no client sends: a fragment.
        let (value, fragment) = value.split_at(value.find('#').unwrap_or(value.len()));
        let channels = escaped(value, |value| channels(value, ids));
        return format!("{name}={channels}{}", escaped(fragment, text::mask));
    }
    let plain = matches!(value, "true" | "false") || value.bytes().all(|b| b.is_ascii_digit());
    if HARMLESS.contains(&decoded.as_str()) && plain {
        return pair.to_owned();
    }
    let is_word = name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
    let name = match is_word {
        true => name.to_owned(),
        false => escaped(name, text::mask),
    };
    format!("{name}={}", escaped(value, text::mask))
}

/// A parameter's name as the server reads it.
fn form_name(name: &str) -> String {
    let mut decoded = String::new();
    for (byte, _) in units(name) {
        decoded.push(char::from(byte));
    }
    decoded
}

/// Masks a `CHANNEL_ID`: parts `private[:public][.signature]` joined by `/`. What is not of this form
/// is masked as text, and so is not of this form afterwards.
fn channels(value: &mut [u8], ids: &Ids) {
    for part in value.split_mut(|&byte| byte == b'/') {
        let masked = str::from_utf8(part).ok().map(|part| channel(part, ids));
        match masked {
            Some(masked) if masked.len() == part.len() => part.copy_from_slice(masked.as_bytes()),
            Some(_) | None => text::mask(part),
        }
    }
}

fn channel(part: &str, ids: &Ids) -> String {
    let (names, signature) = match part.split_once('.') {
        Some((names, signature)) => (names, Some(signature)),
        None => (part, None),
    };
    let masked: Vec<String> = names.split(':').map(|id| word(id, ids)).collect();
    let masked = masked.join(":");
    match signature {
        Some(signature) if (32..=128).contains(&signature.len()) && is_hex(signature) => {
            format!("{masked}.{}", ids.signature(names, &masked, signature))
        }
        Some(signature) => {
            // Several dots: pieces that are ids for whoever looks.
            let pieces: Vec<String> = signature.split('.').map(|piece| word(piece, ids)).collect();
            format!("{masked}.{}", pieces.join("."))
        }
        None => masked,
    }
}

/// An id if it is one, or text.
fn word(text: &str, ids: &Ids) -> String {
    match text.len() == 32 && is_hex(text) {
        true => ids.id(text),
        false => text::masked(text),
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Lets `mask` change what `text` means, and writes each byte in the way in which it was written.
fn escaped(text: &str, mask: impl FnOnce(&mut [u8])) -> String {
    let (mut bytes, ways): (Vec<u8>, Vec<bool>) = units(text).unzip();
    let before = bytes.clone();
    mask(&mut bytes);
    let mut masked = Vec::new();
    for ((byte, old), was_escaped) in bytes.into_iter().zip(before).zip(ways) {
        match (was_escaped, byte) {
            (true, _) => masked.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            // A blank was a plus.
            (false, b' ') if old == b' ' => masked.push(b'+'),
            (false, _) => masked.push(byte),
        }
    }
    String::from_utf8_lossy(&masked).into_owned()
}

/// Each byte that `text` means, and whether it was written as `%XX`.
fn units(text: &str) -> impl Iterator<Item = (u8, bool)> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        if let [b'%', high, low, behind @ ..] = rest
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            rest = behind;
            return Some((high << 4 | low, true));
        }
        let (&byte, behind) = rest.split_first()?;
        rest = behind;
        Some((if byte == b'+' { b' ' } else { byte }, false))
    })
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| digit.try_into().ok())
}
