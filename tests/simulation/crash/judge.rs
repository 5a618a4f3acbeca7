//! What must hold of what is written, before a crash and after it.

use std::{cmp::Reverse, sync::Arc};

use leveret::model::{LogPosition, QueueId};

use super::{
    model::{Done, Line, Model, Place, Placed},
    node::{Topology, Transaction},
    written::Written,
};

/// What is written is what the model says, when nothing is lost.
pub(super) fn compare(written: &Written, model: &Model) {
    let mut kept = 0;
    let here = model.placed.iter().filter(|(_, placed)| placed.left.is_none() && placed.durable);
    for (place, placed) in here {
        let number = placed.sent.number;
        assert_eq!(
            number_at(written, *place),
            Some(number),
            "{number} is not written at {place:?}"
        );
        assert_eq!(written.times(*place), placed.times, "how often {number} came back");
        kept += 1;
    }
    let mut found = 0;
    for (id, shelf) in &written.queues {
        let queue = QueueId(*id);
        let is_there = model.lines.contains_key(&queue.base().0);
        assert!(is_there || shelf.alive.is_empty(), "queue {id} has gone and is written");
        if !queue.is_spilled() {
            found += shelf.alive.len();
            continue;
        }
        for (position, number) in &shelf.alive {
            let place = (queue.base().0, *position);
            let Some(placed) = model.placed.get(&place) else {
                panic!(
                    "message {number} is written at {place:?} to save memory, and never was there"
                );
            };
            let is_right = placed.left.is_none() && !placed.durable;
            assert!(
                is_right && placed.sent.number == *number,
                "{number} is written to save memory"
            );
        }
    }
    assert_eq!(found, kept, "messages that are written and not there");
}

/// After a crash that left what is `written`, up to the record `found`, every promise is kept that
/// was made when everything up to `durable` was. Returns how many confirmed messages had to be
/// there.
pub(super) fn judge(
    written: &Written,
    model: &Model,
    transactions: &[Transaction],
    (durable, found): (LogPosition, LogPosition),
) -> u64 {
    let mut confirmed = 0;
    for (place, placed) in &model.placed {
        let is_here = written.has(*place);
        if is_here {
            check_survivor(written, *place, placed, durable);
        }
        let must_be = placed.left.is_none() && placed.durable;
        let number = placed.sent.number;
        if must_be && placed.confirmed {
            confirmed += 1;
            assert!(is_here, "message {number} was confirmed and is lost from {place:?}");
        }
        if must_be && is_done(placed.arrived, durable) {
            assert!(is_here, "message {number} was durable and is lost from {place:?}");
        }
    }
    moved_as_one(written, model, found);
    for transaction in transactions {
        holds_as_one(written, model, transaction, found);
    }
    confirmed
}

fn is_done(done: Done, durable: LogPosition) -> bool {
    done.is_some_and(|last| last <= durable)
}

fn check_survivor(written: &Written, place: Place, placed: &Placed, durable: LogPosition) {
    let number = placed.sent.number;
    assert_eq!(number_at(written, place), Some(number), "another message took the place {place:?}");
    let is_over = placed.left.is_some_and(|left| is_done(left, durable));
    assert!(!is_over, "message {number} left {place:?} for good and is back");
    let is_marked = written.is_marked(place);
    assert!(is_marked || !placed.seen, "message {number} was seen and does not say so");
}

/// A dead letter is where it was or where it went, and not in both.
fn moved_as_one(written: &Written, model: &Model, found: LogPosition) {
    for moved in &model.moves {
        let source = &model.placed[&moved.from];
        let number = source.sent.number;
        if !source.durable || !is_done(source.arrived, found) {
            continue;
        }
        let is_back = written.has(moved.from);
        for place in &moved.to {
            let is_there = written.has(*place);
            assert!(!(is_back && is_there), "letter {number} is in {:?} and {place:?}", moved.from);
            let target = &model.placed[place];
            let must_be = target.durable && target.left.is_none();
            assert!(is_back || is_there || !must_be, "letter {number} is lost on its way");
        }
    }
}

/// A transaction is there wholly, or not at all if nobody was told of it.
fn holds_as_one(written: &Written, model: &Model, transaction: &Transaction, found: LogPosition) {
    let arrived = transaction.arrived.iter().filter(|place| {
        let placed = &model.placed[*place];
        placed.durable && placed.left.is_none()
    });
    let acknowledged = transaction.acknowledged.iter().filter(|place| {
        let placed = &model.placed[*place];
        placed.durable && is_done(placed.arrived, found)
    });
    let parts: Vec<_> = arrived
        .map(|place| written.has(*place))
        .chain(acknowledged.map(|place| !written.has(*place)))
        .collect();
    let is_whole = parts.iter().all(|part| *part);
    assert!(
        is_whole || !transaction.is_told,
        "a transaction was told and is lost: {transaction:?}"
    );
    assert!(is_whole || parts.iter().all(|part| !*part), "half of a transaction: {transaction:?}");
}

/// The model of a broker that starts with what is written.
pub(super) fn reborn(written: &Written, before: &Model, topology: &Topology) -> Model {
    let mut model = Model::new(Arc::clone(&before.universe), before.now);
    model.exchanges = topology.exchanges.iter().copied().collect();
    model.bindings = topology.bindings.iter().copied().collect();
    for (&id, &index) in &topology.queues {
        let shelf = written.queues.get(&id).cloned().unwrap_or_default();
        let next = shelf.next.max(shelf.delivered);
        let mut line = Line { index, next, ..Line::default() };
        for &position in shelf.alive.keys() {
            let place = (id, position);
            let placed = Placed {
                left: None,
                arrived: Some(LogPosition(0)),
                redelivered: written.is_marked(place),
                times: written.times(place),
                ..before.placed[&place].clone()
            };
            line.ready.insert((Reverse(placed.level), position));
            model.placed.insert(place, placed);
        }
        model.lines.insert(id, line);
    }
    model
}

fn number_at(written: &Written, (queue, position): Place) -> Option<u64> {
    written.queues.get(&queue)?.alive.get(&position).copied()
}
