//! `pull.config.get` of a guest: what it asks, and the answer in the shape of the module's.

mod shape;

use http::{Method, header, request};
use jiff::Timestamp;
use pullgate_compat::query::{self, Pair};
use serde_json::Value;

use self::shape::{Answer, Batch, CallResult, Config, Time};
use super::channels::Signed;

/// Longest form that can be a guest's.
pub(crate) const MAX_FORM: usize = 64 << 10;

/// What a guest may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Config,
    ServerTime,
}

/// A guest's request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The number it names, negative.
    pub(crate) guest: String,
    pub(crate) calls: Calls,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    One(Call),
    /// Name → call.
    Batch(Vec<(String, Call)>),
}

/// Whether a head can be that of a guest's request; only then is its body looked at.
pub(crate) fn may_be(parts: &request::Parts) -> bool {
    let text = |name| parts.headers.get(name)?.to_str().ok();
    let is_form = text(header::CONTENT_TYPE).is_none_or(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    });
    let is_short = text(header::CONTENT_LENGTH)
        .and_then(|length| length.parse::<usize>().ok())
        .is_none_or(|length| length <= MAX_FORM);
    parts.method == Method::POST
        && method(parts.uri.path()).is_some()
        && is_form
        && is_short
        && !parts.headers.contains_key(header::TRANSFER_ENCODING)
}

/// The REST method of a path: `/rest/pull.config.get.json`.
fn method(path: &str) -> Option<&str> {
    let method = path.strip_prefix("/rest/")?.trim_end_matches('/');
    let method = method.strip_suffix(".json").unwrap_or(method);
    matches!(method, "pull.config.get" | "batch").then_some(method)
}

/// Reads a request; `None` if it names no guest, or asks for more than guests may.
pub(crate) fn asked(parts: &request::Parts, form: &[u8]) -> Option<Asked> {
    let query = parts.uri.query().unwrap_or_default();
    let mut pairs = query::pairs(form);
    pairs.extend(query::pairs(query.as_bytes()));
    let Pair(_, guest) = pairs.iter().find(|Pair(name, _)| name == "pull_guest_id")?;
    let calls = match method(parts.uri.path())? {
        "batch" => {
            let commands: Vec<(String, Call)> = pairs
                .iter()
                .filter(|Pair(name, _)| name == "cmd" || name.starts_with("cmd["))
                .map(|Pair(name, command)| {
                    let name = name.strip_prefix("cmd[")?.strip_suffix(']')?;
                    Some((name.to_owned(), call(command)?))
                })
                .collect::<Option<_>>()?;
            (!commands.is_empty()).then_some(Calls::Batch(commands))?
        }
        _ => Calls::One(Call::Config),
    };
    Some(Asked {
        guest: guest.clone().into_owned(),
        calls,
    })
}

/// A command of a batch: `pull.config.get?CACHE=N`.
fn call(command: &str) -> Option<Call> {
    match command.split('?').next().unwrap_or_default() {
        "pull.config.get" => Some(Call::Config),
        "server.time" => Some(Call::ServerTime),
        _ => None,
    }
}

/// Where the guest's browser finds the push server: the host that it used.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) host: &'a str,
    pub(crate) subscribe: &'a str,
    pub(crate) websocket: &'a str,
    pub(crate) rest: &'a str,
}

/// What the module's own answer to the guest says. Clients compare timestamp and revision with those of the page,
/// and drop a configuration in which they differ.
#[derive(Debug)]
pub(crate) struct Module {
    /// `channels.shared`, as it stands there.
    pub(crate) shared: Option<Value>,
    /// When the site's push settings were changed last, unix seconds.
    pub(crate) config_timestamp: u64,
    pub(crate) revision_web: u64,
    pub(crate) revision_mobile: u64,
}

impl Module {
    /// A site without the module: its clients expect the revisions of 26.250.
    pub(crate) const NONE: Self = Self {
        shared: None,
        config_timestamp: 0,
        revision_web: 19,
        revision_mobile: 3,
    };

    /// Reads its answer; whatever is missing there is as in [`Self::NONE`].
    pub(crate) fn of(answer: &[u8]) -> Self {
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        // PHP gives a number that comes from an option as a text.
        let number = |pointer| match answer.pointer(pointer)? {
            Value::Number(number) => number.as_u64(),
            Value::String(digits) => digits.parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let shared = answer.pointer("/result/channels/shared");
        let names_one = |shared: &&Value| {
            shared
                .get("id")
                .and_then(Value::as_str)
                .is_some_and(|id| !id.is_empty())
        };
        Self {
            shared: shared.filter(names_one).cloned(),
            config_timestamp: number("/result/server/config_timestamp")
                .unwrap_or(Self::NONE.config_timestamp),
            revision_web: number("/result/api/revision_web").unwrap_or(Self::NONE.revision_web),
            revision_mobile: number("/result/api/revision_mobile")
                .unwrap_or(Self::NONE.revision_mobile),
        }
    }
}

/// What goes into the answer.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) version: u8,
    pub(crate) place: Place<'a>,
    pub(crate) channels: Signed,
    pub(crate) module: Module,
    /// Seconds until the client asks again.
    pub(crate) ttl: i64,
    pub(crate) now: Timestamp,
}

/// Answers what was asked.
pub(crate) fn answer(asked: &Asked, facts: &Facts<'_>) -> String {
    let body = match &asked.calls {
        Calls::One(call) => serde_json::to_string(&Answer {
            result: result(*call, facts),
            time: Time::at(facts.now),
        }),
        Calls::Batch(calls) => serde_json::to_string(&Answer {
            result: Batch {
                result: calls
                    .iter()
                    .map(|(name, call)| (name.as_str(), result(*call, facts)))
                    .collect(),
                result_error: [],
                result_total: [],
                result_next: [],
                result_time: calls
                    .iter()
                    .map(|(name, _)| (name.as_str(), Time::at(facts.now)))
                    .collect(),
            },
            time: Time::at(facts.now),
        }),
    };
    // Only maps whose keys are no strings fail.
    body.unwrap_or_default()
}

/// The module's refusal of somebody else's number.
pub(crate) const REFUSAL: &str = "{\"error\":\"AUTHORIZE_ERROR\",\"error_description\":\
    \"Method not available for guest session at the moment.\"}";

fn result<'a>(call: Call, facts: &'a Facts<'_>) -> CallResult<'a> {
    match call {
        Call::Config => CallResult::Config(Box::new(Config::of(facts))),
        Call::ServerTime => CallResult::ServerTime(iso(facts.now)),
    }
}

/// `date('c')` of PHP, in UTC.
fn iso(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

#[cfg(test)]
mod tests;
