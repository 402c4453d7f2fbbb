//! Headers as they are recorded: pairs in their order.

/// All values of the header `name`, in any case.
pub(crate) fn values<'a>(
    headers: &'a [(String, String)],
    name: &str,
) -> impl Iterator<Item = &'a str> {
    headers
        .iter()
        .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

/// The first of them.
pub(crate) fn value<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    values(headers, name).next()
}

/// Whether the body is sent in chunks.
pub(crate) fn chunked(headers: &[(String, String)]) -> bool {
    value(headers, "transfer-encoding")
        .is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked"))
}
