//! Marks on their way to the disk: which messages may be handed out once which record is durable.

use std::collections::VecDeque;

use crate::model::{LogPosition, Position};

/// The marks of one queue that are not known to be durable, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Marks(VecDeque<(LogPosition, Position)>);

impl Marks {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Messages below a position may be handed out once `written` is durable.
    pub(super) fn note(&mut self, written: LogPosition, below: Position) {
        // A mark that was taken back is overruled by the record that says so.
        while self.0.back().is_some_and(|(_, overruled)| *overruled > below) {
            self.0.pop_back();
        }
        self.0.push_back((written, below));
    }

    /// The highest mark that is durable now, if one has become so.
    pub(super) fn take_durable(&mut self, durable: LogPosition) -> Option<Position> {
        let durable = self.0.iter().take_while(|(written, _)| *written <= durable).count();
        self.0.drain(..durable).map(|(_, below)| below).max()
    }

    /// The record that must be durable before anybody sees the message at `position`.
    pub(super) fn awaited_by(&self, position: Position) -> LogPosition {
        let covering = self.0.iter().find(|(_, below)| position < *below);
        covering.map_or_else(LogPosition::default, |(written, _)| *written)
    }
}
