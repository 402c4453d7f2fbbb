use bytes::Bytes;
use pullgate_compat::message::{Body, Sender};
use pullgate_compat::text::{self, Now};
use pullgate_compat::wire;

use super::*;

/// Unix milliseconds of the recording and of the play.
const THEN: u64 = 1_795_000_000_000;
const NOW: u64 = 1_800_000_000_123;

fn comparison() -> Comparison {
    Comparison {
        mids: Mids::default(),
        recorded: period(THEN, THEN + 60_000),
        played: period(NOW, NOW + 60_000),
        statistics: true,
        before: None,
        found: Vec::new(),
    }
}

fn published(start: u32, counter: u64, body: &str, created: u32) -> Published {
    Published {
        id: MessageId::new(start, counter),
        body: Body::from_lossy(Bytes::copy_from_slice(body.as_bytes())),
        expiry: 60,
        created,
        sender: Sender::Backend,
    }
}

fn recorded(counter: u64, body: &str) -> Published {
    published(
        1_700_000_000,
        counter,
        body,
        (THEN / 1000).try_into().unwrap(),
    )
}

fn came(counter: u64, body: &str) -> Published {
    published(
        1_800_000_000,
        counter,
        body,
        (NOW / 1000).try_into().unwrap(),
    )
}

fn answer(content_type: &str, body: Vec<u8>) -> Response {
    Response {
        status: 200,
        headers: vec![("Content-Type".into(), content_type.into())],
        body: Some(body),
        ..Response::default()
    }
}

fn text(messages: &[Published], unix_ms: u64) -> Response {
    let mut body = Vec::new();
    for message in messages {
        text::encode(message, &Now::at(unix_ms), &mut body);
    }
    answer("text/plain", body)
}

fn binary(messages: &[Published]) -> Response {
    answer("application/octet-stream", wire::encode_messages(messages))
}

/// Path, expected and actual of every difference.
fn differences(comparison: &mut Comparison, expected: &Response, actual: &Response) -> Vec<String> {
    comparison.response(expected, actual);
    let found = comparison.found.drain(..);
    found
        .map(|found| format!("{}: {} | {}", found.path, found.expected, found.actual))
        .collect()
}

fn between(expected: &Response, actual: &Response) -> Vec<String> {
    differences(&mut comparison(), expected, actual)
}

#[test]
fn ids_and_times_may_differ() {
    let expected = [recorded(1, "a"), recorded(2, "b")];
    let actual = [came(71, "a"), came(75, "b")];
    assert!(between(&text(&expected, THEN), &text(&actual, NOW)).is_empty());
    assert!(between(&binary(&expected), &binary(&actual)).is_empty());
}

#[test]
fn ids_and_times_must_have_their_form() {
    let expected = text(&[recorded(1, "a")], THEN);
    let good = text(&[came(71, "a")], NOW);
    let body = String::from_utf8(good.body.unwrap()).unwrap();
    for (from, to) in [
        ("\"id\":71", "\"id\":72"),
        ("\"tag\":\"123\"", "\"tag\":\"12\""),
        ("GMT", "UTC"),
        ("\"channel\":\"-\"", "\"channel\":\"\""),
        ("\"text\":", "\"text\": "),
    ] {
        let bad = answer("text/plain", body.replace(from, to).into());
        assert_eq!(between(&expected, &bad).len(), 1, "{to}");
    }
    let late = text(&[came(71, "a")], NOW + 3_600_000);
    assert!(between(&expected, &late)[0].starts_with("response/body/message 1/time: "));
}

#[test]
fn every_other_member_counts() {
    let expected = binary(&[recorded(1, "a")]);
    let mut other = came(71, "a");
    other.expiry = 61;
    other.sender = Sender::Unknown;
    assert_eq!(
        between(&expected, &binary(&[other])),
        [
            "response/body/message 1/expiry: 60 | 61",
            "response/body/message 1/sender: Backend | Unknown",
        ]
    );
    assert_eq!(
        between(&expected, &binary(&[came(71, "b")])),
        ["response/body/message 1/body: \"a\" | \"b\""]
    );
}

