//! Checks every message received: none lost, none twice, each producer's in the order sent.

use super::{
    scanner::Delivery,
    template::{Stamp, consumer_index},
};

/// What one connection has received, queue by queue and producer by producer.
#[derive(Debug)]
pub(super) struct Ledger {
    run: u32,
    publishers: usize,
    entries: Vec<Entry>,
    foreign: u64,
    redelivered: u64,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    /// A bit for every sequence number received.
    seen: Vec<u64>,
    /// One more than the last sequence number received.
    next: u64,
    duplicated: u64,
    disordered: u64,
}

/// What became of the messages of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Different messages received, a message counted once for every queue it is in.
    pub distinct: u64,
    pub duplicated: u64,
    pub disordered: u64,
    /// Messages of no publisher of this run.
    pub foreign: u64,
    pub redelivered: u64,
}

impl Ledger {
    /// For a connection that consumes from `queues` queues.
    pub(super) fn new(run: u32, queues: usize, publishers: usize) -> Self {
        let entries = vec![Entry::default(); queues * publishers];
        Self { run, publishers, entries, foreign: 0, redelivered: 0 }
    }

    #[inline]
    pub(super) fn note(&mut self, delivery: &Delivery) {
        let stamp = Stamp::read(&delivery.stamp);
        let publisher = stamp.publisher as usize;
        let place = consumer_index(delivery.consumer) * self.publishers + publisher;
        let is_ours = stamp.run == self.run && publisher < self.publishers;
        let Some(entry) = self.entries.get_mut(place).filter(|_| is_ours) else {
            self.foreign += 1;
            return;
        };
        self.redelivered += u64::from(delivery.redelivered);
        entry.note(stamp.sequence, delivery.redelivered);
    }
}

impl Entry {
    #[inline]
    fn note(&mut self, sequence: u64, redelivered: bool) {
        let word = (sequence / 64) as usize;
        if word >= self.seen.len() {
            self.seen.resize(word + 1, 0);
        }
        let bit = 1 << (sequence % 64);
        let is_new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        if redelivered {
            return;
        }
        self.duplicated += u64::from(!is_new);
        self.disordered += u64::from(is_new && sequence < self.next);
        self.next = self.next.max(sequence + 1);
    }
}

/// What the connections have received together; `queues` names, for each ledger, the queues that it
/// consumed from. A message that two connections had from the same queue is one too many.
pub(super) fn tally(ledgers: &[(Vec<usize>, Ledger)]) -> Tally {
    let mut tally = Tally::default();
    let mut merged: Vec<(usize, usize, Vec<u64>)> = Vec::new();
    for (queues, ledger) in ledgers {
        tally.foreign += ledger.foreign;
        tally.redelivered += ledger.redelivered;
        for (place, entry) in ledger.entries.iter().enumerate() {
            let (queue, publisher) = (queues[place / ledger.publishers], place % ledger.publishers);
            tally.duplicated += entry.duplicated;
            tally.disordered += entry.disordered;
            tally.duplicated += merge(&mut merged, (queue, publisher), &entry.seen);
        }
    }
    let ones = |words: &[u64]| words.iter().map(|word| u64::from(word.count_ones())).sum::<u64>();
    tally.distinct = merged.iter().map(|(_, _, words)| ones(words)).sum();
    tally
}

/// Adds what was seen, and answers how much of it others had seen.
fn merge(
    merged: &mut Vec<(usize, usize, Vec<u64>)>,
    (queue, publisher): (usize, usize),
    seen: &[u64],
) -> u64 {
    let known = merged.iter_mut().find(|(q, p, _)| (*q, *p) == (queue, publisher));
    let Some((_, _, words)) = known else {
        merged.push((queue, publisher, seen.to_vec()));
        return 0;
    };
    words.resize(words.len().max(seen.len()), 0);
    let mut twice = 0;
    for (word, new) in words.iter_mut().zip(seen) {
        twice += u64::from((*word & new).count_ones());
        *word |= new;
    }
    twice
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::{scanner::STAMP, template::consumer_tag};

    fn delivery(queue: usize, publisher: u32, sequence: u64) -> Delivery {
        let mut stamp = [0; STAMP];
        stamp[..4].copy_from_slice(&9_u32.to_be_bytes());
        stamp[4..8].copy_from_slice(&publisher.to_be_bytes());
        stamp[8..].copy_from_slice(&sequence.to_be_bytes());
        let consumer = consumer_tag(queue).as_bytes().try_into().unwrap();
        Delivery { consumer, tag: 1, redelivered: false, stamp }
    }

    fn received(deliveries: &[(usize, u32, u64)]) -> Ledger {
        let mut ledger = Ledger::new(9, 2, 2);
        for &(queue, publisher, sequence) in deliveries {
            ledger.note(&delivery(queue, publisher, sequence));
        }
        ledger
    }

    fn check(deliveries: &[(usize, u32, u64)], distinct: u64, duplicated: u64, disordered: u64) {
        let tally = tally(&[(vec![0, 1], received(deliveries))]);
        let expected = Tally { distinct, duplicated, disordered, ..Tally::default() };
        assert_eq!(tally, expected, "{deliveries:?}");
    }

    #[test]
    fn order_and_duplicates_are_judged_per_queue_and_publisher() {
        check(&[(0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1)], 4, 0, 0);
        check(&[(0, 0, 0), (0, 0, 0)], 1, 1, 0);
        check(&[(0, 0, 1), (0, 0, 0)], 2, 0, 1);
        check(&[(0, 0, 5), (0, 0, 900), (0, 1, 64)], 3, 0, 0);
    }

    #[test]
    fn what_two_connections_both_had_from_one_queue_is_a_duplicate() {
        let first = (vec![0, 1], received(&[(0, 0, 0), (0, 0, 2), (1, 0, 7)]));
        let second = (vec![0, 5], received(&[(0, 0, 1), (0, 0, 2), (1, 0, 7)]));
        let tally = tally(&[first, second]);
        assert_eq!((tally.distinct, tally.duplicated, tally.disordered), (5, 1, 0));
    }

    #[test]
    fn a_redelivery_is_counted_and_no_fault() {
        let mut ledger = received(&[(0, 0, 0), (0, 0, 1)]);
        ledger.note(&Delivery { redelivered: true, ..delivery(0, 0, 0) });
        let tally = tally(&[(vec![0, 1], ledger)]);
        assert_eq!(tally, Tally { distinct: 2, redelivered: 1, ..Tally::default() });
    }

    #[test]
    fn messages_of_others_are_foreign() {
        let mut ledger = Ledger::new(8, 1, 1);
        ledger.note(&delivery(0, 0, 0));
        let mut other_publisher = Ledger::new(9, 1, 1);
        other_publisher.note(&delivery(0, 3, 0));
        other_publisher.note(&delivery(4, 0, 0));
        assert_eq!(tally(&[(vec![0], ledger)]).foreign, 1);
        assert_eq!(tally(&[(vec![0], other_publisher)]).foreign, 2);
    }
}
