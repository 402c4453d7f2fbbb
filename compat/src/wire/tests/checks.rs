//! Which error of a request is told.

use super::*;

const TRUSTED: Rights = Rights::Trusted;
const CLIENT: Rights = Rights::Untrusted {
    sender: Some(PublicId(ID)),
};
const NOBODY: Rights = Rights::Untrusted { sender: None };

const LIMITS: Limits = Limits {
    max_messages: 2,
    max_channels: 2,
};

const PRIVATE: Address<'_> = Address {
    id: &ID,
    is_private: true,
    signature: b"",
};
const SHORT: Address<'_> = Address {
    id: b"short",
    ..PRIVATE
};
const UNSIGNED: Address<'_> = Address {
    is_private: false,
    ..PRIVATE
};

fn publish<'a>(messages: &[&[Address<'a>]]) -> Request<'a> {
    let incoming = |receivers: &&[Address<'a>]| Incoming {
        receivers: receivers.to_vec(),
        body: b"a\xff",
        expiry: 60,
        label: b"a label",
    };
    Request::Publish(messages.iter().map(incoming).collect())
}

fn checked(request: Request<'_>, rights: Rights) -> Result<Checked, Status> {
    check(request, rights, &LIMITS, &key())
}

#[test]
fn the_site_may_reach_every_channel() {
    let request = publish(&[&[PRIVATE, UNSIGNED], &[UNSIGNED]]);
    let Ok(Checked::Publish(publications)) = checked(request, TRUSTED) else {
        panic!("refused");
    };
    let [private, public] = [PRIVATE, UNSIGNED].map(|address| address.receiver().unwrap());
    let expected = Publication {
        receivers: vec![private, public],
        signatures: vec![PRIVATE.signature.to_vec(), Vec::new()],
        body: Body::from("a\u{fffd}"),
        expiry: crate::message::Expiry::of_seconds(60),
        label: crate::message::MessageType::default(),
        sender: Sender::Backend,
    };
    assert_eq!(publications.len(), 2);
    assert_eq!(publications[0], expected);
    assert_eq!(
        checked(Request::ChannelStats(vec![UNSIGNED, PRIVATE]), TRUSTED),
        Ok(Checked::ChannelStats(vec![public, private]))
    );
    assert_eq!(
        checked(Request::ServerStats, TRUSTED),
        Ok(Checked::ServerStats)
    );
}

#[test]
fn a_client_may_reach_what_it_can_prove() {
    let signature = key().sign_public(&PublicId(ID));
    let signed = Address {
        signature: &signature,
        ..UNSIGNED
    };
    let Ok(Checked::Publish(publications)) = checked(publish(&[&[signed]]), CLIENT) else {
        panic!("refused");
    };
    assert_eq!(publications[0].receivers, [Receiver::Public(PublicId(ID))]);
    assert_eq!(publications[0].sender, Sender::Client(PublicId(ID)));
}

/// The signature decides, and nobody listens there.
#[test]
fn a_client_may_prove_what_is_no_id() {
    let text = format!("public:{}", HEXLOWER_PERMISSIVE.encode(b"short"));
    let signature = hex(&key().sign(&text));
    let signed = Address {
        id: b"short",
        signature: &signature,
        ..UNSIGNED
    };
    let Ok(Checked::Publish(publications)) = checked(publish(&[&[signed]]), CLIENT) else {
        panic!("refused");
    };
    assert_eq!(publications[0].receivers, []);
}

#[test]
fn nothing_to_publish_is_no_fault() {
    assert_eq!(
        checked(publish(&[]), TRUSTED),
        Ok(Checked::Publish(Vec::new()))
    );
    assert_eq!(
        checked(publish(&[]), CLIENT),
        Ok(Checked::Publish(Vec::new()))
    );
}

#[test]
fn the_first_fault_is_told() {
    let short_public = Address {
        is_private: false,
        ..SHORT
    };
    let three = [PRIVATE; 3];
    for (rights, request, status) in [
        (NOBODY, Request::ServerStats, Status::PublicIdRequired),
        (NOBODY, publish(&[]), Status::PublicIdRequired),
        (CLIENT, Request::ServerStats, Status::CommandNotAllowed),
        (CLIENT, Request::Registration, Status::CommandNotAllowed),
        (TRUSTED, Request::Registration, Status::WrongCommand),
        (CLIENT, publish(&[&[], &[], &[]]), Status::TooManyMessages),
        (TRUSTED, publish(&[&[], &[], &[]]), Status::TooManyMessages),
        (CLIENT, publish(&[&[], &three]), Status::NoChannels),
        (TRUSTED, publish(&[&three, &[]]), Status::TooManyChannels),
        (
            TRUSTED,
            publish(&[&[PRIVATE], &[SHORT]]),
            Status::InvalidChannelId,
        ),
        (
            TRUSTED,
            publish(&[&[short_public], &[]]),
            Status::InvalidChannelId,
        ),
        (
            CLIENT,
            publish(&[&[PRIVATE, UNSIGNED]]),
            Status::PrivateNotAllowed,
        ),
        (
            CLIENT,
            publish(&[&[UNSIGNED, PRIVATE]]),
            Status::InvalidSignature,
        ),
        (CLIENT, publish(&[&[SHORT]]), Status::PrivateNotAllowed),
        (
            CLIENT,
            publish(&[&[short_public]]),
            Status::InvalidSignature,
        ),
        (CLIENT, Request::ChannelStats(vec![]), Status::NoChannels),
        (
            TRUSTED,
            Request::ChannelStats(three.to_vec()),
            Status::TooManyChannels,
        ),
        (
            CLIENT,
            Request::ChannelStats(vec![PRIVATE]),
            Status::PrivateNotAllowed,
        ),
    ] {
        assert_eq!(
            checked(request.clone(), rights),
            Err(status),
            "{rights:?} {request:?}"
        );
    }
}

#[test]
fn the_public_id_is_asked_for_before_the_data_is_read() {
    let accept = |rights| accept(b"\x01", rights, &LIMITS, &key());
    assert_eq!(accept(NOBODY), Err(Status::PublicIdRequired));
    assert_eq!(accept(CLIENT), Err(Status::WrongRequestData));
    assert_eq!(accept(TRUSTED), Err(Status::WrongRequestData));
}
