//! Reads the recordings; `fixtures/FORMAT.md` says what is in them.

use std::fs;
use std::path::Path;

use data_encoding::{BASE64, HEXLOWER};
use pullgate_compat::query::Query;
use pullgate_compat::signature::SignatureKey;
use pullgate_compat::wire::Limits;
use serde_json::Value;
use sha1::{Digest, Sha1};

/// One recorded scenario.
pub(crate) struct Recording {
    /// Its path below the folder of the recordings, without the ending.
    pub(crate) name: String,
    /// All of it.
    pub(crate) content: Value,
}

impl Recording {
    /// All recordings: of one process, then of a cluster.
    pub(crate) fn all() -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/push-server-0.4.0");
        let mut recordings = Vec::new();
        for folder in ["", "cluster/"] {
            for entry in fs::read_dir(root.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|ending| ending == "json") {
                    let stem = path.file_stem().unwrap().to_str().unwrap();
                    recordings.push(Self {
                        name: format!("{folder}{stem}"),
                        content: serde_json::from_slice(&fs::read(&path).unwrap()).unwrap(),
                    });
                }
            }
        }
        recordings
    }

    pub(crate) fn steps(&self) -> impl Iterator<Item = &Value> {
        self.content["steps"].as_array().unwrap().iter()
    }

    pub(crate) fn key(&self) -> SignatureKey {
        let algorithm = self.content["signature_algo"].as_str().unwrap();
        let key = self.content["security_key"].as_str().unwrap();
        SignatureKey::new(algorithm.parse().unwrap(), key)
    }

    pub(crate) fn limits(&self) -> Limits {
        let limit = |name| usize::try_from(self.content["limits"][name].as_u64().unwrap()).unwrap();
        Limits {
            max_messages: limit("maxMessagesPerRequest"),
            max_channels: limit("maxChannelsPerRequest"),
        }
    }

    pub(crate) fn max_payload(&self) -> usize {
        usize::try_from(self.content["limits"]["maxPayload"].as_u64().unwrap()).unwrap()
    }

    /// The channels that the scenario is about, with their signatures.
    pub(crate) fn channels(&self) -> impl Iterator<Item = &Value> {
        self.content["channels"].as_object().unwrap().values()
    }

    /// Whether `target` is below the path of `service`.
    pub(crate) fn is_for(&self, service: &str, target: &str) -> bool {
        target.starts_with(self.content["routes"][service].as_str().unwrap())
    }
}

/// The bytes of the field `name` of a step, request or response: text, base64, or parts of either.
pub(crate) fn payload(of: &Value, name: &str) -> Option<Vec<u8>> {
    let field = |ending: &str| of.get(format!("{name}{ending}"));
    let text = |text: &Value| text.as_str().unwrap().as_bytes().to_vec();
    let base64 = |text: &Value| BASE64.decode(text.as_str().unwrap().as_bytes()).unwrap();
    let data = if let Some(data) = field("_utf8") {
        text(data)
    } else if let Some(data) = field("_base64") {
        base64(data)
    } else if let Some(data) = field("_parts_utf8") {
        joined(data, text)
    } else {
        joined(field("_parts_base64")?, base64)
    };
    if let Some(sha1) = field("_sha1") {
        assert_eq!(
            HEXLOWER.encode(&Sha1::digest(&data)),
            sha1.as_str().unwrap()
        );
    }
    Some(data)
}

/// `[[part, times], …]`
fn joined(parts: &Value, decode: impl Fn(&Value) -> Vec<u8>) -> Vec<u8> {
    let part = |part: &Value| {
        let times = usize::try_from(part[1].as_u64().unwrap()).unwrap();
        decode(&part[0]).repeat(times)
    };
    parts.as_array().unwrap().iter().flat_map(part).collect()
}

/// A member that is text; empty if there is none.
pub(crate) fn member<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap_or_default()
}

/// Whether `target` asks for protobuf.
pub(crate) fn is_binary(target: &str) -> bool {
    Query::of_target(target).first("binaryMode").as_deref() == Some("true")
}

/// Whether the body of `response` is protobuf.
pub(crate) fn is_protobuf(response: &Value) -> bool {
    let headers = response["headers"].as_array();
    headers
        .into_iter()
        .flatten()
        .any(|header| header[0] == "Content-Type" && header[1] == "application/octet-stream")
}
