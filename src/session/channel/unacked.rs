//! What is out with the client: delivery tags and the places in queues that they stand for.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::marks::Marks;
use crate::model::{Moment, Position, QueueId};

/// Settled entries may stay in the ledger up to this many, and up to as many as are unsettled.
const FEW: usize = 64;

/// The deliveries of one channel that the client has yet to settle, in the order of their tags.
///
/// Tags without a delivery to settle (`no_ack`) are not recorded, so an entry is looked for where
/// it would be were there none, then by halves. Settling in the middle leaves a settled entry
/// behind; these are swept out before they outnumber the others.
#[derive(Debug, Default)]
pub(super) struct Unacked {
    entries: VecDeque<Entry>,
    settled: usize,
    last_tag: u64,
    marks: Marks,
}

/// One delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tag: u64,
    queue: QueueId,
    position: Position,
    is_settled: bool,
}

/// A delivery that was taken out of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) tag: u64,
    pub(super) queue: QueueId,
    pub(super) position: Position,
}

impl Entry {
    fn taken(&self) -> Taken {
        Taken { tag: self.tag, queue: self.queue, position: self.position }
    }
}

impl Unacked {
    /// The tag of the next delivery, which nobody will settle.
    pub(super) fn skip(&mut self) -> u64 {
        self.last_tag += 1;
        self.last_tag
    }

    /// Notes what is out at this moment. If something of it has been out for longer than it may,
    /// says how long that is: what `said` has for its queue, or `otherwise`.
    pub(super) fn find_overdue(
        &mut self,
        said: impl Iterator<Item = (QueueId, Duration)>,
        otherwise: Option<Duration>,
        now: Moment,
    ) -> Option<Duration> {
        let Some(oldest) = self.entries.front().map(|entry| entry.tag) else {
            self.marks.clear();
            return None;
        };
        self.marks.note(oldest, self.last_tag, now);
        let overdue_tag = |timeout| (self.marks.last_at(now - timeout), timeout);
        let by_queue: BTreeMap<_, _> =
            said.map(|(queue, timeout)| (queue, overdue_tag(timeout))).collect();
        let otherwise = otherwise.map_or((0, Duration::ZERO), overdue_tag);
        let last = by_queue.values().chain([&otherwise]).map(|(tag, _)| *tag).max()?;
        let old = self.entries.iter().take_while(|entry| entry.tag <= last);
        old.filter(|entry| !entry.is_settled).find_map(|entry| {
            let (tag, timeout) = by_queue.get(&entry.queue).unwrap_or(&otherwise);
            (entry.tag <= *tag).then_some(*timeout)
        })
    }

    /// The queues that something is out of, some of them repeatedly.
    pub(super) fn queues(&self) -> impl Iterator<Item = QueueId> {
        self.entries.iter().map(|entry| entry.queue)
    }

    /// Records a delivery under the next tag.
    pub(super) fn record(&mut self, queue: QueueId, position: Position) -> u64 {
        self.last_tag += 1;
        self.entries.push_back(Entry { tag: self.last_tag, queue, position, is_settled: false });
        self.last_tag
    }

    /// Takes out the delivery of that tag.
    pub(super) fn take(&mut self, tag: u64) -> Option<Taken> {
        let index = self.find(tag)?;
        let entry = self.entries[index];
        if index == 0 {
            self.entries.pop_front();
            self.drop_settled_front();
        } else {
            self.entries[index].is_settled = true;
            self.settled += 1;
            self.sweep();
        }
        Some(entry.taken())
    }

    /// Takes out every delivery up to that tag, which must itself be outstanding; 0 is all.
    pub(super) fn take_through(&mut self, tag: u64, mut each: impl FnMut(Taken)) -> bool {
        let last = match tag {
            0 => self.entries.len(),
            tag => match self.find(tag) {
                Some(index) => index + 1,
                None => return false,
            },
        };
        for entry in self.entries.drain(..last) {
            if entry.is_settled {
                self.settled -= 1;
            } else {
                each(entry.taken());
            }
        }
        self.drop_settled_front();
        true
    }

    /// Puts back what a transaction had taken out, and does not settle.
    pub(super) fn restore(&mut self, taken: impl IntoIterator<Item = Taken>) {
        for Taken { tag, queue, position } in taken {
            let index = self.entries.partition_point(|entry| entry.tag < tag);
            let entry = Entry { tag, queue, position, is_settled: false };
            match self.entries.get_mut(index) {
                Some(present) if present.tag == tag => {
                    *present = entry;
                    self.settled -= 1;
                }
                _ => self.entries.insert(index, entry),
            }
        }
    }

    #[inline]
    fn find(&self, tag: u64) -> Option<usize> {
        let first = self.entries.front()?.tag;
        let guess = usize::try_from(tag.checked_sub(first)?).ok()?;
        let index = match self.entries.get(guess) {
            Some(entry) if entry.tag == tag => guess,
            // Tags are missing, so the entry can only lie further in front.
            _ => self.entries.binary_search_by_key(&tag, |entry| entry.tag).ok()?,
        };
        (!self.entries[index].is_settled).then_some(index)
    }

    fn drop_settled_front(&mut self) {
        while self.settled > 0 && self.entries.front().is_some_and(|entry| entry.is_settled) {
            self.entries.pop_front();
            self.settled -= 1;
        }
    }

