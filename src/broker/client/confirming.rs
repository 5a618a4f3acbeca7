//! Confirms that wait until the disk has what they confirm.

use std::collections::VecDeque;

use super::Client;
use crate::model::{ChannelNumber, Confirmed, LogPosition};

/// Runs of publications, in the order of the records that they wait for.
#[derive(Debug, Default)]
pub(super) struct AwaitedConfirms {
    runs: VecDeque<(LogPosition, Confirmed)>,
}

impl AwaitedConfirms {
    /// The channel has ended: another one of its number must not hear of it.
    pub(super) fn forget(&mut self, channel: ChannelNumber) {
        self.runs.retain(|(_, run)| run.channel != channel);
    }
}

impl Client {
    /// The first record that a confirm waits for.
    pub fn next_awaited_confirm(&self) -> Option<LogPosition> {
        self.awaited_confirms.runs.front().map(|(position, _)| *position)
    }

    /// Adds to `out` what is safe by now: everything that waited for a record up to `durable`.
    pub fn confirmed(&mut self, durable: LogPosition, out: &mut Vec<Confirmed>) {
        let runs = &mut self.awaited_confirms.runs;
        let safe = runs.partition_point(|(position, _)| *position <= durable);
        out.extend(runs.drain(..safe).map(|(_, run)| run));
    }
}
