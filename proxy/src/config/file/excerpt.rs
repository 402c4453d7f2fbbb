//! The source line of a finding, with its place marked and every secret left out.
//!
//! A report may end up in a mail, a ticket or a log. So quoted text is shown only where it is what
//! the finding is about, and never when that is a secret.

use std::fmt;
use std::ops::Range;

/// What stands for text that is not shown.
const MASK: &str = "…";

/// A source line and the marks below it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Excerpt {
    source: String,
    marks: String,
}

impl Excerpt {
    /// A line with the part in question as it is; other quoted text is masked.
    pub(super) fn of_value(line: &str, part: Range<usize>) -> Self {
        Self::around(line, &part, &line[part.clone()])
    }

    /// The same for a list or table: what is in it may be anything.
    pub(super) fn of_group(line: &str, part: Range<usize>) -> Self {
        Self::around(line, &part, &masked(&line[part.clone()]))
    }

    /// The same for a secret.
    pub(super) fn of_secret(line: &str, part: Range<usize>) -> Self {
        Self::around(line, &part, MASK)
    }

    /// A line that is not TOML, where nothing is certain: it is shown only if it looks like a key
    /// that holds no secret, or like a table's header.
    pub(super) fn of_syntax(line: &str, at: usize) -> Option<Self> {
        let source = masked(line);
        let marks = marks(&masked(&line[..at]), "");
        presentable(line).then_some(Self { source, marks })
    }

    fn around(line: &str, part: &Range<usize>, shown: &str) -> Self {
        let before = masked(&line[..part.start]);
        let shown = printable(shown);
        Self {
            marks: marks(&before, &shown),
            source: before + &shown + &masked(&line[part.end..]),
        }
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " | {}\n | {}", self.source, self.marks)
    }
}

/// A caret for each character of `part`, at least one, below it.
fn marks(before: &str, part: &str) -> String {
    let indent = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' });
    let carets = part.chars().count().max(1);
    indent
        .chain(std::iter::repeat_n('^', carets))
        .collect::<String>()
}

/// The text with the contents of its strings left out, also of one that does not end.
fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        out.push(c);
        if c == '"' || c == '\'' {
            let empty = rest.as_str().starts_with(c);
            let closed = skip_string(&mut rest, c);
            out.push_str(if empty { "" } else { MASK });
            out.extend(closed.then_some(c));
        }
    }
    printable(&out)
}

/// Moves past the closing quote; false if there is none.
fn skip_string(rest: &mut std::str::Chars<'_>, quote: char) -> bool {
    while let Some(c) = rest.next() {
        if c == quote {
            return true;
        }
        if c == '\\' && quote == '"' {
            rest.next();
        }
    }
    false
}

/// Nothing that a terminal would obey.
fn printable(text: &str) -> String {
    let visible = |c: char| {
        if c.is_control() && c != '\t' {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().map(visible).collect()
}

/// A header, or a key in the spelling of ours (lower case) whose name does not speak of a secret.
fn presentable(line: &str) -> bool {
    let line = line.trim_start();
    let Some((key, _)) = line.split_once('=') else {
        return line.starts_with('[') && !line.contains(['"', '\'', ',']);
    };
    let key = key.trim_end();
    let telling = ["secret", "key", "sign", "pass", "url"];
    let ours = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
    key.chars().all(ours) && !telling.iter().any(|word| key.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_the_value() {
        let excerpt = Excerpt::of_value("ping = \"40\" # secs", 7..11);
        assert_eq!(
            excerpt.to_string(),
            " | ping = \"40\" # secs\n |        ^^^^"
        );
    }

    #[test]
    fn other_strings_are_masked() {
        let line = "guest = { secrets = [\"hush\\\"hush\"], cookie = \"a b\" }";
        let start = line.find("\"a b\"").unwrap();
        let shown = Excerpt::of_value(line, start..start + 5).to_string();
        assert!(
            shown.starts_with(" | guest = { secrets = [\"…\"], cookie = \"a b\" }\n"),
            "{shown}"
        );
    }

    #[test]
    fn secrets_are_masked() {
        let shown = Excerpt::of_secret("signature_key = 'hush' # no", 16..22).to_string();
        assert_eq!(shown, " | signature_key = … # no\n |                 ^");
    }

    #[test]
    fn strings_within_a_group_are_masked() {
        let shown = Excerpt::of_group("push = [{ signature_key = 'hush' }]", 7..35).to_string();
        assert!(
            shown.starts_with(" | push = [{ signature_key = '…' }]\n"),
            "{shown}"
        );
    }

    #[test]
    fn broken_lines_show_no_secret() {
        for line in [
            "signature_key = hush",
            "secrets = [hush, 'hush']",
            "  'hush",
            "  hush,",
            "aHVzaA=,",
            "['hush'",
            "HUSH = 1",
        ] {
            assert_eq!(Excerpt::of_syntax(line, 3), None, "{line}");
        }
        let shown = Excerpt::of_syntax("cookie = 'hush", 14)
            .unwrap()
            .to_string();
        assert_eq!(shown, " | cookie = '…\n |            ^");
        assert!(Excerpt::of_syntax("ping_interval = 40s", 16).is_some());
        assert!(Excerpt::of_syntax("[push.limits", 12).is_some());
    }

    #[test]
    fn control_characters_stay_out() {
        let shown = Excerpt::of_value("a = \u{1b}[2J", 4..8).to_string();
        assert!(shown.starts_with(" | a = \u{fffd}[2J"), "{shown}");
    }
}
