//! Our reading and writing beside that of prost.

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::wire::generated as pb;

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
    let rest = any::<(Option<Bytes>, Bytes, u32, Bytes)>();
    (receivers, rest).prop_map(|(receivers, (sender, body, expiry, r#type))| {
        let sender = sender.map(|id| pb::Sender { r#type: 1, id });
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

/// What we must read where prost has written `command`.
fn expected(command: &pb::request::Command) -> Request<'_> {
    use pb::request::Command;
    match command {
        Command::IncomingMessages(request) => {
            Request::Publish(request.messages.iter().map(expected_message).collect())
        }
        Command::ChannelStats(request) => Request::ChannelStats(
            request
                .channels
                .iter()
                .map(|of| address(&of.id, of.is_private, &of.signature))
                .collect(),
        ),
        Command::ServerStats(_) => Request::ServerStats,
        Command::Registration(_) => Request::Registration,
    }
}

fn expected_message(message: &pb::IncomingMessage) -> Incoming<'_> {
    let receivers = message.receivers.iter();
    Incoming {
        receivers: receivers
            .map(|of| address(&of.id, of.is_private, &of.signature))
            .collect(),
        body: &message.body,
        expiry: message.expiry,
        label: &message.r#type,
    }
}

fn address<'a>(id: &'a [u8], is_private: bool, signature: &'a [u8]) -> Address<'a> {
    Address {
        id,
        is_private,
        signature,
    }
}

fn any_receiver() -> impl Strategy<Value = Receiver> {
    any::<([u8; 16], bool)>()
        .prop_map(|(id, is_private)| Receiver::from_parts(&id, is_private).unwrap())
}

fn any_message() -> impl Strategy<Value = Message> {
    let sender = prop_oneof![
        Just(Sender::Unknown),
        Just(Sender::Backend),
        any::<[u8; 16]>().prop_map(|id| Sender::Client(PublicId(id))),
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

fn witnessed(message: &Message) -> pb::OutgoingMessage {
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

proptest! {
    #[test]
    fn takes_anything(data in any::<Bytes>()) {
        let _ = decode_request(&data);
        let _ = decode_response(&data);
        let _ = decode_message(&data);
        let _ = decode_notifications(&data);
    }

    #[test]
    fn reads_requests_as_prost_writes_them(command in command()) {
        let expected = expected(&command);
        let request = pb::Request { command: Some(command.clone()) };
        let data = pb::RequestBatch { requests: vec![request] }.encode_to_vec();
        prop_assert_eq!(decode_request(&data), Ok(expected));
    }

    /// Whatever becomes of a request on its way, it is read or refused.
    #[test]
    fn takes_broken_requests(
        command in command(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let request = pb::Request { command: Some(command) };
        let mut data = pb::RequestBatch { requests: vec![request] }.encode_to_vec();
        let at = at.index(data.len());
        if cut {
            data.truncate(at);
            prop_assert!(decode_request(&data).is_err());
        } else {
            data[at] = byte;
            let rights = Rights::Trusted;
            let _ = accept(&data, rights, &Limits::default(), &key());
        }
    }

    #[test]
    fn responses_come_back(responses in prop::collection::vec(any_response(), 0..4)) {
        let mut data = Vec::new();
        for response in &responses {
            encode_response(response, &mut data);
        }
        prop_assert_eq!(pb::ResponseBatch::decode(&data[..]).unwrap().responses.len(), responses.len());
        prop_assert_eq!(decode_response(&data), Ok(responses));
    }

    #[test]
    fn prost_reads_messages_as_we_write_them(messages in prop::collection::vec(any_message(), 0..4)) {
        let batch = pb::ResponseBatch::decode(&encode_messages(&messages)[..]).unwrap();
        let messages = messages.iter().map(witnessed).collect();
        let command = pb::response::Command::OutgoingMessages(pb::OutgoingMessagesResponse { messages });
        let expected = pb::Response { command: Some(command) };
        prop_assert_eq!(batch.responses, vec![expected]);
    }

    #[test]
    fn notifications_come_back(
        recipients in prop::collection::vec((any_receiver(), any::<Bytes>()), 0..4),
        message in any_message(),
    ) {
        let recipients = recipients
            .into_iter()
            .map(|(receiver, signature)| Recipient { receiver, signature })
            .collect();
        let notification = Notification { recipients, content: Content::Message(message) };
        let data = encode_notification(&notification);
        let witness = pb::NotificationBatch::decode(&data[..]).unwrap();
        prop_assert_eq!(witness.notifications.len(), 1);
        prop_assert_eq!(decode_notifications(&data), Ok(vec![notification]));
    }
}
