//! Every recording of the repository can be read, and is the same when it is written again.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is a failed test"
)]

use std::path::Path;

use pullgate_recording::format::Recording;
use serde_json::{Value, json};

/// What the format has for people only, and the choice between text and Base64, which is the writer's.
fn bare(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(name, _)| name != "decoded")
            .map(|(name, value)| match name.strip_suffix("_base64") {
                Some(stem) if !stem.ends_with("parts") => {
                    let bytes = data_encoding::BASE64
                        .decode(value.as_str().unwrap().as_bytes())
                        .unwrap();
                    match String::from_utf8(bytes) {
                        Ok(text) => (format!("{stem}_utf8"), text.into()),
                        Err(_) => (name, value),
                    }
                }
                _ => (name, bare(value)),
            })
            .collect(),
        Value::Array(values) => values.into_iter().map(bare).collect(),
        Value::Number(number) => json!(number.as_f64()),
        other @ (Value::Null | Value::Bool(_) | Value::String(_)) => other,
    }
}

#[test]
fn every_recording_survives() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/push-server-0.4.0");
    let mut read = 0;
    for directory in [directory.clone(), directory.join("cluster")] {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let recording: Recording = serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let stored: Value = serde_json::from_str(&text).unwrap();
            let written = bare(serde_json::to_value(&recording).unwrap());
            let stored = bare(stored);
            for (at, (written, stored)) in written["steps"]
                .as_array()
                .unwrap()
                .iter()
                .zip(stored["steps"].as_array().unwrap())
                .enumerate()
            {
                assert_eq!(written, stored, "{} step {at}", path.display());
            }
            assert_eq!(written, stored, "{}", path.display());
            read += 1;
        }
    }
    assert_eq!(read, 86);
}
