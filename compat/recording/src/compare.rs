//! What is compared of that which came, and what may differ: ids, times and the server's statistics. Those are
//! not left out, but held against what they must be.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::RangeInclusive;

use pullgate_compat::message::{Message as Published, MessageId};
use pullgate_compat::wire::Response as Command;
use serde_json::{Map, Value};

use crate::format::Response;
use crate::headers;
use crate::message::{Form, Message, listed, split};
use crate::mids::Mids;
use crate::short;
use crate::stats;

/// Headers that clients depend on. The others, and the order of all, are the server's own affair.
const COMPARED: [&str; 4] = ["content-type", "last-message-id", "expires", "upgrade"];
const COMPARED_PREFIXES: [&str; 2] = ["access-control-", "sec-websocket-"];

const LAST_MESSAGE_ID: &str = "last-message-id";

/// Clocks of two machines may be so far apart.
const CLOCKS_APART_MS: u64 = 300_000;

/// Something that is not as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Where: `response/status`, `message 2/body`.
    pub(crate) path: String,
    pub(crate) expected: String,
    pub(crate) actual: String,
}

/// Unix milliseconds between which all times of one side must be.
pub(crate) type Period = RangeInclusive<u64>;

/// The period from `from` to `to`, with what clocks may be apart.
pub(crate) fn period(from: u64, to: u64) -> Period {
    from.saturating_sub(CLOCKS_APART_MS)..=to.saturating_add(CLOCKS_APART_MS)
}

/// Compares what came in one play, and keeps what the next comparison must know.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) mids: Mids,
    /// When it was recorded.
    pub(crate) recorded: Period,
    /// When it is played, with time to spare.
    pub(crate) played: Period,
    /// Whether answers in JSON are statistics.
    pub(crate) statistics: bool,
    /// Ids of the message before on the same connection, recorded and played: of two the later is the greater.
    pub(crate) before: Option<(MessageId, MessageId)>,
    pub(crate) found: Vec<Finding>,
}

impl Comparison {
    /// Reports a difference.
    pub(crate) fn report(&mut self, path: &str, expected: &dyn Display, actual: &dyn Display) {
        self.found.push(Finding {
            path: path.to_owned(),
            expected: short::text(&expected.to_string()),
            actual: short::text(&actual.to_string()),
        });
    }

    /// Reports a difference if there is one.
    pub(crate) fn equal<T: PartialEq + Display>(&mut self, path: &str, expected: &T, actual: &T) {
        if expected != actual {
            self.report(path, expected, actual);
        }
    }

    pub(crate) fn response(&mut self, expected: &Response, actual: &Response) {
        if expected.error.is_some() || actual.error.is_some() {
            self.equal("response", &outcome(expected), &outcome(actual));
            return;
        }
        self.before = None;
        self.equal("response/status", &expected.status, &actual.status);
        self.headers(expected, actual);
        let (Some(expected_body), Some(body)) = (&expected.body, &actual.body) else {
            return;
        };
        let path = "response/body";
        let content_type = headers::value(&expected.headers, "content-type");
        let form = match content_type {
            Some(kind) if kind.starts_with("application/octet-stream") => Form::Binary,
            Some(_) | None => Form::Text,
        };
        if self.statistics && form == Form::Text && self.shapes(path, expected_body, body) {
            return;
        }
        let (expected, actual) = (split(expected_body, form), split(body, form));
        if expected.len() != actual.len() {
            self.report(path, &listed(&expected), &listed(&actual));
            let recorded = expected.iter().flat_map(Message::published);
            let came = actual.iter().flat_map(Message::published);
            self.pair_by_body(recorded, came);
            return;
        }
        for (index, (expected, actual)) in expected.iter().zip(&actual).enumerate() {
            let path = match actual {
                Message::Bytes(_) => path.to_owned(),
                Message::Text { .. } | Message::Response(_) => {
                    format!("{path}/message {}", index + 1)
                }
            };
            self.message(&path, expected, actual);
        }
    }

