//! What one subscriber must get, and what it got: messages of a channel are numbered from 1.

use std::collections::BTreeSet;

/// What is wrong with what subscribers got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) disordered: u64,
}

impl Faults {
    pub(crate) fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.disordered += other.disordered;
    }
}

/// One subscriber's account.
#[derive(Default)]
pub(crate) struct Ledger {
    newest: u32,
    /// Smaller than the newest, and not there yet.
    missing: BTreeSet<u32>,
    faults: Faults,
}

impl Ledger {
    /// Enters a message; whether it is the first time.
    pub(crate) fn enter(&mut self, number: u32) -> bool {
        if number > self.newest {
            self.missing.extend(self.newest + 1..number);
            self.newest = number;
            return true;
        }
        let was_missing = self.missing.remove(&number);
        if was_missing {
            self.faults.disordered += 1;
        } else {
            self.faults.doubled += 1;
        }
        was_missing
    }

    /// When everything should have come, of which `published` is the last.
    pub(crate) fn close(&self, published: u32) -> Faults {
        let after_newest = u64::from(published.saturating_sub(self.newest));
        let missing = u64::try_from(self.missing.len()).unwrap_or(u64::MAX);
        Faults {
            lost: missing + after_newest,
            ..self.faults
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_told_from_the_others() {
        let mut ledger = Ledger::default();
        let first: Vec<bool> = [1, 2, 2, 5, 4].map(|number| ledger.enter(number)).into();
        assert_eq!(first, [true, true, false, true, true]);
        let faults = Faults {
            lost: 3,
            doubled: 1,
            disordered: 1,
        };
        assert_eq!(ledger.close(7), faults);
    }

    #[test]
    fn all_in_order_is_no_fault() {
        let mut ledger = Ledger::default();
        assert!((1..=1000).all(|number| ledger.enter(number)));
        assert_eq!(ledger.close(1000), Faults::default());
    }
}
