//! A data directory checked and described from outside, changing nothing.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::model::{Entry, PositionRange, QueueId, Ranges, entries};

use super::{
    disk::Disk,
    error::{Error, Operation},
    names::{CHECKPOINT, FileName},
    record_file,
    recovery::{self, Report},
    retirement::{self, ReadAhead},
    segment::Segment,
};

/// Whether there is a store on the disk, or what is left of one.
pub fn is_store(disk: &dyn Disk) -> Result<bool, Error> {
    let listed = disk.list().map_err(|error| Error::disk("", Operation::List, &error))?;
    Ok(listed.iter().any(|name| name == CHECKPOINT || FileName::parse(name).is_some()))
}

/// Describes the store: what a start would find. Quick: segments are not read but for their
/// indexes.
pub fn stat(disk: &dyn Disk) -> Result<Report, Error> {
    let examined = recovery::examine(disk, false)?;
    Ok(examined.report)
}

/// Reads every octet that a start or a reader could ever need. The report lists what is damaged
/// among its losses; nothing is lost by looking.
pub fn verify(disk: &dyn Disk) -> Result<Report, Error> {
    let examined = recovery::examine(disk, true)?;
    let mut report = examined.report;
    for number in examined.backlog.segments.keys() {
        let name = FileName::Segment(*number).to_string();
        let verified = Segment::open(disk, *number).and_then(|segment| segment.verify());
        note(&mut report, verified, &name);
    }
    for part in &examined.parts {
        let name = FileName::Journal(part.sequence).to_string();
        let read = retirement::collect(
            disk,
            examined.summary.store,
            &[*part],
            true,
            &mut ReadAhead::default(),
        );
        note(&mut report, read, &name);
    }
    Ok(report)
}

/// What there is when every record has been taken into account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Messages, counted once for each queue that they are in; and the queues that have some.
    pub messages: u64,
    pub queues: usize,
    pub facts: usize,
}

/// Counts what a start would find, without what is damaged.
pub fn census(disk: &dyn Disk) -> Result<Census, Error> {
    let examined = recovery::examine(disk, true)?;
    let queues = examined.backlog.queues.into_iter().map(|(queue, state)| (queue, state.live));
    let facts = examined.facts.into_keys().collect();
    let mut living = Living { queues: queues.collect(), facts };
    for part in examined.parts {
        let name = FileName::Journal(part.sequence).to_string();
        let octets = record_file::read_whole(disk, &name)?;
        recovery::walk_part(&octets, examined.summary.store, (part, true), |_, payload| {
            entries(payload).map_while(Result::ok).for_each(|entry| living.apply(&entry));
            Ok(())
        })?;
    }
    let counts = living.queues.values().map(Ranges::count).filter(|count| *count > 0);
    let queues = counts.clone().count();
    let messages = counts.fold(0, u64::saturating_add);
    Ok(Census { messages, queues, facts: living.facts.len() })
}

/// The messages and facts that there are, known by their positions and keys alone.
struct Living {
    queues: BTreeMap<QueueId, Ranges>,
    facts: BTreeSet<Bytes>,
}

impl Living {
    fn apply(&mut self, entry: &Entry<'_>) {
        match entry {
            Entry::Enqueue { targets, .. } => {
                for (queue, position) in *targets {
                    let range = PositionRange { first: position, last: position };
                    self.queues.entry(queue).or_default().insert(range);
                }
            }
            Entry::Settle { queue, ranges } => {
                let Some(live) = self.queues.get_mut(queue) else { return };
                ranges.for_each(|range| {
                    live.remove(range);
                });
            }
            Entry::Forget { queue } => {
                self.queues.remove(queue);
            }
            Entry::Put { key, .. } => {
                self.facts.insert(Bytes::copy_from_slice(key));
            }
            Entry::Delete { key } => {
                self.facts.remove(*key);
            }
            Entry::Return { .. } | Entry::Delivered { .. } => {}
        }
    }
}

/// Adds a fault to the report unless it is known already.
fn note<T>(report: &mut Report, outcome: Result<T, Error>, name: &str) {
    let Err(error) = outcome else { return };
    let known = report.losses.iter().any(|loss| loss.to_string().starts_with(name));
    if !known {
        report.losses.push(error);
    }
}
