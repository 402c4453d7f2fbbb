//! Requests as prost writes them, responses as we do.

use proptest::prelude::*;
use prost::Message as _;
use pullgate_compat::channel::{PublicId, Receiver};
use pullgate_compat::message::{Message, MessageId, Sender};
use pullgate_compat::wire::{
    ChannelStats, Content, Notification, Recipient, Response, decode_request,
};

use crate::properties::{generated as pb, protobuf};

type Bytes = Vec<u8>;

fn receiver() -> impl Strategy<Value = pb::Receiver> {
    any::<(Bytes, bool, Bytes)>().prop_map(|(id, is_private, signature)| pb::Receiver {
        id,
        is_private,
        signature,
    })
}

fn incoming() -> impl Strategy<Value = pb::IncomingMessage> {
    let receivers = prop::collection::vec(receiver(), 0..4);
    let rest = any::<(Option<(i32, Bytes)>, Bytes, u32, Bytes)>();
    (receivers, rest).prop_map(|(receivers, (sender, body, expiry, r#type))| {
        let sender = sender.map(|(r#type, id)| pb::Sender { r#type, id });
        pb::IncomingMessage {
            receivers,
            sender,
            body,
            expiry,
            r#type,
        }
    })
}

fn command() -> impl Strategy<Value = pb::request::Command> {
    use pb::request::Command;
    prop_oneof![
        prop::collection::vec(incoming(), 0..4).prop_map(|messages| {
            Command::IncomingMessages(pb::IncomingMessagesRequest { messages })
        }),
        prop::collection::vec(receiver(), 0..4).prop_map(|receivers| {
            let channel = |receiver: pb::Receiver| pb::ChannelId {
                id: receiver.id,
                is_private: receiver.is_private,
                signature: receiver.signature,
            };
            let channels = receivers.into_iter().map(channel).collect();
            Command::ChannelStats(pb::ChannelStatsRequest { channels })
        }),
        Just(Command::ServerStats(pb::ServerStatsRequest {})),
        any::<(Bytes, Bytes)>().prop_map(|(verification_query, host)| {
            Command::Registration(pb::RegisterRequest {
                verification_query,
                host,
            })
        }),
    ]
}

fn batch() -> impl Strategy<Value = pb::RequestBatch> {
    command().prop_map(|command| pb::RequestBatch {
        requests: vec![pb::Request {
            command: Some(command),
        }],
    })
}

fn any_receiver() -> impl Strategy<Value = Receiver> {
    any::<([u8; 16], bool)>()
        .prop_map(|(id, is_private)| Receiver::from_parts(&id, is_private).unwrap())
}

fn any_message() -> impl Strategy<Value = Message> {
    let sender = prop_oneof![
        Just(Sender::Unknown),
        Just(Sender::Backend),
        any::<[u8; 16]>().prop_map(|id| Sender::Client(PublicId::from_bytes(id))),
    ];
    let id = (any::<u32>(), 0..=MessageId::MAX_COUNTER);
    (id, ".*", any::<u32>(), any::<u32>(), sender).prop_map(
        |((start, counter), body, expiry, created, sender)| Message {
            id: MessageId::new(start, counter),
            body: body.into(),
            expiry,
            created,
            sender,
        },
    )
}

fn any_response() -> impl Strategy<Value = Response> {
    let stats = (any_receiver(), any::<bool>())
        .prop_map(|(channel, is_online)| ChannelStats { channel, is_online });
    prop_oneof![
        prop::collection::vec(any_message(), 0..4).prop_map(Response::Messages),
        prop::collection::vec(stats, 0..4).prop_map(Response::ChannelStats),
        ".*".prop_map(|json| Response::ServerStats(json.into())),
        ".*".prop_map(|json| Response::Json(json.into())),
    ]
}

fn any_notification() -> impl Strategy<Value = Notification> {
    let recipient = (any_receiver(), any::<Bytes>()).prop_map(|(receiver, signature)| Recipient {
        receiver,
        signature,
    });
    let content = (any_message(), any::<bool>()).prop_map(|(message, is_stored)| {
        if is_stored {
            Content::Stored(message.id)
        } else {
            Content::Message(message)
        }
    });
    (prop::collection::vec(recipient, 0..4), content).prop_map(|(recipients, content)| {
        Notification {
            recipients,
            content,
        }
    })
}

proptest! {
    #[test]
    fn requests(batch in batch()) {
        protobuf::read_as_prost_wrote(&batch);
        protobuf::requests(&batch.encode_to_vec());
    }

    /// Whatever becomes of a request on its way.
    #[test]
    fn broken_requests(
        batch in batch(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut data = batch.encode_to_vec();
        let at = at.index(data.len());
        prop_assert!(decode_request(&data[..at]).is_err());
        data[at] = byte;
        protobuf::requests(&data);
    }

    #[test]
    fn responses(responses in prop::collection::vec(any_response(), 0..4)) {
        protobuf::responses_come_back(&responses);
    }

    #[test]
    fn notifications(notification in any_notification()) {
        protobuf::notifications_come_back(notification);
    }
}
