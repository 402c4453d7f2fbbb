//! What prost must read and write where we have this.

use pullgate_compat::channel::Receiver;
use pullgate_compat::message::{Message, Sender};
use pullgate_compat::wire::{Address, Content, Incoming, Notification, Request, Response};

use super::pb;

pub(super) fn request(request: &Request<'_>) -> pb::RequestBatch {
    use pb::request::Command;
    let command = match request {
        Request::Publish(messages) => Command::IncomingMessages(pb::IncomingMessagesRequest {
            messages: messages.iter().map(incoming).collect(),
        }),
        Request::ChannelStats(channels) => Command::ChannelStats(pb::ChannelStatsRequest {
            channels: channels.iter().map(channel).collect(),
        }),
        Request::ServerStats => Command::ServerStats(pb::ServerStatsRequest {}),
        Request::Registration => Command::Registration(pb::RegisterRequest::default()),
    };
    let command = Some(command);
    pb::RequestBatch {
        requests: vec![pb::Request { command }],
    }
}

fn incoming(message: &Incoming<'_>) -> pb::IncomingMessage {
    let receiver = |address: &Address<'_>| pb::Receiver {
        id: address.id.to_vec(),
        is_private: address.is_private,
        signature: address.signature.to_vec(),
    };
    pb::IncomingMessage {
        receivers: message.receivers.iter().map(receiver).collect(),
        sender: None,
        body: message.body.to_vec(),
        expiry: message.expiry,
        r#type: message.label.to_vec(),
    }
}

fn channel(address: &Address<'_>) -> pb::ChannelId {
    pb::ChannelId {
        id: address.id.to_vec(),
        is_private: address.is_private,
        signature: address.signature.to_vec(),
    }
}

pub(super) fn responses(responses: &[Response]) -> pb::ResponseBatch {
    let response = |response| pb::Response {
        command: Some(command(response)),
    };
    pb::ResponseBatch {
        responses: responses.iter().map(response).collect(),
    }
}

fn command(response: &Response) -> pb::response::Command {
    use pb::response::Command;
    match response {
        Response::Messages(messages) => Command::OutgoingMessages(pb::OutgoingMessagesResponse {
            messages: messages.iter().map(message).collect(),
        }),
        Response::ChannelStats(channels) => {
            let stats = channels.iter().map(|stats| {
                let (id, is_private) = receiver(&stats.channel);
                pb::ChannelStats {
                    id,
                    is_private,
                    is_online: stats.is_online,
                }
            });
            Command::ChannelStats(pb::ChannelStatsResponse {
                channels: stats.collect(),
            })
        }
        Response::ServerStats(json) => Command::ServerStats(pb::JsonResponse {
            json: json.as_bytes().to_vec(),
        }),
        Response::Json(json) => Command::Json(json.as_bytes().to_vec()),
    }
}

pub(super) fn message(message: &Message) -> pb::OutgoingMessage {
    let (kind, id) = match &message.sender {
        Sender::Unknown => (pb::SenderType::Unknown, Vec::new()),
        Sender::Client(id) => (pb::SenderType::Client, id.as_bytes().to_vec()),
        Sender::Backend => (pb::SenderType::Backend, Vec::new()),
    };
    pb::OutgoingMessage {
        id: message.id.as_bytes().to_vec(),
        body: message.body.as_bytes().to_vec(),
        expiry: message.expiry,
        created: message.created,
        sender: Some(pb::Sender {
            r#type: kind.into(),
            id,
        }),
    }
}

pub(super) fn notification(of: &Notification) -> pb::NotificationBatch {
    let receivers = of.recipients.iter().map(|recipient| {
        let (id, is_private) = receiver(&recipient.receiver);
        let signature = recipient.signature.clone();
        pb::Receiver {
            id,
            is_private,
            signature,
        }
    });
    let (outgoing_message_id, outgoing_message) = match &of.content {
        Content::Message(of) => (Vec::new(), Some(message(of))),
        Content::Stored(id) => (id.as_bytes().to_vec(), None),
    };
    let messages = pb::IpcMessages {
        messages: vec![pb::IpcMessage {
            receivers: receivers.collect(),
            outgoing_message_id,
            outgoing_message,
        }],
    };
    let command = Some(pb::notification::Command::IpcMessages(messages));
    pb::NotificationBatch {
        notifications: vec![pb::Notification { command }],
    }
}

fn receiver(receiver: &Receiver) -> (Vec<u8>, bool) {
    match receiver {
        Receiver::Private(id) => (id.as_bytes().to_vec(), true),
        Receiver::Public(id) => (id.as_bytes().to_vec(), false),
    }
}
