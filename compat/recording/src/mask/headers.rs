//! Headers: those that say how, not who, stay; of all others only length and punctuation.

use super::text;

/// Headers whose values are harmless, in lower case.
const HARMLESS: [&str; 29] = [
    "accept",
    "accept-encoding",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-expose-headers",
    "access-control-max-age",
    "access-control-request-headers",
    "access-control-request-method",
    "allow",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expect",
    "expires",
    "keep-alive",
    "last-message-id",
    "message-expiry",
    "pragma",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-version",
    "transfer-encoding",
    "upgrade",
    "vary",
];

/// Masks them; whether the body is coded, so that nobody can look into it.
pub(super) fn mask(headers: &mut [(String, String)], host: &str) -> bool {
    let mut is_coded = false;
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        if name == "content-encoding" && !value.eq_ignore_ascii_case("identity") {
            is_coded = true;
        }
        if name == "host" {
            host.clone_into(value);
        } else if name == "sec-websocket-protocol" && is_words(value) {
            // Names of protocols must differ from each other.
        } else if !HARMLESS.contains(&name.as_str()) {
            *value = text::masked(value);
        }
    }
    is_coded
}

/// Whether it is a list of names, in which no token can hide.
fn is_words(value: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphabetic() || b", .-".contains(&byte);
    value.len() <= 64 && value.bytes().all(is_word)
}

/// Whether a response's body is protobuf.
pub(super) fn is_protobuf(headers: &[(String, String)]) -> bool {
    headers.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("content-type") && value.starts_with("application/octet-stream")
    })
}
