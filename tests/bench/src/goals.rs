//! What is to be reached, in numbers, and whether it is.

use crate::figures::Figure;
use crate::plan::Case;
use crate::run::Measured;

/// A figure of an entry, and how good it must be.
struct Goal {
    /// Of these cases, each by itself.
    cases: &'static [&'static str],
    entry: &'static str,
    figure: Figure,
    bound: Bound,
}

#[derive(Clone, Copy)]
enum Bound {
    /// At most this.
    Most(f64),
    /// At least this.
    Least(f64),
    /// At most so many times the figure of that entry.
    MostTimes(f64, &'static str),
    /// At least so many times.
    LeastTimes(f64, &'static str),
}

const PROXY: &[&str] = &["proxy", "proxy-512", "proxy-64k", "proxy-new", "tls", "h2"];
const PUSH: &[&str] = &["publish", "unicast", "poll"];
const FANOUT: &[&str] = &["fanout"];
const PUBLISH: &[&str] = &["publish"];
const IDLE: &[&str] = &["idle"];
const SCALE: &[&str] = &["scale"];
const ON_TWO_THREADS: &[&str] = &[
    "proxy",
    "proxy-512",
    "proxy-64k",
    "proxy-new",
    "tls",
    "h2",
    "publish",
    "unicast",
    "poll",
    "fanout",
];

#[rustfmt::skip]
const GOALS: &[Goal] = {
    use Bound::{Least, LeastTimes, Most, MostTimes};
    use Figure::{Cpu, Each, Left, P99, Rate};
    &[
        goal(PROXY, "pullgate, no guests", Cpu, MostTimes(1.0, "nginx")),
        goal(PROXY, "pullgate", Cpu, MostTimes(1.1, "nginx")),
        goal(PROXY, "pullgate", P99, MostTimes(1.0, "nginx")),
        goal(PUSH, "pullgate", Cpu, MostTimes(1.0, "nchan")),
        goal(PUSH, "pullgate", Rate, LeastTimes(1.0, "nchan")),
        goal(PUBLISH, "pullgate, stored in memory", Cpu, MostTimes(1.2, "pullgate")),
        goal(PUBLISH, "pullgate, stored on disk", Cpu, MostTimes(1.3, "pullgate, stored in memory")),
        goal(PUBLISH, "pullgate, always, 64 publishers", Rate, Least(20_000.0)),
        goal(FANOUT, "pullgate", Rate, Least(300_000.0)),
        goal(FANOUT, "pullgate", P99, Most(10.0)),
        goal(FANOUT, "pullgate", Cpu, Most(3.3)),
        goal(FANOUT, "pullgate, binary", Rate, LeastTimes(1.0, "pullgate")),
        goal(FANOUT, "pullgate, binary", P99, Most(10.0)),
        goal(FANOUT, "pullgate, binary", Cpu, MostTimes(1.0, "pullgate")),
        goal(ON_TWO_THREADS, "pullgate, two threads", Cpu, MostTimes(1.0, "pullgate")),
        goal(IDLE, "pullgate, websocket", Each, Most(2000.0)),
        goal(IDLE, "pullgate, kept alive", Each, Most(2000.0)),
        goal(IDLE, "pullgate, silent", Each, Most(2000.0)),
        goal(IDLE, "pullgate, long poll", Each, Most(6000.0)),
        // Memory comes back: no more than a tenth of what a connection may take is left.
        goal(IDLE, "pullgate, websocket", Left, Most(200.0)),
        goal(IDLE, "pullgate, kept alive", Left, Most(200.0)),
        goal(IDLE, "pullgate, silent", Left, Most(200.0)),
        goal(IDLE, "pullgate, long poll", Left, Most(600.0)),
        goal(SCALE, "10,000 subscribers", Cpu, MostTimes(1.3, "100 subscribers")),
        goal(SCALE, "10,000 channels", Cpu, MostTimes(1.3, "1 channel")),
    ]
};

const fn goal(
    cases: &'static [&'static str],
    entry: &'static str,
    figure: Figure,
    bound: Bound,
) -> Goal {
    Goal {
        cases,
        entry,
        figure,
        bound,
    }
}

/// A goal of one case, and how far it is from there.
pub(crate) struct Judged {
    pub(crate) case: &'static str,
    /// What is to be reached.
    pub(crate) goal: String,
    /// Why it is not, if it is not.
    pub(crate) because: Option<String>,
}

/// The goals of these cases.
pub(crate) fn judge(cases: &[Case], measured: &[Measured]) -> Vec<Judged> {
    let mut judged = Vec::new();
    for case in cases {
        for goal in GOALS.iter().filter(|goal| goal.cases.contains(&case.name)) {
            judged.push(goal.judge(case.name, measured));
        }
        judged.extend(nothing_is_lost(case.name, measured));
    }
    judged
}

impl Goal {
    fn judge(&self, case: &'static str, measured: &[Measured]) -> Judged {
        let (entry, figure) = (self.entry, self.figure);
        let name = figure.name();
        let goal = match self.bound {
            Bound::Most(bound) => format!("{entry}: {name} ≤ {}", figure.text(bound)),
            Bound::Least(bound) => format!("{entry}: {name} ≥ {}", figure.text(bound)),
            Bound::MostTimes(factor, other) => format!("{entry}: {name} ≤ {factor} × {other}"),
            Bound::LeastTimes(factor, other) => format!("{entry}: {name} ≥ {factor} × {other}"),
        };
        let because = self.lack(case, measured).unwrap_or_else(Some);
        Judged {
            case,
            goal,
            because,
        }
    }

