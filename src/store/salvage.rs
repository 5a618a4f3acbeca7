//! What can be had from segments that are damaged, once the operator has agreed to lose the rest.

use super::{
    backlog::{Backlog, SegmentShare},
    disk::Disk,
    error::{Damage, Error},
    names::FileName,
    segment::Segment,
};

/// Reads every slice of every segment into the backlog, and leaves out those that cannot be read.
pub(super) fn load(disk: &dyn Disk, backlog: &mut Backlog) -> Vec<Error> {
    let mut losses = Vec::new();
    let numbers: Vec<_> = backlog.segments.keys().copied().collect();
    for number in numbers {
        if let Err(error) = load_segment(disk, backlog, number, &mut losses) {
            losses.push(error);
            backlog.segments.remove(&number);
        }
    }
    keep_what_slices_hold(backlog);
    losses
}

fn load_segment(
    disk: &dyn Disk,
    backlog: &mut Backlog,
    number: u64,
    losses: &mut Vec<Error>,
) -> Result<(), Error> {
    let mut segment = Segment::open(disk, number)?;
    let index = segment.index()?;
    let share = SegmentShare { octets: segment.length(), ..SegmentShare::default() };
    backlog.segments.insert(number, share);
    for (queue, first, slice) in index {
        match segment.messages(first, &slice) {
            Ok(_) => backlog.add(queue, first, slice),
            Err(error) => losses.push(error),
        }
        backlog.recount(queue, first);
        if !backlog.is_sound(queue, first) {
            let name = FileName::Segment(number).to_string();
            losses.push(Error::damaged(&name, slice.offset, Damage::OutOfOrder));
            backlog.slices.remove(&(queue, first));
        }
    }
    Ok(())
}

/// A message counts as alive only if a slice has it.
fn keep_what_slices_hold(backlog: &mut Backlog) {
    let queues: Vec<_> = backlog.queues.keys().copied().collect();
    for queue in queues {
        let held = backlog.held(queue);
        let Some(state) = backlog.queues.get_mut(&queue) else { continue };
        state.live = held.iter().flat_map(|range| state.live.within(range)).collect();
        let live = &state.live;
        state.returned.retain(|position, _| live.contains(*position));
    }
}
