//! What a run has shown, as a page and a picture for each case.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

use crate::Result;
use crate::figures::{Figure, Figures};
use crate::goals::Judged;
use crate::plan::Case;
use crate::plot::{Bar, bars};
use crate::run::Measured;

/// Writes `README.md` and `CASE.svg` into this folder.
pub(crate) fn write(
    into: &Path,
    cases: &[Case],
    measured: &[Measured],
    judged: &[Judged],
    rounds: usize,
) -> Result<()> {
    fs::create_dir_all(into)?;
    let mut page = introduction(rounds)?;
    write!(page, "\n## Goals\n\n{}", goals(judged))?;
    for case in cases {
        let entries: Vec<&Measured> = measured
            .iter()
            .filter(|measured| measured.case == case.name)
            .collect();
        write!(page, "\n## {}\n\n", case.title)?;
        if let Some((figure, bars_of)) = picture(&entries) {
            let svg = bars(figure.name(), &bars_of, |value| figure.text(value));
            fs::write(into.join(format!("{}.svg", case.name)), svg)?;
            write!(page, "![{}]({}.svg)\n\n", figure.name(), case.name)?;
        }
        page.push_str(&table(&entries));
    }
    Ok(fs::write(into.join("README.md"), page)?)
}

fn introduction(rounds: usize) -> Result<String> {
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let kind = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, kind)| kind);
    let cores = available_parallelism()?;
    Ok(format!(
        "# Benchmarks\n\n\
         Written by `scripts/bench`: every server of a case in turn, {rounds} times, and the medians of that. One worker or thread \
         each unless an entry says otherwise; load, server and site share {cores} cores ({kind}). So only ratios within a case \
         mean anything. CPU is user and system time of all processes of the server.\n\n\
         Unless an entry says otherwise, pullgate identifies guests by their cookie and adds both headers, and every server writes \
         an access log into a file. [Model](model.md) says what follows for a million connections.\n"
    ))
}

fn goals(judged: &[Judged]) -> String {
    let mut text = "| case | goal | |\n| --- | --- | --- |\n".to_owned();
    for Judged {
        case,
        goal,
        because,
    } in judged
    {
        let reached = match because {
            None => "✓".to_owned(),
            Some(because) => format!("not reached, because {because}"),
        };
        text += &format!("| {case} | {goal} | {reached} |\n");
    }
    text
}

/// A line for each entry, with the figures that any of them has.
fn table(entries: &[&Measured]) -> String {
    let all = || entries.iter().flat_map(|entry| &entry.figures);
    let columns: BTreeSet<Figure> = all().flat_map(Figures::keys).copied().collect();
    let mut text = String::from("| |");
    for column in &columns {
        text += &format!(" {} |", column.name());
    }
    text += "\n| --- |";
    text += &" ---: |".repeat(columns.len());
    text.push('\n');
    for entry in entries {
        text += &format!("| {} |", entry.entry);
        match &entry.figures {
            Ok(figures) => {
                for column in &columns {
                    let value = figures.get(column).map(|value| column.text(*value));
                    text += &format!(" {} |", value.unwrap_or_default());
                }
            }
            Err(error) => text += &format!(" {error} |"),
        }
        text.push('\n');
    }
    text
}

/// What the picture of a case shows: the first of these that its entries have.
fn picture<'a>(entries: &[&'a Measured]) -> Option<(Figure, Vec<Bar<'a>>)> {
    [Figure::Back, Figure::Each, Figure::Cpu]
        .into_iter()
        .find_map(|figure| {
            let bar = |entry: &&'a Measured| {
                let value = entry.figures.as_ref().ok()?.get(&figure).copied()?;
                Some(Bar {
                    name: entry.entry,
                    value,
                })
            };
            let bars: Vec<Bar<'_>> = entries.iter().filter_map(bar).collect();
            (!bars.is_empty()).then_some((figure, bars))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;

    #[test]
    fn a_report_has_every_case_with_its_picture() {
        let cases = plan::cases(&[]).unwrap();
        let mut measured = Vec::new();
        for case in &cases {
            for entry in &case.entries {
                measured.push(Measured {
                    case: case.name,
                    entry: entry.name,
                    figures: Ok(Figures::from([(Figure::Cpu, 12.3)])),
                });
            }
        }
        measured.first_mut().unwrap().figures = Err("it burnt".to_owned());
        let judged = crate::goals::judge(&cases, &measured);
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &cases, &measured, &judged, 5).unwrap();
        let page = fs::read_to_string(folder.path().join("README.md")).unwrap();
        assert!(page.contains("| nginx | it burnt |"));
        for case in cases {
            assert!(page.contains(&format!("## {}\n", case.title)));
            let svg = folder.path().join(format!("{}.svg", case.name));
            assert!(fs::read_to_string(svg).unwrap().contains("<rect"));
        }
    }
}
