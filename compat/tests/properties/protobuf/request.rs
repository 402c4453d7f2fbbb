//! What is asked of a server: read, checked, and what the checks let through.

use data_encoding::HEXLOWER;
use prost::Message as _;
use pullgate_compat::channel::{PublicId, Receiver};
use pullgate_compat::message::Sender;
use pullgate_compat::status::Status;
use pullgate_compat::wire::{
    Address, Checked, Incoming, Limits, Publication, Request, Rights, accept, decode_request,
};

use super::super::{KEY, signature};
use super::{pb, witness};

const CLIENT: PublicId = PublicId::from_bytes([7; 16]);

const LIMITS: Limits = Limits {
    max_messages: 2,
    max_channels: 2,
};

/// `data` is a `RequestBatch`, from the site and from clients.
pub fn requests(data: &[u8]) {
    let nobody = accepted(data, Sender::Unknown);
    assert_eq!(nobody, Err(Status::PublicIdRequired));
    match decode_request(data) {
        Ok(request) => {
            passes_if_it_may(data, &request);
            let mut batch = witness::request(&request);
            let written = batch.encode_to_vec();
            assert_eq!(decode_request(&written), Ok(request));

            sign(&mut batch);
            let signed = batch.encode_to_vec();
            let request = decode_request(&signed);
            passes_if_it_may(&signed, &request.expect("signatures do not matter yet"));
        }
        Err(error) => {
            assert_eq!(accepted(data, Sender::Backend), Err(error));
            assert_eq!(accepted(data, Sender::Client(CLIENT)), Err(error));
        }
    }
    if let Ok(batch) = pb::RequestBatch::decode(data) {
        read_as_prost_wrote(&batch);
    }
}

/// We read the first request of `batch`.
pub fn read_as_prost_wrote(batch: &pb::RequestBatch) {
    let written = batch.encode_to_vec();
    let request = decode_request(&written);
    let Some(pb::Request { command: Some(_) }) = batch.requests.first() else {
        assert_eq!(request, Err(Status::WrongRequestData));
        return;
    };
    let mut expected = pb::RequestBatch {
        requests: batch.requests.iter().take(1).cloned().collect(),
    };
    forget_what_never_counts(&mut expected);
    let request = request.as_ref().map(witness::request);
    assert_eq!(request, Ok(expected));
}

/// Who sends a message is not for the sender to say, and nobody registers with us.
fn forget_what_never_counts(batch: &mut pb::RequestBatch) {
    use pb::request::Command;
    for command in batch.requests.iter_mut().flat_map(|of| &mut of.command) {
        match command {
            Command::IncomingMessages(request) => {
                for message in &mut request.messages {
                    message.sender = None;
                }
            }
            Command::Registration(request) => *request = pb::RegisterRequest::default(),
            Command::ChannelStats(_) | Command::ServerStats(_) => {}
        }
    }
}

fn passes_if_it_may(data: &[u8], request: &Request<'_>) {
    for sender in [Sender::Backend, Sender::Client(CLIENT)] {
        let checked = accepted(data, sender);
        assert_eq!(checked.is_ok(), may(sender, request));
        if let Ok(checked) = checked {
            is_as_asked(request, &checked, sender);
        }
    }
}

fn accepted(data: &[u8], sender: Sender) -> Result<Checked, Status> {
    let rights = match sender {
        Sender::Backend => Rights::Trusted,
        Sender::Client(id) => Rights::Untrusted { sender: Some(id) },
        Sender::Unknown => Rights::Untrusted { sender: None },
    };
    accept(data, rights, &LIMITS, &KEY)
}

fn may(sender: Sender, request: &Request<'_>) -> bool {
    let is_allowed = |address: &Address<'_>| match sender {
        Sender::Backend => address.id.len() == 16,
        Sender::Client(_) | Sender::Unknown => {
            !address.is_private && address.signature == public_signature(address.id)
        }
    };
    let are_allowed = |addresses: &[Address<'_>]| {
        (1..=LIMITS.max_channels).contains(&addresses.len()) && addresses.iter().all(is_allowed)
    };
    match request {
        Request::Publish(messages) => {
            messages.len() <= LIMITS.max_messages
                && messages.iter().all(|of| are_allowed(&of.receivers))
        }
        Request::ChannelStats(channels) => are_allowed(channels),
        Request::ServerStats => sender == Sender::Backend,
        Request::Registration => false,
    }
}

/// Puts the right signature to every channel of `batch`.
fn sign(batch: &mut pb::RequestBatch) {
    use pb::request::Command;
    for command in batch.requests.iter_mut().flat_map(|of| &mut of.command) {
        match command {
            Command::IncomingMessages(request) => {
                for of in request.messages.iter_mut().flat_map(|of| &mut of.receivers) {
                    of.signature = public_signature(&of.id);
                }
            }
            Command::ChannelStats(request) => {
                for of in &mut request.channels {
                    of.signature = public_signature(&of.id);
                }
            }
            Command::ServerStats(_) | Command::Registration(_) => {}
        }
    }
}

fn public_signature(id: &[u8]) -> Vec<u8> {
    signature(&format!("public:{}", HEXLOWER.encode(id)))
}

/// Nothing of the request is lost or changed.
fn is_as_asked(request: &Request<'_>, checked: &Checked, sender: Sender) {
    match (request, checked) {
        (Request::Publish(messages), Checked::Publish(publications)) => {
            assert_eq!(messages.len(), publications.len());
            for (message, publication) in messages.iter().zip(publications) {
                is_as_sent(message, publication);
                assert_eq!(publication.sender, sender);
            }
        }
        (Request::ChannelStats(channels), Checked::ChannelStats(found)) => {
            assert_eq!(*found, receivers(channels));
        }
        (Request::ServerStats, Checked::ServerStats) => {}
        _ => panic!("{request:?} became {checked:?}"),
    }
}

fn is_as_sent(message: &Incoming<'_>, publication: &Publication) {
    assert_eq!(publication.receivers, receivers(&message.receivers));
    let body = String::from_utf8_lossy(message.body);
    assert_eq!(publication.body.as_bytes(), body.as_bytes());
    assert_eq!(publication.expiry.seconds(), message.expiry);
    let label = publication.label.as_str();
    assert!(label.as_bytes() == message.label || label == "unknown");
}

fn receivers(addresses: &[Address<'_>]) -> Vec<Receiver> {
    let receiver = |of: &Address<'_>| Receiver::from_parts(of.id, of.is_private);
    addresses.iter().filter_map(receiver).collect()
}
