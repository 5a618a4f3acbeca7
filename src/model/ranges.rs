//! Positions of a queue kept as ranges, so that a million in a row cost what one costs.

use std::collections::BTreeMap;

use super::Position;

/// Positions from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PositionRange {
    pub first: Position,
    pub last: Position,
}

impl PositionRange {
    /// The range from `first` to `last`, both included.
    pub fn new(first: u64, last: u64) -> Self {
        Self { first: Position(first), last: Position(last) }
    }

    /// How many positions it spans, whether or not a message stands at each.
    pub fn span(&self) -> u64 {
        (self.last.0 - self.first.0).saturating_add(1)
    }
}

impl From<Position> for PositionRange {
    fn from(position: Position) -> Self {
        Self { first: position, last: position }
    }
}

/// A set of positions. Neighbours melt into one range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    /// The last position of each range, by its first.
    lasts: BTreeMap<u64, u64>,
    /// Every position there can be is one more than fits into 64 bits.
    count: u128,
}

impl Ranges {
    /// Adds the positions of `range`.
    pub fn insert(&mut self, range: PositionRange) {
        let (mut first, mut last) = (range.first.0, range.last.0);
        while let Some((start, end)) = self.touching(first, last) {
            self.lasts.remove(&start);
            self.count -= span(start, end);
            first = first.min(start);
            last = last.max(end);
        }
        self.lasts.insert(first, last);
        self.count += span(first, last);
    }

    /// Takes the positions of `range` out, and says how many of them were there.
    pub fn remove(&mut self, range: PositionRange) -> u64 {
        let before = self.count;
        let (first, last) = (range.first.0, range.last.0);
        while let Some((start, end)) = self.overlapping(first, last) {
            self.lasts.remove(&start);
            self.count -= span(start, end);
            if start < first {
                self.lasts.insert(start, first - 1);
                self.count += span(start, first - 1);
            }
            if end > last {
                self.lasts.insert(last + 1, end);
                self.count += span(last + 1, end);
            }
        }
        u64::try_from(before - self.count).unwrap_or(u64::MAX)
    }

    /// How many positions are in the set.
    pub fn count(&self) -> u64 {
        u64::try_from(self.count).unwrap_or(u64::MAX)
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether `position` is in the set.
    pub fn contains(&self, position: Position) -> bool {
        self.overlapping(position.0, position.0).is_some()
    }

    /// The lowest position.
    pub fn first(&self) -> Option<Position> {
        self.lasts.first_key_value().map(|(first, _)| Position(*first))
    }

    /// The ranges in ascending order, no two of them touching.
    pub fn iter(&self) -> impl Iterator<Item = PositionRange> + '_ {
        self.lasts.iter().map(|(first, last)| PositionRange::new(*first, *last))
    }

    /// The part of the set that lies in `range`, in ascending order.
    pub fn within(&self, range: PositionRange) -> impl Iterator<Item = PositionRange> + '_ {
        let before = self.lasts.range(..range.first.0).next_back();
        let from = before.filter(|(_, last)| **last >= range.first.0).map(|(first, _)| *first);
        let (first, last) = (range.first.0, range.last.0);
        self.lasts
            .range(from.unwrap_or(first)..=last)
            .map(move |(start, end)| PositionRange::new((*start).max(first), (*end).min(last)))
    }

    /// A range of the set that overlaps or adjoins `first..=last`.
    fn touching(&self, first: u64, last: u64) -> Option<(u64, u64)> {
        let (start, end) = self.lasts.range(..=last.saturating_add(1)).next_back()?;
        (end.saturating_add(1) >= first).then_some((*start, *end))
    }

    /// The last range of the set that overlaps `first..=last`.
    fn overlapping(&self, first: u64, last: u64) -> Option<(u64, u64)> {
        let (start, end) = self.lasts.range(..=last).next_back()?;
        (*end >= first).then_some((*start, *end))
    }
}

impl FromIterator<PositionRange> for Ranges {
    fn from_iter<I: IntoIterator<Item = PositionRange>>(ranges: I) -> Self {
        let mut set = Self::default();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

fn span(first: u64, last: u64) -> u128 {
    u128::from(last - first) + 1
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn neighbours_melt_and_holes_split() {
        let mut set = Ranges::default();
        for position in [3, 1, 2, 7] {
            set.insert(Position(position).into());
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), [(1, 3), (7, 7)].map(pair));
        assert_eq!(set.remove(PositionRange::new(2, 9)), 3);
        assert_eq!(set.iter().collect::<Vec<_>>(), [(1, 1)].map(pair));
        assert_eq!((set.count(), set.first()), (1, Some(Position(1))));
    }

    #[test]
    fn the_ends_of_the_numbers_are_no_trap() {
        let mut set = Ranges::default();
        set.insert(PositionRange::new(u64::MAX - 1, u64::MAX));
        set.insert(Position(0).into());
        assert!(set.contains(Position(u64::MAX)));
        assert_eq!(set.remove(PositionRange::new(0, u64::MAX)), 3);
        assert!(set.is_empty());
        set.insert(PositionRange::new(0, u64::MAX));
        set.insert(PositionRange::new(7, 9));
        assert_eq!(set.count(), u64::MAX);
        assert_eq!(set.remove(Position(7).into()), 1);
        assert_eq!(set.remove(PositionRange::new(0, u64::MAX)), u64::MAX);
        assert!(set.is_empty());
    }

    #[test]
    fn a_set_of_ranges_is_a_set_of_positions() {
        let (mut set, mut plain, mut state) = (Ranges::default(), BTreeSet::new(), 7_u64);
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let first = (state >> 33) % 200;
            let range = PositionRange::new(first, first + (state >> 50) % 9);
            let positions = range.first.0..=range.last.0;
            if (state >> 61).is_multiple_of(2) {
                set.insert(range);
                plain.extend(positions);
            } else {
                let removed = positions.filter(|position| plain.remove(position)).count();
                assert_eq!(set.remove(range), removed as u64);
            }
            assert_eq!(set.count(), plain.len() as u64);
            let part = set.within(PositionRange::new(50, 90));
            let part: Vec<_> = part.flat_map(|range| range.first.0..=range.last.0).collect();
            assert_eq!(part, plain.range(50..=90).copied().collect::<Vec<_>>());
        }
    }

    fn pair((first, last): (u64, u64)) -> PositionRange {
        PositionRange::new(first, last)
    }
}
