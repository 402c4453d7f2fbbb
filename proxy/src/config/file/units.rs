//! Durations and sizes: a whole number and a unit, without a space between them.

use std::time::Duration;

use super::report::{Mismatch, expected};

/// Largest first, so that a value is shown in the largest unit that divides it.
const DURATIONS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

/// Ten years: adding it to a clock never overflows.
const LONGEST: Duration = seconds(3650 * 86_400);

pub(super) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(super) const fn hours(count: u64) -> Duration {
    seconds(count * 3600)
}

pub(super) const fn days(count: u64) -> Duration {
    hours(count * 24)
}

pub(super) const fn kib(count: usize) -> usize {
    count << 10
}

pub(super) const fn mib(count: usize) -> usize {
    count << 20
}

/// `form` says what a duration looks like.
pub(super) fn duration(text: &str, form: String) -> Result<Duration, Mismatch> {
    let milliseconds = measure(text, &DURATIONS, form, "ms, s, m, h or d")?;
    let duration = Duration::from_millis(milliseconds);
    if duration > LONGEST {
        return Err(expected("at most 3650d"));
    }
    Ok(duration)
}

/// `form` says what a size looks like.
pub(super) fn size(text: &str, form: String) -> Result<usize, Mismatch> {
    let bytes = measure(text, &SIZES, form, "B, KiB, MiB, GiB, KB, MB or GB")?;
    usize::try_from(bytes).map_err(|_| expected("a size this machine can count"))
}

fn measure(text: &str, units: &[(&str, u64)], form: String, known: &str) -> Result<u64, Mismatch> {
    let digits = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let (number, unit) = text.split_at(text.len() - digits.len());
    if number.is_empty() || unit.is_empty() {
        return Err(expected(form));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(expected(format!("{form} (units: {known})")));
    };
    let number = number.parse::<u64>().ok();
    let product = number.and_then(|number| number.checked_mul(*factor));
    product.ok_or_else(|| expected("a smaller number"))
}

pub(super) fn more_than_zero<T: Default + PartialEq>(value: T) -> Result<T, Mismatch> {
    if value == T::default() {
        return Err(expected("more than zero"));
    }
    Ok(value)
}

pub(super) fn show_duration(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    show(milliseconds, &DURATIONS)
}

pub(super) fn show_size(bytes: usize) -> String {
    show(u64::try_from(bytes).unwrap_or(u64::MAX), &SIZES)
}

fn show(value: u64, units: &[(&str, u64)]) -> String {
    let divides = |(_, factor): &&(&str, u64)| value >= *factor && value.is_multiple_of(*factor);
    // Nothing is nothing in the smallest.
    match units.iter().find(divides).or(units.last()) {
        Some((unit, factor)) => format!("{}{unit}", value / factor),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(text: &str) -> Option<u128> {
        let duration = duration(text, String::new()).ok();
        duration.map(|duration| duration.as_millis())
    }

    #[test]
    fn durations() {
        assert_eq!(milliseconds("500ms"), Some(500));
        assert_eq!(milliseconds("40s"), Some(40_000));
        assert_eq!(milliseconds("5m"), Some(300_000));
        assert_eq!(milliseconds("24h"), Some(86_400_000));
        assert_eq!(milliseconds("365d"), Some(31_536_000_000));
        for wrong in [
            "", "s", "40", "40 s", "-4s", "4.5s", "4S", "1h30m", "4s ", "٤s",
        ] {
            assert_eq!(milliseconds(wrong), None, "{wrong}");
        }
        assert_eq!(milliseconds("3651d"), None);
        assert_eq!(milliseconds("18446744073709551615d"), None);
        assert_eq!(milliseconds("99999999999999999999s"), None);
    }

    #[test]
    fn sizes() {
        let bytes = |text| size(text, String::new()).ok();
        assert_eq!(bytes("500B"), Some(500));
        assert_eq!(bytes("64KiB"), Some(65_536));
        assert_eq!(bytes("1MiB"), Some(1_048_576));
        assert_eq!(bytes("1MB"), Some(1_000_000));
        assert_eq!(bytes("2KB"), Some(2_000));
        assert_eq!(bytes("1GiB"), Some(1 << 30));
        assert_eq!(bytes("1GB"), Some(1_000_000_000));
        for wrong in ["1M", "1mib", "1", "MiB", "1 MiB", "20000000000GiB"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn shown_in_the_largest_unit_that_divides() {
        assert_eq!(show_duration(hours(24)), "1d");
        assert_eq!(show_duration(seconds(40)), "40s");
        assert_eq!(show_duration(seconds(90)), "90s");
        assert_eq!(show_duration(Duration::ZERO), "0ms");
        assert_eq!(show_size(mib(256)), "256MiB");
        assert_eq!(show_size(1_500), "1500B");
        assert_eq!(show_size(0), "0B");
    }
}
