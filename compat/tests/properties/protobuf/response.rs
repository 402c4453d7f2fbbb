//! What servers send and leave in Redis: read, written and read again.

use prost::Message as _;
use pullgate_compat::wire::{
    self, Notification, Response, decode_message, decode_notifications, decode_response,
};

use super::{pb, witness};

/// `data` is a `ResponseBatch`.
pub fn responses(data: &[u8]) {
    if let Ok(responses) = decode_response(data) {
        responses_come_back(&responses);
    }
}

/// We and prost read `responses` as they were written.
pub fn responses_come_back(responses: &[Response]) {
    let mut written = Vec::new();
    for response in responses {
        wire::encode_response(response, &mut written);
    }
    assert_eq!(decode_response(&written).as_deref(), Ok(responses));
    assert_eq!(
        pb::ResponseBatch::decode(&written[..]),
        Ok(witness::responses(responses))
    );
}

/// `data` is a message that is stored, and one that is sent to other nodes.
pub fn nodes(data: &[u8]) {
    if let Ok(message) = decode_message(data) {
        let written = wire::encode_message(&message);
        assert_eq!(decode_message(&written).as_ref(), Ok(&message));
        assert_eq!(
            pb::OutgoingMessage::decode(&written[..]),
            Ok(witness::message(&message))
        );
    }
    for notification in decode_notifications(data).into_iter().flatten() {
        notifications_come_back(notification);
    }
}

/// We and prost read `notification` as it was written.
pub fn notifications_come_back(notification: Notification) {
    let written = wire::encode_notification(&notification);
    assert_eq!(
        pb::NotificationBatch::decode(&written[..]),
        Ok(witness::notification(&notification))
    );
    assert_eq!(decode_notifications(&written), Ok(vec![notification]));
}