    /// What is lacking, if anything is; an error where it is not known.
    fn lack(&self, case: &str, measured: &[Measured]) -> Result<Option<String>, String> {
        let figure = self.figure;
        let value = value(measured, case, self.entry, figure)?;
        let of = |other| self::value(measured, case, other, figure);
        let (is_reached, compared) = match self.bound {
            Bound::Most(bound) => (value <= bound, String::new()),
            Bound::Least(bound) => (value >= bound, String::new()),
            Bound::MostTimes(factor, other) => {
                let other = of(other)?;
                (value <= factor * other, against(figure, value, other))
            }
            Bound::LeastTimes(factor, other) => {
                let other = of(other)?;
                (value >= factor * other, against(figure, value, other))
            }
        };
        Ok((!is_reached).then(|| format!("it is {}{compared}", figure.text(value))))
    }
}

fn against(figure: Figure, value: f64, other: f64) -> String {
    format!(" against {}: {:.2} ×", figure.text(other), value / other)
}

fn value(measured: &[Measured], case: &str, entry: &str, figure: Figure) -> Result<f64, String> {
    let found = measured
        .iter()
        .find(|measured| measured.case == case && measured.entry == entry)
        .ok_or_else(|| format!("{entry} was not measured"))?;
    let figures = found
        .figures
        .as_ref()
        .map_err(|error| format!("{entry} failed: {error}"))?;
    let value = figures.get(&figure).copied();
    value.ok_or_else(|| format!("{entry} has no {}", figure.name()))
}

/// Whoever of ours has had messages to deliver, if anybody has.
fn nothing_is_lost(case: &'static str, measured: &[Measured]) -> Option<Judged> {
    let mut bad = Vec::new();
    let mut has_any = false;
    for entry in measured.iter().filter(|measured| measured.case == case) {
        let Ok(figures) = &entry.figures else {
            continue;
        };
        if entry.entry.starts_with("nchan") {
            continue;
        }
        for figure in Figure::FAULTS {
            let Some(value) = figures.get(&figure) else {
                continue;
            };
            has_any = true;
            if *value > 0.0 {
                bad.push(format!(
                    "{}: {} {}",
                    entry.entry,
                    figure.text(*value),
                    figure.name()
                ));
            }
        }
    }
    has_any.then(|| Judged {
        case,
        goal: "nothing lost, doubled or out of order".to_owned(),
        because: (!bad.is_empty()).then(|| bad.join(", ")),
    })
}

/// For who reads it in a terminal.
pub(crate) fn text(judged: &[Judged]) -> String {
    let mut lines: Vec<String> = judged
        .iter()
        .map(
            |Judged {
                 case,
                 goal,
                 because,
             }| match because {
                None => format!("✓ {case}: {goal}"),
                Some(because) => format!("  {case}: {goal}: not reached, because {because}"),
            },
        )
        .collect();
    let reached = judged.iter().filter(|one| one.because.is_none()).count();
    lines.push(format!("{reached} of {} goals are reached", judged.len()));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figures;
    use crate::plan;

    fn measured(entry: &'static str, figure: Figure, value: f64) -> Measured {
        Measured {
            case: "proxy",
            entry,
            figures: Ok(Figures::from([(figure, value)])),
        }
    }

    #[test]
    fn every_goal_is_of_entries_that_there_are() {
        let cases = plan::cases(&[]).unwrap();
        for goal in GOALS {
            for name in goal.cases {
                let case = cases.iter().find(|case| case.name == *name).unwrap();
                let has = |wanted| case.entries.iter().any(|entry| entry.name == wanted);
                assert!(has(goal.entry), "{name}: {}", goal.entry);
                if let Bound::MostTimes(_, other) | Bound::LeastTimes(_, other) = goal.bound {
                    assert!(has(other), "{name}: {other}");
                }
            }
        }
    }

    #[test]
    fn a_goal_is_reached_or_says_why_not() {
        let goal = goal(
            PROXY,
            "pullgate",
            Figure::Cpu,
            Bound::MostTimes(1.1, "nginx"),
        );
        let nginx = || measured("nginx", Figure::Cpu, 10.0);
        let because = |ours| {
            goal.judge("proxy", &[nginx(), measured("pullgate", Figure::Cpu, ours)])
                .because
        };
        assert_eq!(because(11.0), None);
        assert_eq!(because(12.0).unwrap(), "it is 12.0 against 10.0: 1.20 ×");
        let alone = goal.judge("proxy", &[nginx()]).because;
        assert_eq!(alone.unwrap(), "pullgate was not measured");
    }

    #[test]
    fn one_lost_message_is_too_many() {
        let judged = nothing_is_lost("proxy", &[measured("pullgate", Figure::Lost, 1.0)]);
        assert_eq!(judged.unwrap().because.unwrap(), "pullgate: 1 lost");
    }
}
