//! What a node does for a queue that it leads, whoever asks: takes publications in once, answers,
//! and tells what is decided when it is safe.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{
    group_log::GroupLog,
    intake::{Producers, producer_key},
    parcel::{Answer, Content, Denial, Got, Question, Seen, Shipment},
};
use crate::{
    broker::{
        hosted::{Aftermath, Hosted, Surroundings, Together},
        ports::{Journal, Outbox},
        queue::Command,
    },
    model::{
        ChannelCredit, ConnectionId, ConsumerId, LogPosition, NodeNumber, Outcome, Position,
        PositionRange, Ranges,
    },
};

/// A queue's leadership.
#[derive(Debug)]
pub(super) struct Lead {
    pub(super) term: u64,
    pub(super) hosted: Arc<Hosted>,
    /// What its group agrees on; absent when this is the only copy.
    pub(super) log: Option<Arc<GroupLog>>,
    /// Where it is written; absent when it is not.
    journal: Option<Arc<dyn Journal>>,
    /// Publications that were taken, ahead of what is agreed on.
    producers: Producers,
    /// What `basic.get` took for each node, and is not settled.
    taken: BTreeMap<NodeNumber, Ranges>,
    /// What is to be said once a record is safe, in the order of the records.
    owed: VecDeque<(LogPosition, NodeNumber, Content)>,
}

/// What is to be said to nodes, and what is to be done once the queue's locks are released.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Consequences {
    pub(super) words: Vec<(NodeNumber, Content)>,
    pub(super) aftermaths: Vec<Aftermath>,
}

impl Consequences {
    fn say(&mut self, to: NodeNumber, content: Content) {
        self.words.push((to, content));
    }
}

impl Lead {
    pub(super) fn new(
        term: u64,
        hosted: Arc<Hosted>,
        log: Option<Arc<GroupLog>>,
        producers: Producers,
    ) -> Self {
        let journal = match &log {
            Some(log) => Some(Arc::<GroupLog>::clone(log) as Arc<dyn Journal>),
            None => hosted.journal().cloned(),
        };
        let (taken, owed) = Default::default();
        Self { term, hosted, log, journal, producers, taken, owed }
    }

    /// Remembers what a node had taken from the last leader.
    pub(super) fn has_taken(&mut self, node: NodeNumber, ranges: &Ranges) {
        let taken = self.taken.entry(node).or_default();
        ranges.iter().for_each(|range| taken.insert(range));
    }

    /// Takes publications in, each once.
    pub(super) fn accept(
        &mut self,
        node: NodeNumber,
        shipment: Shipment,
        around: Surroundings<'_>,
        out: &mut Consequences,
    ) {
        let Shipment { sender, first, heard, arrivals } = shipment;
        let Some(producer) = self.producers.of(node, sender) else { return };
        let next = producer.last + 1;
        if first > next {
            return out.say(node, Content::Resend { sender, from: next });
        }
        producer.heard(heard);
        let known = usize::try_from(next - first).unwrap_or(usize::MAX);
        let hosted = std::slice::from_ref(&self.hosted);
        let mut together = Together::lock(hosted, self.journal.as_ref(), around);
        let (mut awaited, mut number) = (false, producer.last);
        for arrival in arrivals.into_iter().skip(known) {
            number += 1;
            let refused = arrival.is_none_or(|arrival| {
                let fate = together.enqueue(arrival, |_| true, around.now);
                awaited |= fate.awaited;
                fate.refused
            });
            if refused {
                producer.refused.insert(number);
            }
        }
        if number > producer.last && self.log.is_some() {
            producer.last = number;
            let mut value = Vec::new();
            producer.put(&mut value);
            together.put(&producer_key(node), &value);
            awaited = true;
        }
        producer.last = number;
        let refused = producer.refused.iter().copied().collect();
        let (written, aftermaths) = together.finish(around);
        out.aftermaths.extend(aftermaths.into_iter().map(|(_, aftermath)| aftermath));
        if written == LogPosition::NEVER {
            // The next leader hears of it.
            return;
        }
        let safe = match &self.log {
            Some(log) => log.last(),
            None if awaited => written,
            None => LogPosition::default(),
        };
        self.owe(safe, node, Content::Decided { sender, below: number + 1, refused });
    }

    /// Answers a question, now or when what it says is safe. A consumer's deliveries go to
    /// `outbox`.
    pub(super) fn answer(
        &mut self,
        (node, number): (NodeNumber, u64),
        question: Question,
        outbox: impl FnOnce() -> Arc<dyn Outbox>,
        around: Surroundings<'_>,
        out: &mut Consequences,
    ) {
        let (answer, safe) = match question {
            Question::Get { acknowledge } => self.get(node, acknowledge, around, out),
            Question::Purge => match self.hosted.purge(around) {
                Ok((purged, aftermath)) => {
                    out.aftermaths.push(aftermath);
                    (Answer::Purged(purged), aftermath.written)
                }
                Err(refusal) => (Answer::Denied(Denial::of(&refusal)), LogPosition::default()),
            },
            Question::Counts { touch } => (self.counts(touch, around, out), LogPosition::default()),
            Question::End { if_unused, if_empty } => {
                let condition = |counts| self.hosted.may_end(counts, if_unused, if_empty);
                let (ended, aftermath) = self.hosted.end(condition, around);
                out.aftermaths.push(aftermath);
                let answer = match ended {
                    Ok(counts) => Answer::Ended(counts.ready),
                    Err(refusal) => Answer::Denied(Denial::of(&refusal)),
                };
                (answer, LogPosition::default())
            }
            Question::Subscribe(consumer) => {
                let (subscription, subscriber) = *consumer;
                if self.hosted.is_attached(subscription.consumer) {
                    // It came with the claims of its node.
                    let answer = Content::Answer { number, answer: Answer::Subscribed };
                    return self.owe(LogPosition::default(), node, answer);
                }
                let answer = self.hosted.subscribe(subscription, (subscriber, outbox()), around);
                let answer = match answer {
                    Ok(aftermath) => {
                        out.aftermaths.push(aftermath);
                        Answer::Subscribed
                    }
                    Err(refusal) => Answer::Denied(Denial::of(&refusal)),
                };
                (answer, LogPosition::default())
            }
            Question::View => (self.view(around, out), LogPosition::default()),
        };
        self.owe(safe, node, Content::Answer { number, answer });
    }

