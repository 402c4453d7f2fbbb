//! Every recording of the reference server is masked, and must mean the same afterwards.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a panic is a failed test"
)]

use std::fs;
use std::path::Path;

use data_encoding::{BASE64, HEXLOWER};
use pullgate_compat::channel::{ChannelList, Role};
use pullgate_compat::query::Query;
use pullgate_compat::signature::SignatureKey;
use pullgate_compat::text::frames;
use pullgate_compat::wire::{self, Checked, Limits, Response, Rights};

use super::*;
use crate::format::Recording;

fn recordings() -> Vec<Recording> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/push-server-0.4.0");
    let mut all = Vec::new();
    for folder in ["", "cluster"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "json") {
                all.push(serde_json::from_slice(&fs::read(path).unwrap()).unwrap());
            }
        }
    }
    all
}

/// The steps of a recording, each before and after masking, and the keys of both.
struct Masked {
    name: String,
    steps: Vec<(Step, Step)>,
    old: SignatureKey,
    new: SignatureKey,
}

fn mask() -> Mask {
    let paths = PushPaths::default();
    Mask::new(Algorithm::Sha1, "key", paths, "127.0.0.1:8894".to_owned()).unwrap()
}

fn masked(recording: &Recording) -> Masked {
    let mut mask = mask();
    mask.ids = Ids::new(
        Algorithm::Sha1,
        &recording.security_key,
        mask.key(),
        "secret",
    );
    let mut after = Vec::new();
    for (number, step) in (0_u32..).zip(&recording.steps) {
        let mut step = step.clone();
        step.at_ms = number.into();
        after.extend(mask.masked(step));
    }
    after.extend(mask.rest());
    after.sort_by(|a, b| a.at_ms.total_cmp(&b.at_ms));
    assert_eq!(after.len(), recording.steps.len());
    Masked {
        name: recording.name.clone(),
        steps: recording.steps.iter().cloned().zip(after).collect(),
        old: SignatureKey::new(Algorithm::Sha1, &recording.security_key),
        new: SignatureKey::new(Algorithm::Sha1, mask.key()),
    }
}

/// The payloads of a step: bytes, and whether they may be protobuf.
fn payloads(step: &Step) -> Vec<Vec<u8>> {
    let payload = |payload: &Payload| payload.clone().unwrap_or_default();
    match &step.action {
        Action::Http {
            request, response, ..
        } => vec![payload(&request.body), payload(&response.body)],
        Action::PollEnd { response, .. } => vec![payload(&response.body)],
        Action::WsSend { frame, .. } | Action::WsRecv { frame, .. } => vec![payload(&frame.data)],
        _ => Vec::new(),
    }
}

fn target(step: &Step) -> Option<&str> {
    match &step.action {
        Action::Http { request, .. }
        | Action::PollStart { request, .. }
        | Action::WsOpen { request, .. } => Some(&request.target),
        _ => None,
    }
}

/// Everything that is in a masked step, for whoever searches it: a character for each byte.
fn everything(step: &Step) -> String {
    let mut all = serde_json::to_vec(step).unwrap();
    all.truncate(100_000);
    for payload in payloads(step) {
        all.extend_from_slice(b" | ");
        // What is longer is one character repeated, in these recordings.
        let half = payload.len().min(50_000);
        all.extend_from_slice(&payload[..half]);
        all.extend_from_slice(&payload[payload.len() - half..]);
    }
    characters(&all)
}

