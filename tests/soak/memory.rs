//! Whether the server's memory is flat.

use std::fmt;

/// The median of the last third of the samples may be above that of the second third by this part of it,
const PERCENT: u64 = 10;
/// and this, in KiB.
const AND: u64 = 8 << 10;
/// Never may it have more, in KiB.
const MOST: u64 = 256 << 10;

/// Resident memory of each process that served, one after the other.
#[derive(Default)]
pub(super) struct Memory(Vec<Series>);

/// Of one process over time, KiB.
struct Series {
    pid: u32,
    samples: Vec<u64>,
}

/// There is more than there ever may be.
#[derive(Debug)]
pub(super) struct TooMuch;

impl Memory {
    pub(super) fn sample(&mut self, pid: u32) -> Result<(), TooMuch> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let Some((_, resident)) = status.split_once("VmRSS:") else {
            // It has ended because another has taken over, whose number is not known yet.
            return Ok(());
        };
        let resident = resident.split_whitespace().next().unwrap();
        self.take(pid, resident.parse().unwrap())
    }

    fn take(&mut self, pid: u32, resident: u64) -> Result<(), TooMuch> {
        if self.0.last().is_none_or(|series| series.pid != pid) {
            let samples = Vec::new();
            self.0.push(Series { pid, samples });
        }
        let series = self.0.last_mut().unwrap();
        series.samples.push(resident);
        (resident <= MOST).then_some(()).ok_or(TooMuch)
    }

    pub(super) fn is_flat(&self) -> bool {
        self.0.iter().all(Series::is_flat)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for series in &self.0 {
            writeln!(out, "memory of process {}: {series}", series.pid)?;
        }
        Ok(())
    }
}

impl Series {
    fn peak(&self) -> u64 {
        self.samples.iter().copied().max().unwrap_or_default()
    }

    /// Medians of the three thirds.
    fn thirds(&self) -> [u64; 3] {
        let length = self.samples.len();
        let median = |third: usize| {
            let mut samples = self.samples[length * third / 3..length * (third + 1) / 3].to_vec();
            samples.sort_unstable();
            samples.get(samples.len() / 2).copied().unwrap_or_default()
        };
        [median(0), median(1), median(2)]
    }

    fn is_flat(&self) -> bool {
        let [_, second, last] = self.thirds();
        self.peak() <= MOST && last <= second + second * PERCENT / 100 + AND
    }
}

impl fmt::Display for Series {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |kib: u64| kib as f64 / 1024.0;
        let [first, second, last] = self.thirds().map(mib);
        let (peak, and, most) = (mib(self.peak()), mib(AND), mib(MOST));
        write!(
            out,
            "medians of the thirds {first:.1}, {second:.1} and {last:.1} MiB, where the last may be {PERCENT} % and \
             {and} MiB above the second; at most {peak:.1} MiB, where {most} may be"
        )
    }
}

mod tests {
    use super::{MOST, Memory};

    fn memory(samples: impl Iterator<Item = u64>) -> Memory {
        let mut memory = Memory::default();
        for sample in samples {
            let _ = memory.take(1, sample);
        }
        memory
    }

    #[test]
    fn a_start_and_waves_are_flat_and_growth_is_not() {
        let waves = |n: u64| 50_000 + n.min(300) * 100 + n % 7 * 5_000;
        assert!(memory((0..900).map(waves)).is_flat());
        assert!(!memory((0..900).map(|n| 50_000 + n * 100)).is_flat());
        let spike = |n: u64| if n == 500 { MOST + 1 } else { 50_000 };
        assert!(!memory((0..900).map(spike)).is_flat());
    }

    #[test]
    fn a_process_that_takes_over_begins_anew() {
        let mut memory = memory((0..900).map(|_| 50_000));
        for n in 0..900 {
            memory.take(2, 90_000 + n % 7).unwrap();
        }
        assert!(memory.is_flat());
        for n in 0..900 {
            memory.take(3, 50_000 + n * 100).unwrap();
        }
        assert!(!memory.is_flat());
    }
}