#[test]
fn created_is_seconds_or_the_low_bits_of_milliseconds() {
    let low_bits = |unix_ms: u64| (unix_ms & u64::from(u32::MAX)).try_into().unwrap();
    let expected = published(1_700_000_000, 1, "a", low_bits(THEN));
    assert_eq!(
        between(
            &binary(std::slice::from_ref(&expected)),
            &binary(&[came(7, "a")])
        ),
        ["response/body/message 1/created: low 32 bits of milliseconds | seconds"]
    );
    let actual = published(1_800_000_000, 7, "a", low_bits(NOW));
    assert!(between(&binary(&[expected]), &binary(&[actual])).is_empty());
}

#[test]
fn one_message_keeps_its_id() {
    let mut comparison = comparison();
    let (first, again) = (text(&[came(71, "a")], NOW), text(&[came(72, "a")], NOW));
    let expected = text(&[recorded(1, "a")], THEN);
    assert!(differences(&mut comparison, &expected, &first).is_empty());
    assert!(differences(&mut comparison, &expected, &first).is_empty());
    let found = differences(&mut comparison, &expected, &again);
    assert!(
        found[0].starts_with("response/body/message 1/mid: "),
        "{found:?}"
    );
}

#[test]
fn of_two_messages_the_later_has_the_greater_id() {
    let expected = [recorded(1, "a"), recorded(2, "b")];
    let found = between(
        &text(&expected, THEN),
        &text(&[came(72, "a"), came(71, "b")], NOW),
    );
    assert!(
        found[0].starts_with("response/body/message 2/mid: an id greater than "),
        "{found:?}"
    );
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn another_number_of_messages_is_one_difference_and_ids_are_paired() {
    let mut comparison = comparison();
    let twice = text(
        &[recorded(1, "a"), recorded(1, "a"), recorded(2, "b")],
        THEN,
    );
    let once = text(&[came(71, "a"), came(72, "b")], NOW);
    assert_eq!(
        differences(&mut comparison, &twice, &once),
        ["response/body: 3: \"a\", \"a\", \"b\" | 2: \"a\", \"b\""]
    );
    let target = format!("?mid={}", recorded(2, "").id);
    assert_eq!(
        comparison.mids.in_target(&target),
        format!("?mid={}", came(72, "").id)
    );
}

#[test]
fn headers_that_clients_depend_on_count() {
    let mut expected = answer("text/plain", Vec::new());
    let mut actual = answer("text/html", Vec::new());
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    expected
        .headers
        .push(header("Access-Control-Allow-Origin", "*"));
    expected.headers.push(header("Date", "then"));
    expected
        .headers
        .push(header("Last-Message-Id", &recorded(1, "").id.to_string()));
    actual.headers.push(header("date", "now"));
    actual
        .headers
        .push(header("last-message-id", &came(71, "").id.to_string()));
    assert_eq!(
        between(&expected, &actual),
        [
            "response/headers/access-control-allow-origin: * | (absent)",
            "response/headers/content-type: text/plain | text/html",
        ]
    );
}

#[test]
fn of_statistics_shape_and_limits_count() {
    let statistics = |json: &str| answer("text/plain", json.into());
    let expected = statistics(
        r#"[{"pid":1,"limits":{"maxPayload":5},"daily":{"messages":{"im":1}},"cluster":false}]"#,
    );
    let same = statistics(
        r#"[{"pid":2,"limits":{"maxPayload":5},"daily":{"messages":{"x":9}},"cluster":false}]"#,
    );
    assert!(between(&expected, &same).is_empty());
    let other = statistics(
        r#"[{"pid":"2","limits":{"maxPayload":6},"daily":{"messages":{}},"cluster":true,"new":1}]"#,
    );
    assert_eq!(
        between(&expected, &other),
        [
            "response/body/0/cluster: false | true",
            "response/body/0/limits/maxPayload: 5 | 6",
            "response/body/0/new: \"(absent)\" | \"<number>\"",
            "response/body/0/pid: \"<number>\" | \"2\"",
        ]
    );
}

#[test]
fn an_answer_that_did_not_come_must_not_come() {
    let mut timeout = answer("", Vec::new());
    timeout.error = Some("timeout".into());
    assert!(between(&timeout, &timeout).is_empty());
    assert_eq!(
        between(&timeout, &answer("text/plain", Vec::new())),
        ["response: timeout | status 200"]
    );
}
