//! Headers as they are recorded: pairs in their order.

/// The first value of the header `name`, in any case.
pub(crate) fn value<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut named = headers
        .iter()
        .filter(|(other, _)| other.eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.as_str())
}

/// Whether the body is sent in chunks.
pub(crate) fn chunked(headers: &[(String, String)]) -> bool {
    value(headers, "transfer-encoding")
        .is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked"))
}
