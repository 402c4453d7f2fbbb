//! Bars, as SVG that reads in the light and in the dark.

use std::fmt::Write;

/// A line of a plot.
pub(crate) struct Bar<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: f64,
}

const WIDTH: f64 = 720.0;
/// Where bars begin: to the left of it are the names.
const LEFT: f64 = 220.0;
/// To the right of the longest bar, for its value.
const RIGHT: f64 = 80.0;
const TOP: f64 = 40.0;
const STEP: f64 = 28.0;
const THICKNESS: f64 = 18.0;

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#333}.title{font-weight:600}\
    .peer{fill:#9aa5b1}.ours{fill:#2f7d6d}\
    @media(prefers-color-scheme:dark){text{fill:#ddd}.peer{fill:#66717d}.ours{fill:#4bb39f}}";

/// One below the other, in this order; `text` is how a value reads.
pub(crate) fn bars(title: &str, bars: &[Bar<'_>], text: impl Fn(f64) -> String) -> String {
    let longest = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let per_unit = if longest > 0.0 {
        (WIDTH - LEFT - RIGHT) / longest
    } else {
        0.0
    };
    let mut lines = String::new();
    let mut top = TOP;
    for Bar { name, value } in bars {
        let length = value.max(0.0) * per_unit;
        let kind = if is_peer(name) { "peer" } else { "ours" };
        let (middle, end) = (top + THICKNESS / 2.0, LEFT + length + 8.0);
        let (name, value, right) = (escaped(name), text(*value), LEFT - 10.0);
        let _ = writeln!(
            lines,
            "<text x=\"{right}\" y=\"{middle}\" dy=\".35em\" text-anchor=\"end\">{name}</text>\n\
             <rect class=\"{kind}\" x=\"{LEFT}\" y=\"{top}\" width=\"{length:.1}\" height=\"{THICKNESS}\" rx=\"3\"/>\n\
             <text x=\"{end:.1}\" y=\"{middle}\" dy=\".35em\">{value}</text>"
        );
        top += STEP;
    }
    let title = escaped(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top}\" role=\"img\" aria-label=\"{title}\">\n\
         <style>{STYLE}</style>\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"22\">{title}</text>\n\
         {lines}</svg>\n"
    )
}

fn is_peer(name: &str) -> bool {
    ["nginx", "nchan", "HAProxy"]
        .iter()
        .any(|peer| name.starts_with(peer))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_as_the_values() {
        let two = [("nginx", 10.0), ("pullgate <", 20.0)];
        let svg = bars(
            "µs",
            &two.map(|(name, value)| Bar { name, value }),
            |value| format!("{value:.0}"),
        );
        assert!(svg.contains("width=\"210.0\"") && svg.contains("width=\"420.0\""));
        assert!(svg.contains("pullgate &lt;"));
    }
}
