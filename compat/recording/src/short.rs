//! Values cut to what fits on a line of a report.

/// Characters of a value that are shown.
const SHOWN: usize = 160;

/// The beginning of a text.
pub(crate) fn text(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push_str(&format!("… ({} bytes)", text.len()));
    }
    shown
}

/// The beginning of a payload, quoted.
pub(crate) fn bytes(bytes: &[u8]) -> String {
    let start = bytes.get(..4 * SHOWN).unwrap_or(bytes);
    let quoted: String = match std::str::from_utf8(bytes) {
        Ok(_) => String::from_utf8_lossy(start)
            .chars()
            .take(SHOWN)
            .flat_map(char::escape_debug)
            .collect(),
        Err(_) => start
            .escape_ascii()
            .to_string()
            .chars()
            .take(SHOWN)
            .collect(),
    };
    match bytes.len() > SHOWN {
        true => format!("\"{quoted}…\" ({} bytes)", bytes.len()),
        false => format!("\"{quoted}\""),
    }
}
