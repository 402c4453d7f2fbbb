//! Everything recorded from the reference server, read and written again.
//!
//! What the server sent must come back byte for byte. What it was sent must get the answer that it gave.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a panic is a failed test, and counts are for the reader"
)]

mod fixture;

use std::collections::HashMap;

use fixture::{Recording, is_binary, is_protobuf, member, payload};
use pullgate_compat::channel::{ChannelList, PublicId, Role};
use pullgate_compat::message::{Body, Message, Sender};
use pullgate_compat::query::Query;
use pullgate_compat::status::Status;
use pullgate_compat::text::{self, MARK_START};
use pullgate_compat::wire::{self, Checked, Response, Rights};
use serde_json::Value;

/// What one kind of data came to, over all recordings.
#[derive(Debug, Default)]
struct Count(HashMap<&'static str, usize>);

impl Count {
    fn add(&mut self, what: &'static str, number: usize) {
        *self.0.entry(what).or_default() += number;
    }

    /// A test that found nothing to test has failed.
    fn assert_found(self, expected: &[&'static str]) {
        println!("{self:?}");
        for what in expected {
            assert!(self.0.get(what).is_some_and(|&number| number > 0), "{what}");
        }
    }
}

/// Bodies of responses to whole requests and to polls.
fn responses(recording: &Recording) -> impl Iterator<Item = (&Value, Vec<u8>)> {
    recording
        .steps()
        .filter(|step| matches!(member(step, "kind"), "http" | "poll-end"))
        .filter_map(|step| Some((&step["response"], payload(&step["response"], "body")?)))
}

/// Frames of this opcode that the server sent.
fn received<'a>(recording: &'a Recording, opcode: &'a str) -> impl Iterator<Item = Vec<u8>> + 'a {
    recording
        .steps()
        .filter(move |step| member(step, "kind") == "ws-recv" && member(step, "opcode") == opcode)
        .map(|step| payload(step, "data").unwrap())
}

fn channels(recording: &Recording, target: &str, role: Role) -> ChannelList {
    let value = Query::of_target(target).first("CHANNEL_ID");
    ChannelList::parse(&value.unwrap_or_default(), &recording.key(), role)
}

#[test]
fn all_recordings_are_there() {
    let recordings = Recording::all();
    let of_cluster = |recording: &&Recording| recording.name.starts_with("cluster/");
    let cluster = recordings.iter().filter(of_cluster).count();
    assert!(recordings.len() - cluster >= 80);
    assert!(cluster >= 6);
}

#[test]
fn signatures_are_those_of_the_site() {
    let mut count = Count::default();
    for recording in Recording::all() {
        let key = recording.key();
        for channel in recording.channels() {
            let [private, public] = ["private", "public"].map(|name| member(channel, name));
            for (name, signed) in [
                ("signature_private", private.to_owned()),
                ("signature_private_public", format!("{private}:{public}")),
                ("signature_public", format!("public:{public}")),
            ] {
                let signature = member(channel, name);
                assert_eq!(key.sign(&signed), signature);
                assert!(key.verify(&signed, signature));
                count.add("signatures", 1);
            }
            let id = PublicId::parse(public).unwrap();
            assert!(key.verify_public(id.as_bytes(), &key.sign_public(&id)));
        }
    }
    count.assert_found(&["signatures"]);
}

#[test]
fn text_frames_come_back() {
    let mut count = Count::default();
    for recording in Recording::all() {
        let bodies = responses(&recording)
            .map(|(_, body)| body)
            .filter(|body| body.starts_with(MARK_START.as_bytes()));
        for data in received(&recording, "text").chain(bodies) {
            let mut again = Vec::new();
            for frame in text::frames(&data) {
                let frame = frame.unwrap_or_else(|error| panic!("{}: {error}", recording.name));
                assert_eq!(frame.id, frame.mid.counter());
                let message = Message {
                    id: frame.mid,
                    body: Body::from_lossy(frame.text.to_vec().into()),
                    expiry: 0,
                    created: 0,
                    sender: Sender::Unknown,
                };
                text::encode(&message, &frame.delivered().unwrap(), &mut again);
                count.add("frames", 1);
            }
            assert!(again == data, "{}", recording.name);
            count.add("payloads", 1);
        }
    }
    count.assert_found(&["payloads", "frames"]);
}

#[test]
fn binary_responses_come_back() {
    let mut count = Count::default();
    for recording in Recording::all() {
        let bodies = responses(&recording)
            .filter(|(response, _)| is_protobuf(response))
            .map(|(_, body)| body);
        for data in received(&recording, "binary").chain(bodies) {
            let responses = wire::decode_response(&data)
                .unwrap_or_else(|error| panic!("{}: {error}", recording.name));
            let mut again = Vec::new();
            for response in &responses {
                wire::encode_response(response, &mut again);
                match response {
                    Response::Messages(messages) => count.add("messages", messages.len()),
                    Response::ChannelStats(channels) => count.add("channels", channels.len()),
                    Response::ServerStats(_) => count.add("server statistics", 1),
                    Response::Json(_) => count.add("other JSON", 1),
                }
            }
            assert!(again == data, "{}", recording.name);
            count.add("payloads", 1);
        }
    }
    count.assert_found(&["payloads", "messages", "channels", "server statistics"]);
}

/// A request gets past the checks if it was answered with 200, and the recorded code if it was not.
#[test]
fn binary_requests_get_the_recorded_answer() {
    let mut count = Count::default();
    for recording in Recording::all() {
        for step in recording.steps() {
            let (request, response) = (&step["request"], &step["response"]);
            let target = member(request, "target");
            if member(step, "kind") != "http" || member(request, "method") != "POST" {
                continue;
            }
            let rights = if recording.is_for("pub", target) && is_binary(target) {
                Rights::Trusted
            } else if recording.is_for("rest", target) {
                let sender = channels(&recording, target, Role::Subscriber).sender();
                Rights::Untrusted { sender }
            } else {
                continue;
            };
            let data = payload(request, "body").unwrap_or_default();
            let answer = wire::accept(&data, rights, &recording.limits(), &recording.key());
            let note = format!("{}: {}", recording.name, member(step, "note"));
            match response["status"].as_u64() {
                Some(413) => assert!(data.len() > recording.max_payload(), "{note}"),
                Some(400) => {
                    let status = answer.expect_err(&note);
                    assert_eq!(status.reason(), member(response, "body_utf8"), "{note}");
                    count.add("refused", 1);
                }
                Some(200) => {
                    let checked = answer.unwrap_or_else(|status| panic!("{note}: {status}"));
                    assert_as_decoded(&checked, &request["decoded"], &note);
                    count.add("accepted", 1);
                }
                status => panic!("{note}: {status:?}"),
            }
        }
    }
    count.assert_found(&["accepted", "refused"]);
}

/// Compares messages with the recording's own reading of the request.
fn assert_as_decoded(checked: &Checked, decoded: &Value, note: &str) {
    let Checked::Publish(publications) = checked else {
        return;
    };
    let messages = &decoded["requests"][0]["incomingMessages"]["messages"];
    let Some(messages) = messages.as_array() else {
        return;
    };
    assert_eq!(publications.len(), messages.len(), "{note}");
    for (publication, message) in publications.iter().zip(messages) {
        if member(message, "body").len() < 8192 {
            let body = member(message, "body").as_bytes();
            assert_eq!(publication.body.as_bytes(), body, "{note}");
        }
        let expiry = message["expiry"].as_u64().unwrap_or_default();
        assert_eq!(u64::from(publication.expiry.seconds()), expiry, "{note}");
        let receivers = message["receivers"].as_array().unwrap();
        assert_eq!(publication.receivers.len(), receivers.len(), "{note}");
    }
}

/// The first request of a websocket that is refused closes it with the recorded code.
#[test]
fn websockets_are_closed_as_recorded() {
    let mut count = Count::default();
    for recording in Recording::all() {
        let closed = closed_by_server(&recording);
        for (conn, requests) in websocket_requests(&recording) {
            let recorded = closed.get(conn).filter(|(code, _)| *code != 1000);
            if recorded.is_some_and(|(code, _)| *code < 2000) {
                continue; // it broke the rules of websockets
            }
            let refused = requests.iter().find_map(|(rights, data)| {
                wire::accept(data, *rights, &recording.limits(), &recording.key()).err()
            });
            let reason = refused.map(Status::reason);
            assert_eq!(
                refused.map(|status| (status.code().into(), reason.as_deref().unwrap())),
                recorded.copied(),
                "{}: {conn}",
                recording.name
            );
            count.add(answer(refused.is_some()), 1);
        }
    }
    count.assert_found(&["refused", "accepted"]);
}

fn answer(refused: bool) -> &'static str {
    if refused { "refused" } else { "accepted" }
}

/// Code and reason with which the server closed each connection.
fn closed_by_server(recording: &Recording) -> HashMap<&str, (u64, &str)> {
    recording
        .steps()
        .filter(|step| member(step, "kind") == "ws-close" && member(step, "by") == "server")
        .filter_map(|step| Some((step["code"].as_u64()?, step)))
        .map(|(code, step)| (member(step, "conn"), (code, member(step, "reason"))))
        .collect()
}

/// What binary websockets sent: fragments joined; without what breaks the websocket's own rules.
fn websocket_requests(recording: &Recording) -> HashMap<&str, Vec<(Rights, Vec<u8>)>> {
    let mut open = HashMap::new();
    let mut fragments: HashMap<&str, Vec<u8>> = HashMap::new();
    let mut requests: HashMap<&str, Vec<_>> = HashMap::new();
    for step in recording.steps() {
        let conn = member(step, "conn");
        match member(step, "kind") {
            "ws-open" if is_binary(member(step, "target")) => {
                let channels = channels(recording, member(step, "target"), Role::Subscriber);
                if !channels.is_empty() {
                    let sender = channels.sender();
                    open.insert(conn, Rights::Untrusted { sender });
                }
            }
            "ws-send" if matches!(member(step, "opcode"), "text" | "binary" | "continuation") => {
                let data = payload(step, "data").unwrap();
                let is_sound = ["masked", "rsv", "opcode_number"]
                    .iter()
                    .all(|oddity| step.get(oddity).is_none());
                let message = fragments.entry(conn).or_default();
                message.extend(data);
                if step["fin"] != false {
                    let message = std::mem::take(message);
                    if let Some(rights) = open.get(conn)
                        && is_sound
                        && message.len() <= recording.max_payload()
                    {
                        requests.entry(conn).or_default().push((*rights, message));
                    }
                }
            }
            _ => {}
        }
    }
    requests
}

/// A subscription is refused with 4010 where no channel of it counts, and only there.
#[test]
fn subscriptions_are_accepted_as_recorded() {
    let mut count = Count::default();
    for recording in Recording::all() {
        let closed = closed_by_server(&recording);
        for step in recording.steps() {
            let (target, response) = (member(&step["request"], "target"), &step["response"]);
            let refused = match member(step, "kind") {
                "http" => member(response, "body_utf8").starts_with("4010"),
                "ws-open" if response["status"] == 101 => closed
                    .get(member(step, "conn"))
                    .is_some_and(|(code, _)| *code == 4010),
                _ => continue,
            };
            if is_get(step) && recording.is_for("sub", target) {
                let channels = channels(&recording, target, Role::Subscriber);
                assert_eq!(channels.is_empty(), refused, "{}: {target}", recording.name);
                count.add(answer(refused), 1);
            }
        }
    }
    count.assert_found(&["refused", "accepted"]);
}

/// Asking who is online is refused with 4017 where no channel counts, and only there.
#[test]
fn questions_for_channels_are_accepted_as_recorded() {
    let mut count = Count::default();
    for recording in Recording::all() {
        for step in recording.steps() {
            let target = member(&step["request"], "target");
            let is_http = member(step, "kind") == "http";
            if is_http && is_get(step) && recording.is_for("pub", target) {
                let refused = member(&step["response"], "body_utf8").starts_with("4017");
                let channels = channels(&recording, target, Role::Publisher);
                assert_eq!(channels.is_empty(), refused, "{}: {target}", recording.name);
                count.add(answer(refused), 1);
            }
        }
    }
    count.assert_found(&["refused", "accepted"]);
}

/// Whether the step is a GET that found a route, and was not refused by the websocket's handshake.
fn is_get(step: &Value) -> bool {
    let body = member(&step["response"], "body_utf8");
    let status = step["response"]["status"].as_u64();
    let routed = status != Some(404) && (status != Some(400) || body.starts_with("40"));
    member(&step["request"], "method") == "GET" && routed
}

#[test]
fn what_is_in_redis_comes_back() {
    let mut count = Count::default();
    for recording in Recording::all() {
        for step in recording.steps() {
            if member(step, "kind") == "redis-pubsub" {
                let data = payload(step, "data").unwrap();
                let notifications = wire::decode_notifications(&data).unwrap();
                assert_eq!(notifications.len(), 1);
                assert!(wire::encode_notification(&notifications[0]) == data);
                count.add("notifications", 1);
            }
            for stored in step["keys"].as_array().into_iter().flatten() {
                if member(stored, "key").starts_with("message:") {
                    let data = payload(stored, "value").unwrap();
                    let message = wire::decode_message(&data).unwrap();
                    assert_eq!(message.id.to_string(), member(stored, "key_suffix_hex"));
                    assert!(wire::encode_message(&message) == data);
                    count.add("stored messages", 1);
                }
            }
        }
    }
    count.assert_found(&["notifications", "stored messages"]);
}
