//! What the walk over the input has gathered: publications in a row, and settlements.

use crate::model::{Outcome, Position, Publication, QueueId, Settlement};

/// Publications that go to the broker at once.
const PUBLICATIONS: usize = 1024;

/// Octets of publications that go to the broker at once.
const OCTETS: usize = 1024 * 1024;

/// Settled deliveries that go to the broker at once.
const POSITIONS: usize = 8192;

/// How far back a settlement of the same queue is looked for.
const NEAR: usize = 8;

/// The fewest octets of input that a publication takes, to guess how many there will be.
const SMALLEST_INPUT: usize = 60;

/// One batch, across the channels of a connection.
#[derive(Debug)]
pub(super) struct Batch {
    /// Publications that go to the broker at once, if they are rationed.
    ration: usize,
    publications: Vec<Publication>,
    octets: usize,
    settlements: Vec<Settlement>,
    positions: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            ration: PUBLICATIONS,
            publications: Vec::new(),
            octets: 0,
            settlements: Vec::new(),
            positions: 0,
        }
    }
}

impl Batch {
    /// No more publications than these go to the broker at once.
    pub(super) fn ration(&mut self, publications: usize) {
        self.ration = publications.clamp(1, PUBLICATIONS);
    }

    /// Adds a publication; `input` is how many octets are left to be read, itself included.
    #[inline]
    pub(super) fn publish(&mut self, publication: Publication, input: usize) {
        if self.publications.is_empty() {
            self.publications.reserve((input / SMALLEST_INPUT).clamp(1, PUBLICATIONS));
        }
        self.octets += publication.message.size();
        self.publications.push(publication);
    }

    /// Adds the end of a delivery. Settlements of one queue keep their order.
    #[inline]
    pub(super) fn settle(&mut self, queue: QueueId, position: Position, outcome: Outcome) {
        self.positions += 1;
        group(&mut self.settlements, queue, position, outcome);
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.publications.len() >= self.ration
            || self.octets >= OCTETS
            || self.positions >= POSITIONS
    }

    pub(super) fn is_empty(&self) -> bool {
        self.publications.is_empty() && self.settlements.is_empty()
    }

    pub(super) fn take_publications(&mut self) -> Vec<Publication> {
        self.octets = 0;
        std::mem::take(&mut self.publications)
    }

    pub(super) fn take_settlements(&mut self) -> Vec<Settlement> {
        self.positions = 0;
        std::mem::take(&mut self.settlements)
    }
}

/// Adds a delivery's end to the settlements, beside others of its queue with the same outcome.
#[inline]
pub(super) fn group(
    settlements: &mut Vec<Settlement>,
    queue: QueueId,
    position: Position,
    outcome: Outcome,
) {
    let same = settlements.iter_mut().rev().take(NEAR).find(|settled| settled.queue == queue);
    match same {
        Some(settled) if settled.outcome == outcome => settled.positions.push(position),
        _ => settlements.push(Settlement { queue, positions: vec![position], outcome }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settlements_are_grouped_by_queue_and_keep_their_order_within_it() {
        let mut batch = Batch::default();
        for (queue, position, outcome) in [
            (1, 1, Outcome::Acknowledge),
            (2, 1, Outcome::Acknowledge),
            (1, 2, Outcome::Acknowledge),
            (1, 3, Outcome::Requeue),
            (2, 2, Outcome::Acknowledge),
            (1, 4, Outcome::Acknowledge),
        ] {
            batch.settle(QueueId(queue), Position(position), outcome);
        }
        let settled: Vec<_> = batch
            .take_settlements()
            .into_iter()
            .map(|Settlement { queue, positions, outcome }| (queue.0, positions.len(), outcome))
            .collect();
        let expected = [
            (1, 2, Outcome::Acknowledge),
            (2, 2, Outcome::Acknowledge),
            (1, 1, Outcome::Requeue),
            (1, 1, Outcome::Acknowledge),
        ];
        assert_eq!(settled, expected);
        assert!(batch.is_empty());
    }
}
