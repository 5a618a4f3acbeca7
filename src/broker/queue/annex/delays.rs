//! Messages that wait until they are due.

use std::{collections::BTreeMap, time::Duration};

use super::Entry;
use crate::{
    broker::routing::delay_of,
    model::{Moment, Position},
};

/// Messages by the moment at which they are due; those of one moment in the order of their arrival.
#[derive(Debug, Default)]
pub(in crate::broker::queue) struct Delays {
    waiting: BTreeMap<(Moment, Position), Entry>,
    /// The moment that was asked to be woken at, if it has not come.
    asked: Option<Moment>,
}

impl Delays {
    /// Takes a message in, and says when it is due. One without a delay is due at once.
    pub(super) fn receive(&mut self, entry: Entry, now: Moment) -> Option<Moment> {
        let due = whole(now + delay_of(&entry.message).unwrap_or_default());
        self.restore(Entry { deadline: Some(due), ..entry });
        Some(due)
    }

    pub(super) fn restore(&mut self, entry: Entry) {
        self.waiting.insert((entry.deadline.unwrap_or_default(), entry.position), entry);
    }

    pub(super) fn take_due(&mut self, now: Moment) -> Option<Entry> {
        let first = self.waiting.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }

    /// The moment to be woken at, unless that was asked for already.
    pub(super) fn next_alarm(&mut self, now: Moment) -> Option<Moment> {
        self.asked.take_if(|asked| *asked <= now);
        let ((due, _), _) = self.waiting.first_key_value()?;
        if self.asked.is_some_and(|asked| asked <= *due) {
            return None;
        }
        self.asked = Some(*due);
        self.asked
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// The next whole millisecond, which is what is written down: the order stays after a restart.
fn whole(moment: Moment) -> Moment {
    let milliseconds = moment.since_epoch().as_nanos().div_ceil(1_000_000);
    Moment::from_unix(Duration::from_millis(u64::try_from(milliseconds).unwrap_or(u64::MAX)))
}
