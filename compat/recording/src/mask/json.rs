//! JSON of the server's own: who is online, statistics. Numbers and known words stay.

use super::ids::Ids;
use super::text;

/// Names that such answers consist of.
const KNOWN: [&str; 28] = [
    "channel",
    "channelStats",
    "channels",
    "clusterMode",
    "daily",
    "date",
    "incomingMessages",
    "infos",
    "limits",
    "maxChannelsPerRequest",
    "maxConnPerChannel",
    "maxMessagesPerRequest",
    "maxPayload",
    "messages",
    "pid",
    "pollings",
    "processUniqueId",
    "registration",
    "requests",
    "serverStats",
    "subscribers",
    "total",
    "uniqueChannels",
    "unknown",
    "uptime",
    "version",
    "websockets",
    "workers",
];

/// Masks every string that is not known; ids become other ids.
pub(super) fn mask(json: &mut [u8], ids: &Ids) {
    if json.contains(&b'\\') {
        // No server writes that, and quotes would not tell where a string ends.
        return text::mask(json);
    }
    for (number, piece) in json.split_mut(|&byte| byte == b'"').enumerate() {
        if number % 2 == 0 && piece.iter().all(|byte| is_bare(*byte)) {
            continue;
        }
        let known = str::from_utf8(piece).is_ok_and(|piece| KNOWN.contains(&piece));
        if known {
            continue;
        }
        let id = str::from_utf8(piece)
            .ok()
            .filter(|piece| piece.len() == 32 && piece.bytes().all(is_hex_digit))
            .map(|piece| ids.id(piece));
        match id {
            Some(id) => piece.copy_from_slice(id.as_bytes()),
            None => text::mask(piece),
        }
    }
}

/// Bytes of numbers, `true`, `false`, `null`, brackets and what is between.
fn is_bare(byte: u8) -> bool {
    byte.is_ascii_digit() || b"{}[],:.-+ \t\r\nEtrufalsen".contains(&byte)
}

fn is_hex_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}
