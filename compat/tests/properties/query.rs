//! A query is read as the URL standard says.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER_PERMISSIVE;
use pullgate_compat::query::Query;

/// `data` is a request target; every name in its query has its first value, and no other name has one.
/// Written again and read again, it is the same.
pub fn query(data: &[u8]) {
    let target = String::from_utf8_lossy(data);
    let expected = parameters(&target);
    has(&target, &expected);
    let written = serde_urlencoded::to_string(&expected).unwrap();
    has(&format!("/?{written}?behind=1"), &expected);
}

fn has(target: &str, expected: &BTreeMap<String, String>) {
    let query = Query::of_target(target);
    // Each question reads the query from its start; more of them say no more, and take their time.
    for (name, value) in expected.iter().take(16) {
        assert_eq!(query.first(name).as_deref(), Some(value.as_str()));
    }
    for name in ["", "behind", "CHANNEL_ID"] {
        assert_eq!(
            query.first(name).as_deref(),
            expected.get(name).map(String::as_str)
        );
    }
}

/// The first value of each name, by the steps of the standard's parser of
/// `application/x-www-form-urlencoded`.
fn parameters(target: &str) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::new();
    let query = target.split('?').nth(1).unwrap_or_default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        parameters
            .entry(decoded(name))
            .or_insert_with(|| decoded(value));
    }
    parameters
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        let digits = behind.split_at_checked(2).filter(|_| first == b'%');
        let escaped = digits
            .and_then(|(digits, rest)| Some((HEXLOWER_PERMISSIVE.decode(digits).ok()?, rest)));
        match (first, escaped) {
            (_, Some((byte, behind))) => {
                bytes.extend(byte);
                rest = behind;
            }
            (b'+', None) => bytes.push(b' '),
            (_, None) => bytes.push(first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
