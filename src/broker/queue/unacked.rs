//! What is out: with whom, and found again by its position.

use std::collections::{BTreeMap, VecDeque};

use super::contents::Entry;
use crate::model::Position;

/// A message that is out.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) entry: Entry,
    pub(super) holder: Holder,
}

/// Who holds a message: a consumer's slot, and its serial number, since slots are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) slot: u32,
    pub(super) serial: u64,
}

impl Holder {
    /// The holder of what `basic.get` took.
    pub(super) const NOBODY: Self = Self { slot: u32::MAX, serial: u64::MAX };
}

impl Out {
    #[inline]
    fn octets(&self) -> u64 {
        self.entry.message.body().len() as u64
    }
}

/// The messages that are out.
///
/// Most are settled nearly in the order in which they went out, so they lie in slots that follow
/// their positions, and are found without a search. When the slots become sparse (one message that
/// is never settled, while others pass), the oldest go aside, so that slots stay in proportion to
/// messages.
#[derive(Debug, Default)]
pub(super) struct Unacked {
    /// The first slot is occupied, if there is any slot.
    slots: VecDeque<Option<Out>>,
    /// The position of the first slot.
    base: u64,
    /// How many slots are occupied.
    occupied: usize,
    /// What has no slot.
    aside: BTreeMap<u64, Out>,
    /// Octets of the bodies of all of them.
    octets: u64,
}

/// So many slots are never called sparse.
const SPARE_SLOTS: usize = 64;

impl Unacked {
    #[inline]
    pub(super) fn insert(&mut self, out: Out) {
        let position = out.entry.position.0;
        self.octets += out.octets();
        if self.slots.is_empty() {
            self.base = position;
        }
        let Some(offset) = position.checked_sub(self.base) else {
            self.aside.insert(position, out);
            return;
        };
        if offset == self.slots.len() as u64 {
            self.slots.push_back(Some(out));
            self.occupied += 1;
            return;
        }
        self.insert_beyond(position, out);
    }

    #[inline]
    pub(super) fn remove(&mut self, position: Position) -> Option<Out> {
        let Some(out) = self.slot(position).and_then(Option::take) else {
            let out = self.aside.remove(&position.0)?;
            self.octets -= out.octets();
            return Some(out);
        };
        self.octets -= out.octets();
        self.occupied -= 1;
        self.drop_vacant();
        self.thin_out();
        Some(out)
    }

    /// Octets of the bodies.
    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    /// The positions of what somebody holds, in order.
    pub(super) fn held_by(&self, holder: Holder) -> Vec<Position> {
        let aside = self.aside.iter().map(|(position, out)| (*position, out));
        let slots = (self.base..).zip(&self.slots);
        let in_slots = slots.filter_map(|(position, out)| out.as_ref().map(|out| (position, out)));
        let all = aside.chain(in_slots).filter(|(_, out)| out.holder == holder);
        let mut positions: Vec<_> = all.map(|(position, _)| Position(position)).collect();
        positions.sort_unstable();
        positions
    }

    pub(super) fn contains(&self, position: Position) -> bool {
        let offset = position.0.checked_sub(self.base).and_then(|it| usize::try_from(it).ok());
        let slot = offset.and_then(|offset| self.slots.get(offset));
        slot.is_some_and(Option::is_some) || self.aside.contains_key(&position.0)
    }

    pub(super) fn count(&self) -> u64 {
        (self.occupied + self.aside.len()) as u64
    }

    #[inline]
    fn slot(&mut self, position: Position) -> Option<&mut Option<Out>> {
        let offset = position.0.checked_sub(self.base)?;
        self.slots.get_mut(usize::try_from(offset).ok()?)
    }

    /// Inserts behind a gap, or into a slot within.
    fn insert_beyond(&mut self, position: u64, out: Out) {
        let reach = |base| usize::try_from(position - base).unwrap_or(usize::MAX);
        while self.is_sparse(reach(self.base)) && !self.slots.is_empty() {
            self.set_first_aside();
        }
        if self.slots.is_empty() {
            self.base = position;
        }
        let index = reach(self.base);
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, || None);
        }
        self.slots[index] = Some(out);
        self.occupied += 1;
    }

    #[inline]
    fn drop_vacant(&mut self) {
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.base += 1;
        }
    }

    #[inline]
    fn thin_out(&mut self) {
        while self.is_sparse(self.slots.len()) {
            self.set_first_aside();
        }
        if self.slots.capacity() > 4 * (self.slots.len() + SPARE_SLOTS) {
            self.slots.shrink_to(2 * (self.slots.len() + SPARE_SLOTS));
        }
    }

    #[inline]
    fn is_sparse(&self, slots: usize) -> bool {
        slots > 4 * self.occupied + SPARE_SLOTS
    }

    /// Sets the first message aside, and drops the vacant slots behind it.
    fn set_first_aside(&mut self) {
        if let Some(Some(out)) = self.slots.pop_front() {
            self.occupied -= 1;
            self.aside.insert(self.base, out);
        }
        self.base += 1;
        self.drop_vacant();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::Message;

    fn out(position: u64) -> Out {
        let message = Message::new(b"", b"q", &[0, 0], Bytes::from_static(b"body"));
        let entry = Entry::new(Position(position), message);
        Out { entry, holder: Holder::NOBODY }
    }

    #[test]
    fn one_old_message_does_not_pin_the_slots_of_all_that_pass() {
        let mut unacked = Unacked::default();
        unacked.insert(out(0));
        for position in 1..100_000 {
            unacked.insert(out(position));
            assert!(unacked.remove(Position(position)).is_some());
            assert!(unacked.slots.len() <= 4 + SPARE_SLOTS + 1);
        }
        assert_eq!(unacked.remove(Position(0)).unwrap().entry.position, Position(0));
        assert_eq!(unacked.count(), 0);
    }

    #[test]
    fn slots_are_given_back_when_most_of_many_are_settled() {
        let mut unacked = Unacked::default();
        (0..10_000).for_each(|position| unacked.insert(out(position)));
        for position in (0..10_000).filter(|position| position % 100 != 0) {
            assert!(unacked.remove(Position(position)).is_some());
        }
        assert_eq!(unacked.count(), 100);
        assert!(unacked.slots.capacity() < 2000, "{}", unacked.slots.capacity());
        for position in (0..10_000).step_by(100) {
            assert_eq!(unacked.remove(Position(position)).unwrap().entry.position.0, position);
        }
    }

    #[test]
    fn what_went_aside_is_found_when_the_slots_begin_below_it() {
        let mut unacked = Unacked::default();
        [9, 5, 2].into_iter().for_each(|position| unacked.insert(out(position)));
        assert!(unacked.remove(Position(9)).is_some());
        unacked.insert(out(3));
        for position in [5, 3, 2] {
            assert_eq!(unacked.remove(Position(position)).unwrap().entry.position.0, position);
        }
    }

    #[test]
    fn positions_may_lie_far_apart_and_come_in_any_order() {
        let mut unacked = Unacked::default();
        let positions = [500, 7, u64::MAX - 1, 501, 3, 1_000_000, 502];
        positions.iter().for_each(|position| unacked.insert(out(*position)));
        assert_eq!((unacked.count(), unacked.octets()), (7, 28));
        assert!(unacked.slots.len() <= 2 * SPARE_SLOTS);
        assert!(unacked.remove(Position(504)).is_none());
        for position in positions {
            assert_eq!(unacked.remove(Position(position)).unwrap().entry.position.0, position);
            assert!(unacked.remove(Position(position)).is_none());
        }
        assert_eq!(unacked.octets(), 0);
    }
}