    fn headers(&mut self, expected: &Response, actual: &Response) {
        let (mut recorded, mut came) = (compared(&expected.headers), compared(&actual.headers));
        let last_ids = (
            recorded
                .get(LAST_MESSAGE_ID)
                .and_then(|id| MessageId::parse(id)),
            came.get(LAST_MESSAGE_ID)
                .and_then(|id| MessageId::parse(id)),
        );
        if let (Some(recorded_id), Some(id)) = last_ids {
            if let Err(expected) = self.mids.echo(recorded_id, id) {
                let path = format!("response/headers/{LAST_MESSAGE_ID}");
                self.report(&path, &expected, &id);
            }
            recorded.remove(LAST_MESSAGE_ID);
            came.remove(LAST_MESSAGE_ID);
        }
        let absent = || "(absent)".to_owned();
        let names: Vec<_> = recorded.keys().chain(came.keys()).cloned().collect();
        for name in names {
            let path = format!("response/headers/{name}");
            let expected = recorded.remove(&name);
            let actual = came.remove(&name);
            self.equal(
                &path,
                &expected.unwrap_or_else(absent),
                &actual.unwrap_or_else(absent),
            );
        }
    }

    /// Compares one message with the one that came in its place.
    pub(crate) fn message(&mut self, path: &str, expected: &Message, actual: &Message) {
        match (expected, actual) {
            (
                Message::Text {
                    mid: recorded,
                    body: expected,
                    ..
                },
                Message::Text {
                    mid,
                    body,
                    delivered,
                },
            ) => {
                if !self.played.contains(delivered) {
                    self.report(&format!("{path}/time"), &"the time of delivery", delivered);
                }
                if expected == body {
                    self.mid(&format!("{path}/mid"), *recorded, *mid);
                } else {
                    self.report(
                        &format!("{path}/body"),
                        &short::bytes(expected),
                        &short::bytes(body),
                    );
                }
            }
            (Message::Response(expected), Message::Response(actual)) => {
                self.command(path, expected, actual);
            }
            (Message::Bytes(expected), Message::Bytes(actual)) if expected == actual => {}
            (
                Message::Text { .. } | Message::Response(_) | Message::Bytes(_),
                Message::Text { .. } | Message::Response(_) | Message::Bytes(_),
            ) => self.report(path, expected, actual),
        }
    }

    fn command(&mut self, path: &str, expected: &Command, actual: &Command) {
        match (expected, actual) {
            (Command::Messages(expected), Command::Messages(actual)) => {
                self.all_published(path, expected, actual);
            }
            (Command::ServerStats(expected), Command::ServerStats(actual))
                if self.shapes(path, expected.as_bytes(), actual.as_bytes()) => {}
            (expected, actual) if expected == actual => {}
            (expected, actual) => self.report(
                path,
                &Message::Response(expected.clone()),
                &Message::Response(actual.clone()),
            ),
        }
    }

