//! The way back: what the store has found becomes a broker again.

use crate::{
    broker::{Backlog, BadFact, Broker, Restoring},
    model::{Meaningless, Moment},
    store::{Error, QueueBacklog, Recovered},
};

/// Why what was found does not become a broker.
#[derive(Debug)]
pub(super) enum Failure {
    Store(Error),
    Broker(BadFact),
}

/// Everything that survived, and the number that no queue is below.
pub(super) struct Gathered {
    pub(super) restoring: Restoring,
    queue_floor: u64,
}

/// Gathers everything that survived, in the order in which it came about.
pub(super) fn gather(recovered: Recovered) -> Result<Gathered, Failure> {
    let Recovered { facts, queues, queue_floor, records, .. } = recovered;
    let mut restoring = Restoring::new();
    for (key, value) in facts {
        restoring.fact(&key, &value);
    }
    for (queue, QueueBacklog { next, delivered, live, returned }) in queues {
        restoring.backlog(queue, Backlog { next, delivered, live, returned });
    }
    for record in records {
        let record = record.map_err(Failure::Store)?;
        for entry in record.entries() {
            let entry = entry.map_err(|Meaningless| Failure::Store(record.meaningless()))?;
            restoring.apply(&entry, |octets| record.share(octets));
        }
    }
    Ok(Gathered { restoring, queue_floor })
}

impl Gathered {
    /// Gives it to the broker.
    pub(super) fn restore(self, broker: &Broker, now: Moment) -> Result<(), Failure> {
        broker.restore(self.restoring, self.queue_floor, now).map_err(Failure::Broker)
    }
}