    fn sweep(&mut self) {
        if self.settled > FEW && self.settled > self.entries.len() / 2 {
            self.entries.retain(|entry| !entry.is_settled);
            self.settled = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(deliveries: u64) -> Unacked {
        let mut unacked = Unacked::default();
        for position in 1..=deliveries {
            assert_eq!(unacked.record(QueueId(1), Position(position)), position);
        }
        unacked
    }

    fn taken(unacked: &mut Unacked, tag: u64) -> Option<(u64, u64)> {
        unacked.take(tag).map(|taken| (taken.queue.0, taken.position.0))
    }

    fn taken_through(unacked: &mut Unacked, tag: u64) -> Option<Vec<u64>> {
        let mut positions = Vec::new();
        let found = unacked.take_through(tag, |taken| positions.push(taken.position.0));
        found.then_some(positions)
    }

    #[test]
    fn a_delivery_that_is_out_for_too_long_is_found() {
        let at = |seconds| Moment::from_unix(Duration::from_secs(seconds));
        let mut unacked = ledger(2);
        let ten = Some(Duration::from_secs(10));
        let nothing = || std::iter::empty();
        let is_overdue = |unacked: &mut Unacked, now| {
            unacked.find_overdue(nothing(), None, at(now));
            unacked.find_overdue(nothing(), ten, at(now)) == ten
        };
        assert!(!is_overdue(&mut unacked, 100));
        unacked.record(QueueId(1), Position(3));
        assert!(!is_overdue(&mut unacked, 105));
        unacked.take_through(2, drop);
        assert!(!is_overdue(&mut unacked, 110), "the third was not out at 100");
        assert!(is_overdue(&mut unacked, 115));
        unacked.take(3);
        assert!(!is_overdue(&mut unacked, 120));
    }

    #[test]
    fn each_queue_has_its_own_time_and_the_others_the_node_s() {
        let mut unacked = Unacked::default();
        for queue in [1, 2, 3, 2] {
            unacked.record(QueueId(queue), Position(1));
        }
        let seconds = Duration::from_secs;
        let find = |unacked: &mut Unacked, said: [u64; 2], otherwise: Option<u64>, now: u64| {
            let said = (1..).zip(said).map(|(queue, time)| (QueueId(queue), seconds(time)));
            let now = Moment::from_unix(seconds(1000 + now));
            let found = unacked.find_overdue(said, otherwise.map(seconds), now);
            found.map(|timeout| timeout.as_secs())
        };
        assert_eq!(find(&mut unacked, [50, 20], Some(30), 0), None);
        assert_eq!(find(&mut unacked, [50, 20], Some(30), 19), None);
        assert_eq!(find(&mut unacked, [50, 20], Some(30), 20), Some(20), "behind the first");
        unacked.take(2);
        assert_eq!(find(&mut unacked, [50, 20], Some(30), 20), Some(20));
        unacked.take(4);
        assert_eq!(find(&mut unacked, [50, 20], Some(30), 29), None);
        assert_eq!(find(&mut unacked, [50, 20], Some(30), 30), Some(30));
        assert_eq!(find(&mut unacked, [50, 20], None, 49), None, "without a limit for the third");
        assert_eq!(find(&mut unacked, [60, 20], None, 59), None, "it may be given more time");
        assert_eq!(find(&mut unacked, [0, 20], None, 59), Some(0));
    }

    #[test]
    fn a_delivery_is_settled_once() {
        let mut unacked = ledger(3);
        assert_eq!(taken(&mut unacked, 2), Some((1, 2)));
        assert_eq!(taken(&mut unacked, 2), None);
        assert_eq!(taken(&mut unacked, 0), None);
        assert_eq!(taken(&mut unacked, 4), None);
        assert_eq!(taken(&mut unacked, 1), Some((1, 1)));
        assert_eq!(taken(&mut unacked, 3), Some((1, 3)));
        assert!(unacked.entries.is_empty());
    }

    #[test]
    fn multiple_settles_what_is_left_up_to_a_tag_that_is_outstanding() {
        let mut unacked = ledger(5);
        unacked.take(2);
        assert_eq!(taken_through(&mut unacked, 2), None);
        assert_eq!(taken_through(&mut unacked, 6), None);
        assert_eq!(taken_through(&mut unacked, 3), Some(vec![1, 3]));
        assert_eq!(taken_through(&mut unacked, 0), Some(vec![4, 5]));
        assert_eq!(taken_through(&mut unacked, 0), Some(vec![]));
    }

    #[test]
    fn tags_that_nobody_settles_leave_no_trace() {
        let mut unacked = Unacked::default();
        unacked.record(QueueId(1), Position(10));
        for _ in 0..1000 {
            unacked.skip();
        }
        assert_eq!(unacked.record(QueueId(1), Position(11)), 1002);
        assert_eq!(taken(&mut unacked, 500), None);
        assert_eq!(taken(&mut unacked, 1002), Some((1, 11)));
        assert_eq!(taken(&mut unacked, 1), Some((1, 10)));
    }

    #[test]
    fn an_old_delivery_does_not_make_the_ledger_grow() {
        let mut unacked = ledger(1);
        for _ in 0..100_000 {
            let tag = unacked.record(QueueId(1), Position(1));
            assert!(unacked.take(tag).is_some());
        }
        assert!(unacked.entries.len() <= 2 * FEW + 2, "{} entries", unacked.entries.len());
        let late = unacked.record(QueueId(2), Position(7));
        assert_eq!(taken(&mut unacked, late), Some((2, 7)));
        assert!(unacked.take(1).is_some());
    }

    #[test]
    fn what_a_transaction_gives_back_is_outstanding_again() {
        let mut unacked = ledger(3);
        let held = [2, 1].map(|tag| unacked.take(tag).unwrap());
        unacked.restore(held);
        assert_eq!(taken_through(&mut unacked, 0), Some(vec![1, 2, 3]));
    }
}
