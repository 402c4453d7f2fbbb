//! The server's statistics: names, limits and kinds of values count, the numbers do not.

use serde_json::{Map, Value, json};

/// The shape of statistics, or `None` for what is no list.
pub(crate) fn shape(json: &[u8]) -> Option<Value> {
    let statistics: Value = serde_json::from_slice(json).ok()?;
    statistics.is_array().then(|| shape_of("", &statistics))
}

fn shape_of(name: &str, value: &Value) -> Value {
    match value {
        Value::Object(members) if is_counters(name, members) => json!("<counters>"),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| match name.as_str() {
                "limits" => (name.clone(), value.clone()),
                name => (name.to_owned(), shape_of(name, value)),
            })
            .collect(),
        Value::Array(values) => values.iter().map(|value| shape_of(name, value)).collect(),
        Value::Number(_) => json!("<number>"),
        Value::String(_) if name == "processUniqueId" => json!("<string>"),
        Value::String(_) | Value::Bool(_) | Value::Null => value.clone(),
    }
}

/// Which kinds of requests and messages are counted depends on what came.
fn is_counters(name: &str, members: &Map<String, Value>) -> bool {
    matches!(name, "requests" | "messages") && members.values().all(Value::is_u64)
}