fn characters(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

#[test]
fn nothing_of_the_originals_is_left() {
    let mut searched = 0;
    for recording in recordings() {
        let mut secrets = Vec::new();
        for channel in recording.channels.values() {
            for hex in channel.as_object().unwrap().values() {
                let hex = hex.as_str().unwrap();
                let raw = HEXLOWER.decode(hex.as_bytes()).unwrap();
                secrets.push(hex.to_owned());
                // In Base64, wherever among its groups of three bytes it begins.
                for skipped in 0..3 {
                    let whole = (raw.len() - skipped) / 3 * 3;
                    secrets.push(BASE64.encode(&raw[skipped..skipped + whole]));
                }
                secrets.push(characters(&raw));
            }
        }
        for (_, step) in masked(&recording).steps {
            let all = everything(&step);
            for secret in &secrets {
                assert!(!all.contains(secret), "{}: {step:?}", recording.name);
                searched += 1;
            }
        }
    }
    assert!(searched > 10_000);
}

#[test]
fn what_was_signed_is_signed_and_what_was_not_is_not() {
    let mut signed = 0;
    for recording in recordings() {
        let Masked {
            steps, old, new, ..
        } = masked(&recording);
        for (before, after) in &steps {
            let (Some(before), Some(after)) = (target(before), target(after)) else {
                continue;
            };
            assert!(
                before.len() == after.len() || before.contains("://"),
                "{before}"
            );
            for role in [Role::Subscriber, Role::Publisher] {
                let channels = |target: &str, key: &SignatureKey| {
                    let value = Query::of_target(target).first("CHANNEL_ID");
                    value.map(|value| ChannelList::parse(&value, key, role).channels().len())
                };
                assert_eq!(
                    channels(before, &old),
                    channels(after, &new),
                    "{before}\n{after}"
                );
                signed += channels(after, &new).unwrap_or_default();
            }
            for name in ["binaryMode", "mid"] {
                let value = |target| Query::of_target(target).first(name).map(|v| v.len());
                assert_eq!(value(before), value(after), "{before}");
            }
        }
    }
    assert!(signed > 1000, "{signed}");
}

#[test]
fn requests_get_the_answers_that_they_got() {
    let mut accepted = 0;
    for recording in recordings() {
        let Masked {
            name,
            steps,
            old,
            new,
        } = masked(&recording);
        for (before, after) in &steps {
            let binary = match &before.action {
                Action::Http {
                    request, service, ..
                } => service == "rest" || target::is_binary(&request.target),
                Action::WsSend { frame, .. } => frame.opcode == "binary" && frame.fin.is_none(),
                _ => false,
            };
            if !binary {
                continue;
            }
            let before = payloads(before).swap_remove(0);
            let after = payloads(after).swap_remove(0);
            let public = pullgate_compat::channel::PublicId::from_bytes([0; 16]);
            for rights in [
                Rights::Trusted,
                Rights::Untrusted {
                    sender: Some(public),
                },
            ] {
                let checked = |data: &[u8], key| {
                    wire::accept(data, rights, &Limits::default(), key).map(|checked| match checked
                    {
                        Checked::Publish(messages) => messages
                            .into_iter()
                            .map(|message| {
                                let mut body = message.body.as_bytes().to_vec();
                                text::mask(&mut body);
                                (message.receivers.len(), message.expiry, body)
                            })
                            .collect(),
                        Checked::ChannelStats(channels) => {
                            vec![(
                                channels.len(),
                                pullgate_compat::message::Expiry::default(),
                                Vec::new(),
                            )]
                        }
                        Checked::ServerStats => Vec::new(),
                    })
                };
                assert_eq!(checked(&before, &old), checked(&after, &new), "{name}");
                accepted += usize::from(checked(&after, &new).is_ok());
            }
        }
    }
    assert!(accepted > 50, "{accepted}");
}

#[test]
fn answers_have_the_form_that_they_had() {
    let (mut texts, mut batches) = (0, 0);
    for recording in recordings() {
        for (step, masked) in masked(&recording).steps {
            let Some(before) = payloads(&step).pop() else {
                continue;
            };
            let after = payloads(&masked).pop().unwrap();
            assert_eq!(before.len(), after.len());
            let mids = |data: &[u8]| {
                frames(data)
                    .map(|frame| frame.map(|frame| (frame.mid, frame.text.len())))
                    .collect::<Result<Vec<_>, _>>()
            };
            if let Ok(found) = mids(&before) {
                texts += found.len();
                assert_eq!(mids(&after).unwrap(), found);
            }
            let shape = |data: &[u8]| {
                wire::decode_response(data).map(|responses| {
                    responses
                        .into_iter()
                        .map(|response| match response {
                            Response::Messages(messages) => messages
                                .into_iter()
                                .map(|message| (message.id.to_string(), message.body.len()))
                                .collect(),
                            Response::ChannelStats(stats) => stats
                                .into_iter()
                                .map(|stats| (stats.is_online.to_string(), 0))
                                .collect(),
                            Response::ServerStats(body) | Response::Json(body) => {
                                vec![("json".to_owned(), body.len())]
                            }
                        })
                        .collect::<Vec<Vec<_>>>()
                })
            };
            let is_received = !matches!(step.action, Action::WsSend { .. });
            if is_received && let Ok(found) = shape(&before) {
                batches += found.len();
                assert_eq!(shape(&after).unwrap(), found, "{}", recording.name);
            }
        }
    }
    assert!(texts > 100 && batches > 50, "{texts} {batches}");
}

#[test]
fn only_what_is_harmless_stays_of_headers_and_targets() {
    let mut request = Request {
        method: "GET".to_owned(),
        target: "http://push.example.com/bitrix/sub/Secret?user=Secret&mid=17&tag=Secret&%53ecret=1&Secret&x9=+%53?Secret".to_owned(),
        headers: [
            ("Host", "push.example.com"),
            ("cookie", "Secret=Secret; b=1"),
            ("X-Forwarded-For", "192.168.17.2"),
            ("Connection", "close"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec(),
        version: None,
        body: Some(b"Secret \xd0\xa8".to_vec()),
    };
    mask().request(&mut request);
    assert_eq!(
        request.target,
        "http://127.0.0.1:8894/bitrix/sub/xxxxxx?user=xxxxxx&mid=17&tag=xxxxxx&%78xxxxx=0&xxxxxx&x0=+%78?xxxxxx"
    );
    let headers: Vec<&str> = request
        .headers
        .iter()
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(
        headers,
        [
            "127.0.0.1:8894",
            "xxxxxx=xxxxxx; x=0",
            "000.000.00.0",
            "close"
        ]
    );
    assert_eq!(request.body.unwrap(), "xxxxxx \u{436}".as_bytes());
}

#[test]
fn a_message_in_fragments_is_masked_as_one() {
    let whole = b"\x0a\x02\x0a\x00".to_vec();
    let frame = |opcode: &str, data: &[u8], fin| Step {
        at_ms: 0.0,
        note: None,
        error: None,
        action: Action::WsSend {
            conn: "w1".to_owned(),
            frame: crate::format::Frame {
                opcode: opcode.to_owned(),
                data: Some(data.to_vec()),
                fin,
                masked: None,
                rsv: None,
                opcode_number: None,
            },
        },
    };
    let mut mask = mask();
    assert!(
        mask.masked(frame("binary", &whole[..1], Some(false)))
            .is_empty()
    );
    let ping = mask.masked(frame("ping", b"secret", None));
    assert_eq!(payloads(&ping[0]), [b"xxxxxx"]);
    assert!(
        mask.masked(frame("continuation", &whole[1..3], Some(false)))
            .is_empty()
    );
    let steps = mask.masked(frame("continuation", &whole[3..], None));
    let parts: Vec<Vec<u8>> = steps.iter().flat_map(payloads).collect();
    assert_eq!(parts, [&whole[..1], &whole[1..3], &whole[3..]]);
    // One that never ends, and one in which another begins.
    for opcode in ["text", "binary"] {
        assert_eq!(
            mask.masked(frame(opcode, b"secret", Some(false))).len(),
            usize::from(opcode == "binary")
        );
    }
    assert_eq!(payloads(&mask.rest()[0]), [b"xxxxxx"]);
    assert!(mask.rest().is_empty());
}
