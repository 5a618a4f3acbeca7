//! Which durable messages may be handed out: those of which it is written that they may have been.
//!
//! So a message that comes back after a crash says that it may have been seen, if it may. What is
//! written runs ahead of what is handed out, further the more often consumers had to wait for it.

use super::{Queue, changes::Kept};
use crate::model::Position;

/// How far ahead the marks run at most: so many messages may say without need that they were seen.
const FURTHEST: u64 = 4096;

/// The mark that is durable, and the one that will be.
#[derive(Debug, Default)]
pub(super) struct Clearance {
    /// Messages below it may be handed out.
    granted: Position,
    /// The mark that was written last.
    asked: Position,
    /// No message from here on has been handed out.
    seen: Position,
    /// Nobody is woken when the marks below it are durable.
    unheard: Position,
    /// How far ahead the next mark is.
    ahead: u64,
    /// The last message that somebody had to wait for.
    awaited: Option<Position>,
}

impl Clearance {
    /// As it was found after a restart.
    pub(super) fn below(position: Position) -> Self {
        Self { granted: position, asked: position, seen: position, ..Self::default() }
    }

    #[inline]
    pub(super) fn covers(&self, position: Position) -> bool {
        position < self.granted
    }

    /// A mark is durable.
    pub(super) fn grant(&mut self, below: Position) {
        self.granted = self.granted.max(below);
    }

    /// A message that arrives is passed on at once: the mark that goes with it. It covers what came
    /// before, too, but only once it is durable: by `basic.get` messages may be out that were not
    /// granted.
    #[inline]
    pub(super) fn pass(&mut self, position: Position) -> Position {
        let mark = Position(position.0 + 1);
        if self.seen <= self.granted {
            self.granted = self.granted.max(mark);
        }
        self.seen = self.seen.max(mark);
        self.asked = self.asked.max(mark);
        self.unheard = self.asked;
        self.asked
    }

    /// A message is handed out that was granted.
    #[inline]
    pub(super) fn hand_out(&mut self, position: Position) {
        self.seen = self.seen.max(Position(position.0 + 1));
    }

    /// Nobody is there to hand messages to: takes back what was marked ahead, if anything was. What
    /// is written of that comes after all marks on their way, and counts in their stead.
    fn withdraw(&mut self) -> Option<Position> {
        self.rest();
        if self.asked <= self.seen {
            return None;
        }
        self.granted = self.granted.min(self.seen);
        self.asked = self.seen;
        self.unheard = self.asked;
        Some(self.seen)
    }

    /// A message goes out by `basic.get`, whose answer waits for the mark; if the message comes
    /// back before, it must wait as well.
    fn take(&mut self, position: Position) {
        self.hand_out(position);
        self.unheard = self.asked;
    }

    /// The queue has nothing ready: consumers are not waiting for marks.
    fn rest(&mut self) {
        self.ahead = 0;
    }

    /// The mark to write for a message that somebody waits for.
    fn ask(&mut self, position: Position, end: Position) -> Option<Position> {
        if self.awaited != Some(position) {
            self.awaited = Some(position);
            self.ahead = (2 * self.ahead + 1).min(FURTHEST);
        }
        if position < self.asked && position >= self.unheard {
            return None;
        }
        self.unheard = Position::default();
        Some(self.ask_ahead(position, end))
    }

    /// The mark to write already, since the last one is about to be reached.
    #[inline]
    fn look_ahead(&mut self, position: Position, end: Position) -> Option<Position> {
        let is_near = self.ahead > 1 && position.0 + self.ahead / 2 >= self.asked.0;
        (is_near && self.asked < end).then(|| self.ask_ahead(position, end))
    }

    /// Never beyond the last message that has arrived.
    fn ask_ahead(&mut self, position: Position, end: Position) -> Position {
        let ahead = Position((position.0 + self.ahead).max(position.0 + 1).min(end.0));
        self.asked = self.asked.max(ahead);
        self.asked
    }
}

impl Queue {
    /// Whether there is a head, and it may be handed out. If not, that is asked for when somebody
    /// waits for it.
    #[inline]
    pub(super) fn may_serve(&mut self) -> bool {
        let Some(head) = self.contents.head() else {
            self.clearance.rest();
            return false;
        };
        if head.kept != Kept::Durable {
            return true;
        }
        let position = head.position;
        if self.clearance.covers(position) {
            let mark = self.clearance.look_ahead(position, self.contents.end());
            mark.into_iter().for_each(|mark| self.changes.deliver_below(mark));
            return true;
        }
        if self.consumers.are_waiting() {
            self.ask_clearance(position);
        }
        false
    }

    /// A message goes out by `basic.get`: what must be durable before it is seen is written.
    pub(super) fn take_clearance(&mut self, position: Position) {
        if !self.clearance.covers(position) {
            self.ask_clearance(position);
        }
        self.clearance.take(position);
    }

    /// The last consumer has gone.
    pub(super) fn withdraw_clearance(&mut self) {
        if let Some(mark) = self.clearance.withdraw() {
            self.changes.deliver_below(mark);
        }
    }

    /// Has a mark written that covers `position`, if there is none yet of which this queue hears.
    fn ask_clearance(&mut self, position: Position) {
        if let Some(mark) = self.clearance.ask(position, self.contents.end()) {
            self.changes.deliver_below(mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_at_once_grants_nothing_that_was_taken_before_its_mark() {
        let mut clearance = Clearance::default();
        assert_eq!(clearance.pass(Position(0)), Position(1));
        assert!(clearance.covers(Position(0)), "it is in one record with its mark");
        assert_eq!(clearance.ask(Position(1), Position(2)), Some(Position(2)));
        clearance.take(Position(1));
        clearance.pass(Position(2));
        assert!(!clearance.covers(Position(1)), "its mark is not durable");
        clearance.grant(Position(3));
        clearance.pass(Position(3));
        assert!(clearance.covers(Position(3)), "everything before is marked");
    }

    #[test]
    fn a_mark_of_which_nobody_hears_is_written_again_for_who_waits() {
        let mut clearance = Clearance::default();
        let end = Position(2);
        assert_eq!(clearance.ask(Position(0), end), Some(Position(1)));
        assert_eq!(clearance.ask(Position(0), end), None, "whoever waits is woken");
        clearance.take(Position(0));
        assert!(clearance.ask(Position(0), end).is_some(), "it came back before the mark held");
        assert_eq!(clearance.ask(Position(0), end), None);
    }
}
