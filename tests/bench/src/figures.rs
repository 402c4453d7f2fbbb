//! What is measured, as numbers with a name.

use std::collections::BTreeMap;
use std::time::Duration;

/// A number that a case may have. Of each, less is better, but for [`Figure::Rate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    /// Units of work per second.
    Rate,
    /// CPU of all processes of the server, user and system, in µs per unit.
    Cpu,
    /// Half of the units took no longer, in ms.
    Median,
    /// 99 of 100 units took no longer, in ms.
    P99,
    /// Resident memory of all processes of the server, in MB.
    Memory,
    /// The same for each connection beyond what the server had without any, in bytes.
    Each,
    /// The same after they have gone.
    Left,
    /// How many connections there were.
    Connections,
    /// Until everybody is back after a storm, in seconds.
    Back,
    /// Messages that never came.
    Lost,
    /// Messages that came twice.
    Doubled,
    /// Messages that came after a later one.
    Disordered,
}

impl Figure {
    /// What there may be none of.
    pub(crate) const FAULTS: [Self; 3] = [Self::Lost, Self::Doubled, Self::Disordered];

    pub(crate) fn counts_faults(self) -> bool {
        Self::FAULTS.contains(&self)
    }

    /// As a heading, and in the lines of JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rate => "per second",
            Self::Cpu => "CPU, µs each",
            Self::Median => "p50, ms",
            Self::P99 => "p99, ms",
            Self::Memory => "RSS, MB",
            Self::Each => "RSS per connection, bytes",
            Self::Left => "after they have gone, bytes",
            Self::Connections => "connections",
            Self::Back => "all back, s",
            Self::Lost => "lost",
            Self::Doubled => "doubled",
            Self::Disordered => "out of order",
        }
    }

    /// A value, with as many digits as mean something.
    pub(crate) fn text(self, value: f64) -> String {
        match self {
            Self::Cpu | Self::Memory | Self::Back => format!("{value:.1}"),
            Self::Median | Self::P99 => format!("{value:.2}"),
            Self::Rate
            | Self::Each
            | Self::Left
            | Self::Connections
            | Self::Lost
            | Self::Doubled
            | Self::Disordered => grouped(value),
        }
    }
}

/// `1,234,567`.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let (sign, digits) = digits
        .strip_prefix('-')
        .map_or(("", &*digits), |rest| ("-", rest));
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{sign}{text}")
}

/// What one measurement gave.
pub(crate) type Figures = BTreeMap<Figure, f64>;

/// How long units took: counts in steps of a sixteenth, from 1 µs on.
#[derive(Default)]
pub(crate) struct Latencies {
    counts: Vec<u64>,
    all: u64,
}

/// Steps between a time and its double.
const STEPS: f64 = 16.0;

impl Latencies {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the logarithm of what is at least 1, and small"
    )]
    pub(crate) fn add(&mut self, took: Duration) {
        let micros = (took.as_secs_f64() * 1e6).max(1.0);
        let step = (micros.log2() * STEPS) as usize;
        if step >= self.counts.len() {
            self.counts.resize(step + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(step) {
            *count += 1;
        }
        self.all += 1;
    }

    pub(crate) fn len(&self) -> u64 {
        self.all
    }

    /// In ms, what `share` of all do not exceed; 0 if there is nothing.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let wanted = share * to_f64(self.all);
        let mut below = 0;
        for (step, count) in self.counts.iter().enumerate() {
            below += count;
            if below > 0 && to_f64(below) >= wanted {
                let middle = (to_f64(step as u64) + 0.5) / STEPS;
                return middle.exp2() / 1000.0;
            }
        }
        0.0
    }
}

/// Counts are far below 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "a count of what a run of seconds has made"
)]
pub(crate) fn to_f64(count: u64) -> f64 {
    count as f64
}

/// The middle one; of an even number, the lower of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_step() {
        let mut latencies = Latencies::default();
        for micros in 1..=1000 {
            latencies.add(Duration::from_micros(micros));
        }
        assert_eq!(latencies.len(), 1000);
        let step = (1.0 / STEPS).exp2();
        for (share, micros) in [(0.5, 500.0), (0.99, 990.0)] {
            let ratio = latencies.quantile(share) * 1000.0 / micros;
            assert!(ratio < step && ratio > 1.0 / step, "{share}: {ratio}");
        }
    }

    #[test]
    fn the_median_is_one_of_the_values() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![2.0, 1.0]), Some(1.0));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn thousands_are_told_apart() {
        assert_eq!(Figure::Rate.text(1_234_567.4), "1,234,567");
        assert_eq!(Figure::Left.text(-12.0), "-12");
        assert_eq!(Figure::Lost.text(100.0), "100");
    }
}
