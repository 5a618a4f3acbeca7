//! Publisher confirms: which publications were promised an answer, and how few frames give it.

use std::collections::BTreeMap;

use crate::session::outgoing::Outgoing;

/// The numbers of one channel's publications in confirm mode, and which are still unanswered.
///
/// Answers may come in any order. All numbers up to `floor` have been answered; those answered
/// above it are kept as ranges, so that one `multiple` ack never covers an unanswered one.
#[derive(Debug, Default)]
pub(super) struct Confirms {
    last: u64,
    floor: u64,
    /// First and last number of each answered range above the floor.
    above: BTreeMap<u64, u64>,
    /// Numbers that may be acknowledged and have not been sent yet.
    unsent: Vec<Run>,
}

/// Consecutive numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: u64,
    last: u64,
}

impl Confirms {
    /// The number of the next publication.
    pub(super) fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The broker has taken responsibility for the publications from `first` to `last`.
    #[inline]
    pub(super) fn confirm(&mut self, first: u64, last: u64) {
        match self.unsent.last_mut() {
            Some(run) if run.last + 1 == first => run.last = last,
            _ => self.unsent.push(Run { first, last }),
        }
    }

    /// The broker has refused a publication: what was confirmed before is sent, then a nack.
    pub(super) fn reject(&mut self, number: u64, channel: u16, out: &mut Outgoing) {
        self.flush(channel, out);
        self.answered(Run { first: number, last: number });
        out.confirm(channel, number, false, false);
    }

    /// Sends what was confirmed: one frame for all up to the lowest unanswered number, then one for
    /// each that lies above it.
    pub(super) fn flush(&mut self, channel: u16, out: &mut Outgoing) {
        if self.unsent.is_empty() {
            return;
        }
        let before = self.floor;
        let mut unsent = std::mem::take(&mut self.unsent);
        for run in &unsent {
            self.answered(*run);
        }
        if self.floor > before {
            // A nack may have raised the floor over what was confirmed: name the highest confirmed.
            let below = |run: &&Run| run.first <= self.floor;
            let highest = unsent.iter().filter(below).map(|run| run.last).max();
            if let Some(highest) = highest {
                let multiple = highest > before + 1;
                out.confirm(channel, highest, multiple, true);
            }
        }
        for run in unsent.iter().filter(|run| run.first > self.floor) {
            for number in run.first..=run.last {
                out.confirm(channel, number, false, true);
            }
        }
        unsent.clear();
        self.unsent = unsent;
    }

    fn answered(&mut self, run: Run) {
        if run.first == self.floor + 1 {
            self.floor = run.last;
            while let Some(last) = self.above.remove(&(self.floor + 1)) {
                self.floor = last;
            }
            return;
        }
        match self.above.range_mut(..run.first).next_back() {
            Some((_, last)) if *last + 1 == run.first => *last = run.last,
            _ => {
                self.above.insert(run.first, run.last);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use bytes::BytesMut;

    use super::*;
    use crate::wire::{
        frame,
        method::{BasicAck, BasicNack, Method},
    };

    /// A ledger and what it sends, in words.
    struct Bench(Confirms, Outgoing);

    impl Bench {
        fn with(published: u64) -> Self {
            let mut confirms = Confirms::default();
            for number in 1..=published {
                assert_eq!(confirms.next(), number);
            }
            Self(confirms, Outgoing::new(0))
        }

        fn confirm(&mut self, numbers: &[u64]) -> Vec<String> {
            numbers.iter().for_each(|number| self.0.confirm(*number, *number));
            self.0.flush(1, &mut self.1);
            self.sent()
        }

        fn reject(&mut self, number: u64) -> Vec<String> {
            self.0.reject(number, 1, &mut self.1);
            self.sent()
        }

        fn sent(&mut self) -> Vec<String> {
            let mut runs = VecDeque::new();
            self.1.take(&mut runs);
            let mut octets = BytesMut::new();
            runs.iter().for_each(|run| octets.extend_from_slice(run));
            std::iter::from_fn(|| frame::split(&mut octets, 0).unwrap())
                .map(|frame| match Method::decode(&frame.payload).unwrap() {
                    Method::BasicAck(BasicAck { delivery_tag, multiple }) => {
                        format!("ack {delivery_tag}{}", if multiple { "+" } else { "" })
                    }
                    Method::BasicNack(BasicNack { delivery_tag, multiple, requeue }) => {
                        assert!(requeue);
                        format!("nack {delivery_tag}{}", if multiple { "+" } else { "" })
                    }
                    other => panic!("{other:?}"),
                })
                .collect()
        }
    }

    #[test]
    fn consecutive_confirms_are_one_ack() {
        let mut bench = Bench::with(9);
        assert_eq!(bench.confirm(&[1]), ["ack 1"]);
        assert_eq!(bench.confirm(&[2, 3, 4, 5]), ["ack 5+"]);
        assert_eq!(bench.confirm(&[7, 6, 9, 8]), ["ack 9+"]);
        assert_eq!(bench.confirm(&[]), [""; 0]);
    }

    #[test]
    fn an_ack_of_many_never_covers_an_unanswered_publication() {
        let mut bench = Bench::with(9);
        assert_eq!(bench.confirm(&[2, 3, 5]), ["ack 2", "ack 3", "ack 5"]);
        assert_eq!(bench.confirm(&[1]), ["ack 1"]);
        assert_eq!(bench.confirm(&[6, 4]), ["ack 6+"]);
        assert_eq!(bench.confirm(&[7, 9]), ["ack 7", "ack 9"]);
        assert_eq!(bench.confirm(&[8]), ["ack 8"]);
    }

    #[test]
    fn a_run_is_confirmed_as_its_numbers_are_one_by_one() {
        let mut bench = Bench::with(2_000_000);
        bench.0.confirm(3, 4);
        assert_eq!(bench.confirm(&[]), ["ack 3", "ack 4"]);
        bench.0.confirm(5, 1_000_000);
        bench.0.confirm(1_000_001, 2_000_000);
        bench.0.confirm(1, 2);
        assert_eq!(bench.confirm(&[]), ["ack 2000000+"]);
    }

    #[test]
    fn a_nack_keeps_its_place_among_the_acks() {
        let mut bench = Bench::with(5);
        bench.0.confirm(1, 2);
        assert_eq!(bench.reject(3), ["ack 2+", "nack 3"]);
        assert_eq!(bench.reject(5), ["nack 5"]);
        assert_eq!(bench.confirm(&[4]), ["ack 4"]);
    }
}
