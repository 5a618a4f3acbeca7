//! Several queues changed as one: locked in the order of their numbers, and written as one record.

use std::sync::{Arc, MutexGuard};

use super::{Aftermath, Hosted, State, Surroundings};
use crate::{
    broker::{
        ports::Journal,
        queue::{Arrival, Command, Effect, Kept, Stored},
    },
    model::{Batch, LogPosition, Message, Moment, Outcome, Position, QueueId},
};

/// Queues that are locked, and what has been done to them.
///
/// This is the only place where more than one queue's lock is held. A body that goes to several of
/// them is written once.
pub(in crate::broker) struct Together<'a> {
    members: Vec<Member<'a>>,
    journal: Option<&'a Arc<dyn Journal>>,
    batch: Batch,
    /// Kept for their memory.
    arrived: Vec<(QueueId, Position, Option<Moment>)>,
    targets: Vec<(QueueId, Position)>,
    head: Vec<u8>,
}

struct Member<'a> {
    hosted: &'a Hosted,
    state: MutexGuard<'a, State>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::broker) struct Fate {
    /// Some queue refused it.
    pub(in crate::broker) refused: bool,
    /// It must be durable before it is confirmed.
    pub(in crate::broker) awaited: bool,
}

/// What a queue says to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Accepted,
    Refused,
    Repeated,
}

impl<'a> Together<'a> {
    /// Locks queues, which must come in the order of their numbers, each once.
    pub(in crate::broker) fn lock(
        queues: &'a [Arc<Hosted>],
        journal: Option<&'a Arc<dyn Journal>>,
        around: Surroundings<'_>,
    ) -> Self {
        debug_assert!(
            queues.is_sorted_by(|one, next| one.record.id < next.record.id),
            "whoever locks several queues does so in one order"
        );
        let member = |hosted: &'a Arc<Hosted>| {
            let mut state = hosted.lock();
            state.queue.save_memory(around.saves_memory);
            Member { hosted, state }
        };
        let members = queues.iter().map(member).filter(|member| !member.state.gone).collect();
        Self {
            members,
            journal,
            batch: Batch::default(),
            arrived: Vec::new(),
            targets: Vec::new(),
            head: Vec::new(),
        }
    }

    /// Enqueues a message in those queues that `joins` says; those that have gone meanwhile drop
    /// it, and say nothing.
    #[inline]
    pub(in crate::broker) fn enqueue(
        &mut self,
        arrival: Arrival,
        joins: impl Fn(QueueId) -> bool,
        now: Moment,
    ) -> Fate {
        let mut fate = Fate::default();
        let spare = self.journal.is_some().then(|| (arrival.message.clone(), arrival.priority));
        let mut members = self.members.iter_mut().filter(|member| joins(member.hosted.record.id));
        let mut next = members.next();
        let mut arrival = Some(arrival);
        while let Some(member) = next {
            next = members.next();
            // The last one gets the message itself.
            let own = if next.is_some() { arrival.clone() } else { arrival.take() };
            let Some(own) = own else { break };
            let (answer, arrived) = member.enqueue(own, now);
            fate.refused |= answer == Answer::Refused;
            if answer == Answer::Repeated && self.journal.is_some() && member.hosted.record.durable
            {
                // Changes nothing, but comes after the message that it repeats.
                self.batch.settle(member.hosted.record.id, &[]);
                fate.awaited = true;
            }
            if let Some((queue, position, deadline)) = arrived {
                fate.awaited |= !queue.is_spilled();
                self.arrived.push((queue, position, deadline));
            }
        }
        if let Some((message, priority)) = spare {
            while let Some((_, _, deadline)) = self.arrived.first().copied() {
                self.write_arrived(&message, priority, deadline);
            }
        }
        fate
    }

    /// Writes a message that arrived, for all queues in which it has this deadline.
    #[inline]
    fn write_arrived(&mut self, message: &Message, priority: u8, deadline: Option<Moment>) {
        self.targets.clear();
        self.arrived.retain(|arrived| {
            let (queue, position, other) = *arrived;
            if other == deadline {
                self.targets.push((queue, position));
            }
            other != deadline
        });
        self.head.clear();
        Stored::put_head(&mut self.head, message, priority, deadline);
        self.batch.enqueue(&self.targets, &[&self.head, message.body()]);
    }

    /// Whether the queue is one of them.
    pub(in crate::broker) fn has(&self, queue: QueueId) -> bool {
        self.members.iter().any(|member| member.hosted.record.id == queue)
    }

    /// Ends or gives back deliveries of one of the queues.
    pub(in crate::broker) fn settle(
        &mut self,
        queue: QueueId,
        positions: Vec<Position>,
        outcome: Outcome,
        now: Moment,
    ) {
        let member = self.members.iter_mut().find(|member| member.hosted.record.id == queue);
        if let Some(Member { state, .. }) = member {
            state.apply(Command::Settle { positions, outcome }, now);
        }
    }

    /// Says something beside, in the same record.
    pub(in crate::broker) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.batch.put(key, value);
    }

    /// A message that went on from `queue` leaves its place there.
    pub(in crate::broker) fn leave(&mut self, queue: QueueId, position: Position) {
        if self.journal.is_some() {
            self.batch.settle(queue, &[position.into()]);
        }
    }

    /// Writes it all as one record, lets the queues' effects happen, and unlocks them. Returns the
    /// record, and what is still to be done.
    pub(in crate::broker) fn finish(
        mut self,
        around: Surroundings<'_>,
    ) -> (LogPosition, Vec<(&'a Hosted, Aftermath)>) {
        let mut marks = Vec::new();
        for (index, Member { hosted, state }) in self.members.iter_mut().enumerate() {
            let mark = state.queue.changes().write(hosted.record.id, &mut self.batch);
            marks.extend(mark.map(|below| (index, below)));
        }
        let written = match self.journal {
            Some(journal) if !self.batch.is_empty() => journal.append(&mut self.batch),
            _ => LogPosition::default(),
        };
        for (index, below) in marks {
            let Member { hosted, state } = &mut self.members[index];
            hosted.note(Some(below), written, state);
        }
        let mut aftermaths = Vec::new();
        for Member { hosted, mut state } in self.members {
            let aftermath = hosted.carry_out(&mut state, around);
            if aftermath != Aftermath::default() {
                aftermaths.push((hosted, aftermath));
            }
        }
        (written, aftermaths)
    }
}

impl Member<'_> {
    /// What the queue said to the message, and what must be written of it.
    #[inline]
    fn enqueue(
        &mut self,
        arrival: Arrival,
        now: Moment,
    ) -> (Answer, Option<(QueueId, Position, Option<Moment>)>) {
        let before = self.state.effects.len();
        self.state.apply(Command::Enqueue(arrival), now);
        let answer = self.state.effects[before..].iter().find_map(|effect| match effect {
            Effect::Refused => Some(Answer::Refused),
            Effect::Repeated => Some(Answer::Repeated),
            _ => None,
        });
        let arrived = self.state.queue.changes().take_arrived();
        let id = self.hosted.record.id;
        let arrived = arrived.map(|arrived| match arrived.kept {
            Kept::Spilled => (id.spilled(), arrived.position, arrived.deadline),
            Kept::Durable | Kept::InMemory => (id, arrived.position, arrived.deadline),
        });
        (answer.unwrap_or(Answer::Accepted), arrived)
    }
}
