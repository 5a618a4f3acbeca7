//! What an exchange keeps at a place that is a queue to everyone else: it is joined by messages in
//! the same record as their queues, and comes back after a restart as they do.

mod delays;
mod keys;
mod recent;

use super::{
    Queue,
    changes::{Arrived, Kept},
    command::{Arrival, Command, Effect},
    contents::Entry,
};
use crate::{
    broker::routing::{AnnexPlan, Claim},
    model::{Message, Moment, Position},
};
use delays::Delays;
use keys::Keys;
use recent::Recent;

/// What is kept, by the type of the exchange.
#[derive(Debug)]
pub(super) enum Annex {
    Delays(Delays),
    Recent(Recent),
    Keys(Keys),
}

impl Annex {
    fn new(plan: &AnnexPlan) -> Self {
        match plan {
            AnnexPlan::Delays => Self::Delays(Delays::default()),
            AnnexPlan::Recent(length) => Self::Recent(Recent::new(*length)),
            AnnexPlan::Keys(cache) => Self::Keys(Keys::new(cache)),
        }
    }

    /// A message has arrived; says until when it is kept, if it is.
    fn receive(&mut self, entry: Entry, now: Moment) -> Option<Option<Moment>> {
        match self {
            Self::Delays(delays) => delays.receive(entry, now).map(Some),
            Self::Recent(recent) => {
                recent.push(entry);
                Some(None)
            }
            Self::Keys(keys) => keys.receive(&entry),
        }
    }

    /// A message was here before a restart.
    pub(super) fn restore(&mut self, entry: Entry) {
        match self {
            Self::Delays(delays) => delays.restore(entry),
            Self::Recent(recent) => recent.push(entry),
            Self::Keys(keys) => keys.restore(&entry),
        }
    }

    /// The next that has had to make room.
    fn next_left(&mut self) -> Option<(Kept, Position)> {
        match self {
            Self::Delays(_) => None,
            Self::Recent(recent) => recent.next_left(),
            Self::Keys(keys) => keys.next_left(),
        }
    }

    fn count(&self) -> u64 {
        let count = match self {
            Self::Delays(delays) => delays.len(),
            Self::Recent(recent) => recent.messages().count(),
            Self::Keys(keys) => keys.len(),
        };
        count as u64
    }
}

impl Queue {
    /// The same queue as an annex. It must be empty.
    pub fn annexed(mut self, plan: &AnnexPlan) -> Self {
        self.annex = Some(Box::new(Annex::new(plan)));
        self
    }

    /// How much an annex keeps: messages or keys.
    pub fn annexed_count(&self) -> u64 {
        self.annex.as_ref().map_or(0, |annex| annex.count())
    }

    /// The last messages of a history, the oldest first.
    pub fn recent(&self) -> Vec<Message> {
        match self.annex.as_deref() {
            Some(Annex::Recent(recent)) => recent.messages().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// Whether the key is new here. It is known from now on, as long as it counts.
    pub fn claim(&mut self, claim: Claim, now: Moment) -> bool {
        match self.annex.as_deref_mut() {
            Some(Annex::Keys(keys)) => keys.claim(claim, now),
            _ => true,
        }
    }

    /// Commands that are about messages coming and time passing; no other reaches an annex.
    pub(super) fn apply_to_annex(
        &mut self,
        command: Command,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        if let Command::Enqueue(Arrival { message, .. }) = command {
            let kept = if self.is_durable { Kept::Durable } else { Kept::InMemory };
            let position = self.contents.next_position();
            let entry = Entry { kept, ..Entry::new(position, message) };
            let Some(annex) = &mut self.annex else { return };
            if let Some(deadline) = annex.receive(entry, now)
                && kept == Kept::Durable
            {
                self.changes.arrive(Arrived { position, deadline, kept });
            }
        }
        self.tidy_annex();
        self.release(now, effects);
    }

    fn tidy_annex(&mut self) {
        let Some(annex) = &mut self.annex else { return };
        while let Some((kept, position)) = annex.next_left() {
            self.changes.leave(kept, position);
        }
    }

    /// Lets go what is due, and asks to be woken for what is due next.
    fn release(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let Some(Annex::Delays(delays)) = self.annex.as_deref_mut() else { return };
        while let Some(entry) = delays.take_due(now) {
            let Entry { position, message, kept, .. } = entry;
            let from = (kept == Kept::Durable).then_some(position);
            effects.push(Effect::Release { message, from });
        }
        effects.extend(delays.next_alarm(now).map(Effect::WakeAt));
    }
}

#[cfg(test)]
mod tests;
