//! One run: of each case everybody in turn, again and again, and the medians of that.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::Result;
use crate::figures::{Figures, median};
use crate::load::Window;
use crate::plan::{Case, Entry};
use crate::servers::BackEnd;

/// How long each measurement takes.
pub(crate) type Length = Window;

impl Length {
    pub(crate) fn of(quick: bool) -> Self {
        let (warm_up, measured) = if quick { (200, 500) } else { (1000, 3000) };
        Self {
            warm_up: Duration::from_millis(warm_up),
            measured: Duration::from_millis(measured),
        }
    }
}

/// What an entry of a case gave: the medians of its figures, or why there are none.
pub(crate) struct Measured {
    pub(crate) case: &'static str,
    pub(crate) entry: &'static str,
    pub(crate) figures: std::result::Result<Figures, String>,
}

/// Prints a line of JSON for each measurement.
pub(crate) fn measure(
    cases: &[Case],
    rounds: usize,
    length: &Length,
    pullgate: &Path,
) -> Result<Vec<Measured>> {
    let site = BackEnd::start()?;
    let mut measured = Vec::new();
    for case in cases {
        let mut all: Vec<Vec<Result<Figures>>> = case.entries.iter().map(|_| Vec::new()).collect();
        for round in 1..=rounds {
            for (entry, all) in case.entries.iter().zip(&mut all) {
                let figures = one(entry, length, &site, pullgate);
                println!("{}", line(case, entry, round, &figures));
                all.push(figures);
            }
        }
        for (entry, all) in case.entries.iter().zip(all) {
            let all: Result<Vec<Figures>> = all.into_iter().collect();
            measured.push(Measured {
                case: case.name,
                entry: entry.name,
                figures: all
                    .map(|all| medians(&all))
                    .map_err(|error| error.to_string()),
            });
        }
    }
    Ok(measured)
}

fn one(entry: &Entry, length: &Length, site: &BackEnd, pullgate: &Path) -> Result<Figures> {
    // A port that was free may have been taken meanwhile.
    let running =
        (entry.server.start(site, pullgate)).or_else(|_| entry.server.start(site, pullgate))?;
    entry.load.measure(&running.target(), length)
}

/// Of lost messages and the like the worst, for none may be.
fn medians(all: &[Figures]) -> Figures {
    let figures = all.first().into_iter().flat_map(Figures::keys);
    let of = |figure| {
        all.iter()
            .filter_map(move |figures| figures.get(figure).copied())
    };
    figures
        .filter_map(|figure| {
            let value = if figure.counts_faults() {
                of(figure).max_by(f64::total_cmp)
            } else {
                median(of(figure).collect())
            };
            Some((*figure, value?))
        })
        .collect()
}

fn line(case: &Case, entry: &Entry, round: usize, figures: &Result<Figures>) -> Value {
    let mut line = Map::new();
    line.insert("case".into(), case.name.into());
    line.insert("entry".into(), entry.name.into());
    line.insert("round".into(), round.into());
    match figures {
        Ok(figures) => {
            for (figure, value) in figures {
                line.insert(
                    figure.name().into(),
                    ((value * 1000.0).round() / 1000.0).into(),
                );
            }
        }
        Err(error) => {
            line.insert("error".into(), error.to_string().into());
        }
    }
    line.into()
}
