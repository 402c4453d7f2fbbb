//! Bodies and frames, by what they are.

use pullgate_compat::status::Status;
use pullgate_compat::text::{MARK_START, frames};

use super::ids::Ids;
use super::{json, protobuf, text};

/// Masks what a client or the site sent.
pub(super) fn sent(data: &mut [u8], binary: bool, ids: &Ids) {
    if binary {
        protobuf::mask_request(data, ids);
    } else {
        text::mask(data);
    }
}

/// Masks what a server sent.
pub(super) fn received(data: &mut [u8], binary: bool, ids: &Ids) {
    if binary {
        protobuf::mask_response(data, ids);
    } else if data.starts_with(MARK_START.as_bytes()) {
        text_frames(data);
    } else if is_refusal(data) {
        // The server's own words.
    } else if data.starts_with(b"{") || data.starts_with(b"[") {
        json::mask(data, ids);
    } else {
        text::mask(data);
    }
}

/// Refusals of HTTP servers and websocket libraries, which tell nothing of the request.
const REFUSALS: [&str; 12] = [
    "Bad Request",
    "Forbidden",
    "Invalid HTTP method",
    "Invalid Sec-WebSocket-Protocol header",
    "Invalid Upgrade header",
    "Invalid or missing Sec-WebSocket-Extensions header",
    "Missing or invalid Sec-WebSocket-Key header",
    "Missing or invalid Sec-WebSocket-Version header",
    "Not Found",
    "Payload Too Large",
    "Protocol violation",
    "Upgrade Required",
];

/// Whether it is nothing but a refusal in words that are known.
pub(super) fn is_refusal(data: &[u8]) -> bool {
    REFUSALS.iter().any(|refusal| refusal.as_bytes() == data)
        || Status::ALL
            .iter()
            .any(|status| status.reason().as_bytes() == data)
}

/// Masks the bodies in text frames. What is around them tells nothing but the time.
fn text_frames(data: &mut [u8]) {
    let mut masked = Vec::with_capacity(data.len());
    for frame in frames(data) {
        let Ok(frame) = frame else {
            return text::mask(data);
        };
        let mut body = frame.text.to_vec();
        text::mask(&mut body);
        let envelope = format!(
            "{MARK_START}{{\"id\":{},\"mid\":\"{}\",\"channel\":\"{}\",\"tag\":\"{}\",\"time\":\"{}\",\"text\":",
            frame.id, frame.mid, frame.channel, frame.tag, frame.time
        );
        masked.extend_from_slice(envelope.as_bytes());
        masked.append(&mut body);
        masked.extend_from_slice(b"}");
        masked.extend_from_slice(pullgate_compat::text::MARK_END.as_bytes());
    }
    if masked.len() == data.len() {
        data.copy_from_slice(&masked);
    } else {
        text::mask(data);
    }
}
