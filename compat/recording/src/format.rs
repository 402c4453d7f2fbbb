//! A recording as it is stored: one scenario, one JSON file. `fixtures/FORMAT.md` tells what each member means.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::payload::{self, Payload};
pub use action::Action;
pub(crate) use action::Parts;

mod action;

/// One scenario.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recording {
    /// The file's name without its ending.
    pub name: String,
    /// What it is there to show.
    pub about: String,
    /// The server.
    pub recorded_from: String,
    /// `single` or `cluster`.
    pub mode: String,
    /// When time 0 was, in unix milliseconds.
    pub recorded_at_unix_ms: u64,
    /// The key of the signatures; empty if it is not known.
    pub security_key: String,
    /// The hash under the signatures' HMAC.
    pub signature_algo: String,
    /// Service (`pub`, `sub`, `rest`, `stat`, `systemctl`) → its path.
    pub routes: BTreeMap<String, String>,
    /// How the server was configured.
    #[serde(default)]
    pub limits: BTreeMap<String, u64>,
    /// Pairs of ids by a letter, used in the scenario or not.
    #[serde(default)]
    pub channels: BTreeMap<String, Value>,
    /// Which values differ from one recording to the next.
    #[serde(default)]
    pub volatile: Vec<String>,
    /// The scenario.
    pub steps: Vec<Step>,
}

/// Something that was done or came.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    /// Milliseconds since the scenario began; of what came, the time of arrival.
    pub at_ms: f64,
    /// What it is there for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
    /// Why what was waited for did not come.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// What.
    #[serde(flatten)]
    pub action: Action,
}

/// One request. Headers are in their order and case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "HTTP's own words")]
pub struct Request {
    pub method: String,
    /// As it was sent.
    pub target: String,
    pub headers: Vec<(String, String)>,
    /// If it was not HTTP/1.1: `HTTP/1.0`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    #[serde(flatten, with = "body_bytes")]
    pub body: Payload,
}

/// One response, without its chunked coding.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "HTTP's own words")]
pub struct Response {
    /// 0, and not stored, where none came: see `error`.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub status: u16,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub reason: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub version: String,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub headers: Vec<(String, String)>,
    #[serde(flatten, with = "body_bytes")]
    pub body: Payload,
    /// From the request's sending to the answer's end.
    pub after_ms: f64,
    /// Statuses before it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub interim: Option<Vec<u16>>,
    /// When the connection's end was the body's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended_by: Option<String>,
    /// Half a second later.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub connection_afterwards: Option<String>,
    /// Why no answer came.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
}

/// A websocket frame, or a message whose fragments were joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// `text`, `binary`, `continuation`, `ping`, `pong`.
    pub opcode: String,
    /// Its bytes.
    #[serde(flatten, with = "data_bytes")]
    pub data: Payload,
    /// Only where it is unusual: false.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fin: Option<bool>,
    /// Only where it is unusual: false.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub masked: Option<bool>,
    /// The three reserved bits, 4 for the first; only where it is unusual.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rsv: Option<u8>,
    /// The opcode that was sent, where it is one that does not exist.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub opcode_number: Option<u8>,
}

impl Frame {
    /// The opcode as reports show it: of one that does not exist, its number.
    pub(crate) fn shown_opcode(&self) -> String {
        match self.opcode_number {
            Some(number) => number.to_string(),
            None => self.opcode.clone(),
        }
    }
}

/// Who closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "they say it")]
pub enum Side {
    Client,
    Server,
}

/// How the server's side of a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "they say it")]
pub enum Ending {
    Eof,
    Reset,
}

/// Whether and how the server closed a raw connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "they say it")]
pub enum ServerClosed {
    How(Ending),
    /// Always false.
    Not(bool),
}

fn is_zero(status: &u16) -> bool {
    *status == 0
}

/// A payload among the members of its step, under a name of its own.
macro_rules! payload_members {
    ($module:ident, $name:literal, $text:expr) => {
        mod $module {
            use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
            use serde_json::{Map, Value};

            use super::{Payload, payload};

            pub(super) fn serialize<S: Serializer>(
                payload: &Payload,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                payload::write(payload, $name, $text).serialize(serializer)
            }

            pub(super) fn deserialize<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Payload, D::Error> {
                let members = Map::<String, Value>::deserialize(deserializer)?;
                payload::read(&members, $name).map_err(Error::custom)
            }
        }
    };
}

payload_members!(body_bytes, "body", true);
payload_members!(data_bytes, "data", true);
payload_members!(request_bytes, "request", true);
payload_members!(response_bytes, "response", true);
