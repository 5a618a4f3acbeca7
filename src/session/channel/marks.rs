//! When the tags of a channel were given, as far as it matters.

use std::{collections::VecDeque, mem};

use crate::model::Moment;

/// A mark is dropped if that moves what it stands for by less than this part of its age.
const PART: u32 = 32;

/// The last tag at earlier moments, the oldest first.
///
/// The older, the fewer: their number grows with the logarithm of the time that the oldest delivery
/// is out. A tag counts as given when the next mark was made, so its age is never overestimated.
#[derive(Debug, Default)]
pub(super) struct Marks(VecDeque<Mark>);

#[derive(Clone, Copy, Debug)]
struct Mark {
    tag: u64,
    noted: Moment,
}

impl Marks {
    /// Notes that `last` is the last tag at this moment. Tags below `oldest` matter no more.
    pub(super) fn note(&mut self, oldest: u64, last: u64, now: Moment) {
        while self.0.front().is_some_and(|mark| mark.tag < oldest) {
            self.0.pop_front();
        }
        if self.0.back().is_none_or(|mark| mark.tag < last) {
            self.0.push_back(Mark { tag: last, noted: now });
            self.thin(now);
        }
    }

    /// Nothing is out.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The last tag that had been given at that moment, for all that is known; 0 is none.
    pub(super) fn last_at(&self, moment: Moment) -> u64 {
        let later = self.0.partition_point(|mark| mark.noted <= moment);
        later.checked_sub(1).map_or(0, |index| self.0[index].tag)
    }

    fn thin(&mut self, now: Moment) {
        for older in mem::take(&mut self.0).into_iter().rev() {
            match self.0.get(1) {
                // The newer one stands for what the one between the two stood for.
                Some(newer) if newer.noted.since(older.noted) <= now.since(newer.noted) / PART => {
                    self.0[0] = older;
                }
                _ => self.0.push_front(older),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_unix(Duration::from_secs(seconds))
    }

    #[test]
    fn a_tag_is_as_old_as_the_first_mark_after_it() {
        let mut marks = Marks::default();
        marks.note(1, 5, at(10));
        marks.note(1, 5, at(11));
        marks.note(1, 9, at(12));
        assert_eq!([9, 10, 11, 12, 13].map(|moment| marks.last_at(at(moment))), [0, 5, 5, 9, 9]);
        marks.note(6, 9, at(13));
        assert_eq!(marks.last_at(at(11)), 0);
        marks.clear();
        assert_eq!(marks.last_at(at(20)), 0);
    }

    #[test]
    fn many_marks_become_few_and_still_say_when() {
        let mut marks = Marks::default();
        let end = 20_000;
        for second in 1..=end {
            marks.note(1, second, at(second));
            assert!(marks.0.len() < 500, "{} marks after {second} s", marks.0.len());
        }
        for age in (0..end).step_by(7) {
            let moment = end - age;
            let last = marks.last_at(at(moment));
            let late = moment - last;
            assert!(
                last <= moment && late <= age / u64::from(PART) + 1,
                "age {age}: {late} s late"
            );
        }
    }
}
