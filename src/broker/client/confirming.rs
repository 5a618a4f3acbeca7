//! Confirms that are true once what they promise is durable.

use std::collections::VecDeque;

use super::{Client, routes::Route};
use crate::model::{Batch, ChannelNumber, Confirmed, LogPosition, Published};

/// Publications whose records are on their way to the disk, in the order of the records.
#[derive(Debug, Default)]
pub(super) struct Confirming(VecDeque<(LogPosition, Confirmed)>);

impl Confirming {
    /// A publication is confirmed when `written` is durable.
    #[inline]
    pub(super) fn wait(&mut self, written: LogPosition, channel: ChannelNumber, number: u64) {
        if let Some((last_written, last)) = self.0.back_mut()
            && *last_written == written
            && last.channel == channel
            && last.last + 1 == number
        {
            last.last = number;
            return;
        }
        self.0.push_back((written, Confirmed { channel, first: number, last: number }));
    }

    /// The channel has ended.
    pub(super) fn forget(&mut self, channel: ChannelNumber) {
        self.0.retain(|(_, confirmed)| confirmed.channel != channel);
    }
}

impl Client {
    /// Confirms what went nowhere: at once, or when the message that it repeats is safe.
    pub(super) fn confirm_dropped(
        &mut self,
        route: &Route,
        channel: ChannelNumber,
        number: u64,
        said: &mut Vec<Published>,
    ) {
        if let (Some(annex), Some(journal)) = (route.repeats, &self.broker.journal) {
            let mut batch = Batch::default();
            // Changes nothing, but comes after that message.
            batch.settle(annex, &[]);
            let written = journal.append(&mut batch);
            if written == LogPosition::NEVER {
                said.push(Published::Rejected { channel, number });
            } else {
                self.confirming.wait(written, channel, number);
            }
            return;
        }
        said.push(Published::Confirmed { channel, number });
    }

    /// What must be durable for the next confirm, if any waits.
    pub fn next_awaited_confirm(&self) -> Option<LogPosition> {
        self.confirming.0.front().map(|(written, _)| *written)
    }

    /// Moves to `confirmed` what has become true now that all up to `durable` is.
    pub fn confirmed(&mut self, durable: LogPosition, confirmed: &mut Vec<Confirmed>) {
        let waiting = &mut self.confirming.0;
        let true_now = waiting.iter().take_while(|(written, _)| *written <= durable).count();
        confirmed.extend(waiting.drain(..true_now).map(|(_, run)| run));
    }
}
