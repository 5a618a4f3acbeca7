//! What the broker's answers lead to.

use super::{Session, channel::content::PUBLISH, exception::Fault, phase::Phase, request::Reply};
use crate::model::{ChannelNumber, Confirmed, Decided, Moment, Published, Refusal};

impl Session {
    pub(super) fn admitted(&mut self, result: Result<(), Refusal>, now: Moment) {
        self.is_admitted = result.is_ok();
        if let Phase::Handshake(handshake) = &mut self.phase
            && let Err(broken) = handshake.admitted(result, &mut self.connection)
        {
            self.break_off(broken, now);
        }
    }

    pub(super) fn opened(&mut self, result: Result<(), Refusal>, now: Moment) {
        let Phase::Handshake(handshake) = &mut self.phase else {
            return;
        };
        match handshake.opened(result, &mut self.connection) {
            Ok(Some((tuning, capabilities))) => {
                self.tuning = tuning;
                self.alarm.is_announced = capabilities.connection_blocked;
                self.phase = Phase::Running;
            }
            Ok(None) => {}
            Err(broken) => self.break_off(broken, now),
        }
    }

    pub(super) fn operated(
        &mut self,
        channel: ChannelNumber,
        result: Result<Reply, Refusal>,
        now: Moment,
    ) {
        let Some(found) = self.channels.get_mut(&channel.0) else {
            return;
        };
        if let Err(exception) = found.answered(result, &mut self.connection) {
            self.fail(channel.0, &exception, now);
        }
        while let Some(clean) = self.connection.next_clean() {
            self.cleaned(clean);
        }
    }

    /// A channel has given everything back: its number is free if the client knows.
    pub(super) fn cleaned(&mut self, channel: u16) {
        if let Some(found) = self.channels.get_mut(&channel)
            && found.cleaned(&mut self.connection)
        {
            self.channels.remove(&channel);
        }
    }

    /// Says what became of publications: returns at once, confirms together at the end.
    pub(super) fn published(&mut self, published: Vec<Published>, now: Moment) {
        let mut confirmed: Vec<u16> = Vec::new();
        for fate in published {
            let channel = match &fate {
                Published::Confirmed { channel, .. }
                | Published::Rejected { channel, .. }
                | Published::Unroutable { channel, .. }
                | Published::Refused { channel, .. } => channel.0,
            };
            let Some(found) = self.channels.get_mut(&channel) else {
                continue;
            };
            match fate {
                Published::Confirmed { number, .. } => {
                    found.confirm(number, number);
                    note(&mut confirmed, channel);
                }
                Published::Rejected { number, .. } => found.reject(number, &mut self.connection),
                Published::Unroutable { message, .. } => {
                    found.return_unroutable(&message, &mut self.connection);
                }
                Published::Refused { refusal, .. } => {
                    found.flush_confirms(&mut self.connection);
                    self.fail(channel, &Fault::refused(refusal).by(PUBLISH), now);
                }
            }
        }
        for channel in confirmed {
            self.flush_confirms(channel);
        }
    }

    /// Says that publications are safe which were not when their answer was given.
    pub(super) fn confirmed_late(&mut self, runs: &[Confirmed]) {
        for run in runs {
            if let Some(found) = self.channels.get_mut(&run.channel.0) {
                found.confirm(run.first, run.last);
            }
        }
        // After the last run: what several of them confirm together is one frame.
        for run in runs {
            self.flush_confirms(run.channel.0);
        }
    }

    pub(super) fn decided_late(&mut self, decided: &[Decided]) {
        for Decided { channel, number, refused } in decided {
            let Some(found) = self.channels.get_mut(&channel.0) else { continue };
            if *refused {
                found.reject(*number, &mut self.connection);
            } else {
                found.confirm(*number, *number);
            }
        }
        for run in decided.chunk_by(|one, next| one.channel == next.channel) {
            self.flush_confirms(run[0].channel.0);
        }
    }

    fn flush_confirms(&mut self, channel: u16) {
        if let Some(found) = self.channels.get_mut(&channel) {
            found.flush_confirms(&mut self.connection);
        }
    }
}

/// Notes a channel unless it was the last one noted.
fn note(channels: &mut Vec<u16>, channel: u16) {
    if channels.last() != Some(&channel) {
        channels.push(channel);
    }
}
