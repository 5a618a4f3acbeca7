//! Which published messages the broker has not answered for yet.

use std::collections::BTreeSet;

use super::scanner::Confirm;

/// The confirms of one channel; publishes are numbered from 1.
#[derive(Debug, Default)]
pub(super) struct Confirms {
    /// Everything up to here is answered for.
    floor: u64,
    /// Answered for out of turn, above the floor.
    ahead: BTreeSet<u64>,
    refused: u64,
}

impl Confirms {
    /// Takes the broker's word; `published` is the number of the last publish.
    ///
    /// Answers whether the broker may say so: not of a message that it has answered for already,
    /// nor of one that was never sent. A `multiple` may be of anything sent.
    pub(super) fn settle(&mut self, confirm: Confirm, published: u64) -> bool {
        if confirm.tag > published {
            return false;
        }
        let before = self.answered();
        if confirm.multiple {
            self.raise(if confirm.tag == 0 { published } else { confirm.tag });
        } else if confirm.tag == self.floor + 1 {
            self.floor = confirm.tag;
        } else if confirm.tag <= self.floor || !self.ahead.insert(confirm.tag) {
            return false;
        }
        while !self.ahead.is_empty() && self.ahead.remove(&(self.floor + 1)) {
            self.floor += 1;
        }
        if !confirm.positive {
            self.refused += self.answered() - before;
        }
        true
    }

    /// Everything up to this number is answered for.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// Messages answered for, whether taken or refused.
    pub(super) fn answered(&self) -> u64 {
        self.floor + self.ahead.len() as u64
    }

    /// Messages that the broker refused.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    fn raise(&mut self, floor: u64) {
        if floor > self.floor {
            self.floor = floor;
            if !self.ahead.is_empty() {
                self.ahead = self.ahead.split_off(&(floor + 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &[(u64, bool, bool)], answered: u64, refused: u64) {
        let mut confirms = Confirms::default();
        for &(tag, multiple, positive) in words {
            assert!(confirms.settle(Confirm { tag, multiple, positive }, 10), "{tag}");
        }
        assert_eq!((confirms.answered(), confirms.refused()), (answered, refused), "{words:?}");
    }

    #[test]
    fn confirms_are_counted_in_any_order() {
        check(&[(1, false, true), (2, false, true)], 2, 0);
        check(&[(3, false, true), (1, false, true), (2, false, true), (4, false, true)], 4, 0);
        check(&[(5, false, true), (2, false, true), (4, true, true)], 5, 0);
        check(&[(5, false, true), (10, true, true)], 10, 0);
        check(&[(4, true, true), (4, true, true), (2, true, true)], 4, 0);
    }

    #[test]
    fn refusals_count_what_they_are_the_first_answer_for() {
        check(&[(2, false, true), (4, true, false)], 4, 3);
        check(&[(3, false, false), (2, true, true)], 3, 1);
    }

    #[test]
    fn what_was_answered_for_or_never_sent_cannot_be_confirmed() {
        let mut confirms = Confirms::default();
        let mut settle =
            |tag, multiple| confirms.settle(Confirm { tag, multiple, positive: true }, 5);
        assert!(settle(3, true));
        assert!(settle(5, false));
        assert!(!settle(5, false));
        assert!(!settle(2, false));
        assert!(!settle(6, true));
    }
}