    fn get(
        &mut self,
        node: NodeNumber,
        acknowledge: bool,
        around: Surroundings<'_>,
        out: &mut Consequences,
    ) -> (Answer, LogPosition) {
        let get = Command::Get { acknowledge, credit: ChannelCredit::default() };
        let (taken, aftermath) = match self.hosted.take(get, around) {
            Ok(taken) => taken,
            Err(refusal) => return (Answer::Denied(Denial::of(&refusal)), LogPosition::default()),
        };
        out.aftermaths.push(aftermath);
        let Some(taken) = taken else { return (Answer::Got(None), LogPosition::default()) };
        if acknowledge {
            self.taken.entry(node).or_default().insert(taken.position.into());
        }
        let safe = taken.awaited;
        let got = Got {
            position: taken.position,
            message: taken.message,
            redelivered: taken.redelivered,
            remaining: taken.remaining,
        };
        (Answer::Got(Some(Box::new(got))), safe)
    }

    fn counts(&self, touch: bool, around: Surroundings<'_>, out: &mut Consequences) -> Answer {
        let (counts, aftermath) = self.hosted.counts(touch, around);
        out.aftermaths.push(aftermath);
        counts.map_or_else(
            || Answer::Denied(Denial::Gone),
            |counts| Answer::Counts {
                ready: counts.ready,
                unacknowledged: counts.unacknowledged,
                consumers: counts.consumers,
            },
        )
    }

    fn view(&self, around: Surroundings<'_>, out: &mut Consequences) -> Answer {
        let (view, aftermath) = self.hosted.view(around);
        out.aftermaths.push(aftermath);
        let Some(view) = view else { return Answer::Denied(Denial::Gone) };
        let consumers = view.consumers.into_iter();
        Answer::View(Box::new(Seen {
            ready: view.ready,
            unacknowledged: view.unacknowledged,
            ready_octets: view.ready_octets,
            unacknowledged_octets: view.unacknowledged_octets,
            consumers: consumers.map(|it| ((*it.subscriber).clone(), it.is_active)).collect(),
        }))
    }

    /// Deliveries come to their end, or come back.
    pub(super) fn settle(
        &mut self,
        node: NodeNumber,
        positions: Vec<Position>,
        outcome: Outcome,
        around: Surroundings<'_>,
        out: &mut Consequences,
    ) {
        if let Some(taken) = self.taken.get_mut(&node)
            && !taken.is_empty()
        {
            for position in &positions {
                taken.remove((*position).into());
            }
        }
        self.command(Command::Settle { positions, outcome }, around, out);
    }

    pub(super) fn command(
        &self,
        command: Command,
        around: Surroundings<'_>,
        out: &mut Consequences,
    ) {
        out.aftermaths.push(self.hosted.command(command, around));
    }

    pub(super) fn detach(
        &self,
        consumer: ConsumerId,
        around: Surroundings<'_>,
        out: &mut Consequences,
    ) {
        out.aftermaths.push(self.hosted.unsubscribe(consumer, around));
    }

    /// A node is gone, and what its clients held comes back.
    pub(super) fn node_down(
        &mut self,
        node: NodeNumber,
        around: Surroundings<'_>,
        out: &mut Consequences,
    ) {
        let is_gone = |connection: ConnectionId| connection.node() == node;
        out.aftermaths.push(self.hosted.abandon(is_gone, around));
        if let Some(taken) = self.taken.remove(&node)
            && !taken.is_empty()
        {
            let positions = positions(taken.iter());
            self.command(Command::Settle { positions, outcome: Outcome::Requeue }, around, out);
        }
        self.owed.retain(|(_, to, _)| *to != node);
    }

    /// What is owed and safe by now.
    pub(super) fn pay(&mut self, out: &mut Consequences) {
        let durable = self.durable();
        let paid = self.owed.partition_point(|(safe, ..)| *safe <= durable);
        self.owed.drain(..paid).for_each(|(_, to, content)| out.say(to, content));
        self.arrange_wake_up();
    }

    fn owe(&mut self, safe: LogPosition, to: NodeNumber, content: Content) {
        let place = self.owed.partition_point(|(other, ..)| *other <= safe);
        self.owed.insert(place, (safe, to, content));
    }

    /// The only copy's journal tells when more is durable; a group's log does so by itself.
    fn arrange_wake_up(&self) {
        if let (None, Some(journal), Some((safe, ..))) =
            (&self.log, &self.journal, self.owed.front())
        {
            journal.wake_when_durable(*safe, self.hosted.record.id);
        }
    }

    fn durable(&self) -> LogPosition {
        match &self.journal {
            Some(journal) => journal.durable(),
            None => LogPosition::NEVER,
        }
    }

    /// The leadership is over.
    pub(super) fn abdicate(self) {
        if let Some(log) = &self.log {
            log.close();
            self.hosted.abdicate();
        }
    }
}

/// All positions in ranges.
pub(super) fn positions(ranges: impl Iterator<Item = PositionRange>) -> Vec<Position> {
    ranges.flat_map(|range| range.first.0..=range.last.0).map(Position).collect()
}