    fn all_published(&mut self, path: &str, expected: &[Published], actual: &[Published]) {
        if expected.len() != actual.len() {
            self.report(path, &bodies(expected), &bodies(actual));
            let recorded = expected.iter().map(|message| (message.id, &message.body));
            let came = actual.iter().map(|message| (message.id, &message.body));
            self.pair_by_body(recorded, came);
            return;
        }
        let alone = expected.len() == 1;
        for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
            let path = match alone {
                true => path.to_owned(),
                false => format!("{path}.{}", index + 1),
            };
            self.published(&path, expected, actual);
        }
    }

    fn published(&mut self, path: &str, expected: &Published, actual: &Published) {
        if expected.body != actual.body {
            let quoted = |message: &Published| short::bytes(message.body.as_bytes());
            self.report(&format!("{path}/body"), &quoted(expected), &quoted(actual));
            return;
        }
        self.mid(&format!("{path}/id"), expected.id, actual.id);
        self.equal(&format!("{path}/expiry"), &expected.expiry, &actual.expiry);
        let sender = |message: &Published| format!("{:?}", message.sender);
        self.equal(
            &format!("{path}/sender"),
            &sender(expected),
            &sender(actual),
        );
        let recorded = seconds(expected.created, &self.recorded);
        let came = seconds(actual.created, &self.played);
        self.equal(&format!("{path}/created"), &recorded, &came);
    }

    /// Holds an id against the one recorded, and against that of the message before.
    fn mid(&mut self, path: &str, recorded: MessageId, actual: MessageId) {
        if let Err(expected) = self.mids.pair(recorded, actual) {
            self.report(path, &expected, &actual);
        }
        if let Some((recorded_before, before)) = self.before.replace((recorded, actual)) {
            let order = recorded.cmp(&recorded_before);
            if order != actual.cmp(&before) {
                let expected = match order {
                    Ordering::Less => format!("an id smaller than {before}"),
                    Ordering::Equal => format!("{before} again"),
                    Ordering::Greater => format!("an id greater than {before}"),
                };
                self.report(path, &expected, &actual);
            }
        }
    }

    /// Where another number of messages came, the ids of those that did.
    fn pair_by_body<B: PartialEq>(
        &mut self,
        mut recorded: impl Iterator<Item = (MessageId, B)>,
        came: impl Iterator<Item = (MessageId, B)>,
    ) {
        for (id, body) in came {
            if let Some((recorded, _)) = recorded.by_ref().find(|(_, other)| *other == body) {
                self.mid("id", recorded, id);
            }
        }
    }

    /// Compares statistics; false if the recorded ones are none.
    fn shapes(&mut self, path: &str, expected: &[u8], actual: &[u8]) -> bool {
        let Some(expected) = stats::shape(expected) else {
            return false;
        };
        match stats::shape(actual) {
            Some(actual) => self.values(path, &expected, &actual),
            None => self.report(path, &expected, &short::bytes(actual)),
        }
        true
    }

    fn values(&mut self, path: &str, expected: &Value, actual: &Value) {
        let (Value::Object(expected), Value::Object(actual)) = (expected, actual) else {
            let (Value::Array(expected), Value::Array(actual)) = (expected, actual) else {
                self.equal(path, expected, actual);
                return;
            };
            self.equal(path, &expected.len(), &actual.len());
            for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                self.values(&format!("{path}/{index}"), expected, actual);
            }
            return;
        };
        let missing = Value::from("(absent)");
        let names: BTreeSet<_> = expected.keys().chain(actual.keys()).collect();
        for name in names {
            let value = |of: &Map<String, Value>| of.get(name).unwrap_or(&missing).clone();
            self.values(&format!("{path}/{name}"), &value(expected), &value(actual));
        }
    }
}

/// How an exchange ended.
fn outcome(response: &Response) -> String {
    match &response.error {
        Some(error) => error.clone(),
        None => format!("status {}", response.status),
    }
}

/// The headers that are compared, by their names in lower case; several of one name joined.
fn compared(headers: &[(String, String)]) -> BTreeMap<String, String> {
    let mut compared = BTreeMap::new();
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        if COMPARED.contains(&name.as_str())
            || COMPARED_PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix))
        {
            compared
                .entry(name)
                .and_modify(|values: &mut String| values.push_str(&format!(", {value}")))
                .or_insert_with(|| value.clone());
        }
    }
    compared
}

fn bodies(messages: &[Published]) -> String {
    let bodies: Vec<_> = messages
        .iter()
        .map(|one| short::bytes(one.body.as_bytes()))
        .collect();
    format!("{}: {}", messages.len(), bodies.join(", "))
}

/// What `created` is: seconds, or the slip of the reference (docs/compatibility.md, 11).
fn seconds(created: u32, period: &Period) -> String {
    let seconds = u64::from(created) * 1000;
    if period.contains(&seconds) {
        return "seconds".into();
    }
    // Milliseconds of the period have at most two values above the low 32 bits.
    let cut =
        [period.start(), period.end()].map(|end| (end & !u64::from(u32::MAX)) + u64::from(created));
    match cut.iter().any(|whole| period.contains(whole)) {
        true => "low 32 bits of milliseconds".into(),
        false => created.to_string(),
    }
}

#[cfg(test)]
mod tests;
