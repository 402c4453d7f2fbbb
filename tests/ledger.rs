//! What was published to a channel, what a subscriber had of it, and whether the two agree: nothing lost, nothing
//! twice, nothing out of order. Whoever publishes to the channel is one, and numbers its messages.

use std::cell::RefCell;

use crate::push::{bodies, mid};

/// The id before the very first message.
pub(crate) const NOTHING: &str = "00000000000000000000000000";

/// A channel: the numbers of those messages that every subscriber must have in the end. They were answered with 200,
/// and stored.
#[derive(Default)]
pub(crate) struct Ledger {
    kept: RefCell<Vec<usize>>,
}

impl Ledger {
    pub(crate) fn keep(&self, number: usize) {
        self.kept.borrow_mut().push(number);
    }

    pub(crate) fn len(&self) -> usize {
        self.kept.borrow().len()
    }
}

/// What one subscriber had, over all its connections.
pub(crate) struct Had {
    numbers: Vec<usize>,
    /// The id with which it comes back.
    pub(crate) mid: String,
}

impl Default for Had {
    fn default() -> Self {
        Self {
            numbers: Vec::new(),
            mid: NOTHING.to_owned(),
        }
    }
}

impl Had {
    /// Takes the text messages of a frame or of a poll's answer. A body is a number, and whatever follows a space.
    pub(crate) fn take(&mut self, frames: &str) -> Result<(), String> {
        for frame in frames.split_inclusive("#!NGINXNME!#") {
            let (id, body) = (mid(frame), bodies(frame)[0]);
            let number = body.split(' ').next().unwrap().parse().unwrap();
            if let Some(last) = self.numbers.last().filter(|last| **last >= number) {
                return Err(format!("{number} came after {last}"));
            }
            if id <= self.mid.as_str() {
                return Err(format!("{id} came after {} with {number}", self.mid));
            }
            id.clone_into(&mut self.mid);
            self.numbers.push(number);
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(crate) fn last(&self) -> Option<usize> {
        self.numbers.last().copied()
    }

    /// What it must have and has not.
    pub(crate) fn lacks(&self, ledger: &Ledger) -> Vec<usize> {
        let kept = ledger.kept.borrow();
        let lacks = |number: &&usize| self.numbers.binary_search(number).is_err();
        kept.iter().filter(lacks).copied().collect()
    }
}

mod tests {
    use super::{Had, Ledger};

    fn frame(id: u32, body: &str) -> String {
        format!("#!NGINXNMS!#{{\"id\":1,\"mid\":\"{id:026}\",\"text\":{body}}}#!NGINXNME!#")
    }

    #[test]
    fn what_is_lost_twice_or_out_of_order_is_found() {
        let ledger = Ledger::default();
        for number in [0, 1, 3] {
            ledger.keep(number);
        }
        let mut had = Had::default();
        had.take(&(frame(7, "0") + &frame(9, "2 and more")))
            .unwrap();
        assert_eq!(had.lacks(&ledger), [1, 3]);
        assert!(had.take(&frame(9, "3")).is_err(), "the same id");
        assert!(had.take(&frame(10, "2")).is_err(), "twice");
        assert!(had.take(&frame(10, "1")).is_err(), "out of order");
        had.take(&frame(10, "3")).unwrap();
        assert_eq!((had.len(), had.mid), (3, format!("{:026}", 10)));
    }
}
