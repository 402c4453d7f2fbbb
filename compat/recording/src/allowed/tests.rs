use super::*;

fn parse(text: &str) -> Result<Allowed, AllowError> {
    Allowed::parse(Path::new("list.toml"), text)
}

fn difference(step: usize, path: &str) -> Difference {
    Difference {
        step: Some(step),
        label: String::new(),
        path: path.into(),
        expected: String::new(),
        actual: String::new(),
    }
}

const LIST: &str = "\
[[difference]]
recording = \"a\"
steps = [3, 7]
line = 4

[[difference]]
recording = \"a\"
steps = [9]
line = 11
only = \"created\"
sometimes = true
";

#[test]
fn what_is_listed_is_allowed() {
    let allowed = parse(LIST).unwrap();
    assert_eq!(allowed.line("a", &difference(3, "response/body")), Some(4));
    assert_eq!(allowed.line("a", &difference(4, "response/body")), None);
    assert_eq!(allowed.line("b", &difference(3, "response/body")), None);
    let created = difference(9, "message 1/created");
    assert_eq!(allowed.line("a", &created), Some(11));
    assert_eq!(allowed.line("a", &difference(9, "message 1/body")), None);
}

#[test]
fn what_is_listed_must_show() {
    let allowed = parse(LIST).unwrap();
    let stale = allowed.stale("a", &[difference(3, "code")]);
    let stale: Vec<_> = stale.iter().map(Stale::to_string).collect();
    assert_eq!(
        stale,
        ["step 7 shows no difference any more, but list.toml:3 lists it"]
    );
    assert!(allowed.stale("b", &[]).is_empty());
}

#[test]
fn a_wrong_list_is_refused_with_line_and_key() {
    let entry = |more: &str| format!("[[difference]]\nrecording = \"a\"\n{more}");
    for (text, report) in [
        (
            entry("steps = [1]\nline = 1\nsteeps = 1"),
            "list.toml:5: steeps: unknown field",
        ),
        (
            entry("steps = \"1\"\nline = 1"),
            "list.toml:3: steps: invalid type",
        ),
        (
            entry("steps = []\nline = 1"),
            "list.toml:3: steps: expected at least",
        ),
        (
            entry("steps = [1]\nline = 0"),
            "list.toml:4: line: paragraphs",
        ),
        (entry("steps = [1]\nline = 1\n\nx"), "list.toml:6: x"),
        (
            entry("steps = [1]"),
            "list.toml:1: [[difference]]: missing field `line`",
        ),
        (
            "[[difference]]\nrecording = \"\"\nsteps = [1]\nline = 1".into(),
            "list.toml:2: recording: ",
        ),
    ] {
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.starts_with(report), "{error:?} is not {report:?}");
    }
}
