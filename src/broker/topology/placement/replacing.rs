//! Where a mirrored queue should be when policies have changed, or nodes have left the cluster.

use super::{Nodes, QueueRecord, group_size, listed, mirror_count};
use crate::model::{FieldTable, NodeNumber, Placement, QueueKind};

/// `definition` is what policies say of the queue, which `nodes.me` leads. `None`: it is where it
/// should be, or must come to rest first.
pub(super) fn place_anew(
    queue: &QueueRecord,
    definition: &FieldTable,
    nodes: &Nodes,
) -> Option<Placement> {
    let placement = &queue.placement;
    if placement.moving {
        return without_the_lost(placement, nodes);
    }
    let names = match queue.options.kind {
        QueueKind::Classic => listed(definition),
        QueueKind::Quorum => None,
    };
    let is_allowed = |node: &NodeNumber| {
        let name = nodes.live.iter().find(|live| live.number == *node);
        let name = name.map(|live| live.name.as_bytes());
        // Of a node that is not there the name is not known: it stays until it is.
        names.as_ref().is_none_or(|names| name.is_none_or(|name| names.contains(&name)))
    };
    let is_known = |node: &NodeNumber| nodes.known.is_empty() || nodes.known.contains(node);
    let mut chosen: Vec<_> = placement.nodes().filter(is_known).filter(is_allowed).collect();
    chosen.sort_by_key(|node| (*node != nodes.me, !nodes.is_live(*node)));
    let mut others: Vec<_> = nodes.live.iter().collect();
    others.retain(|live| !placement.is_on(live.number) && is_allowed(&live.number));
    others.sort_by_key(|live| (live.queues_led, live.number));
    let count = match queue.options.kind {
        QueueKind::Quorum => quorum_count(queue, chosen.len() + others.len()),
        QueueKind::Classic => mirror_count(definition, chosen.len() + others.len()),
    };
    chosen.extend(others.into_iter().map(|live| live.number));
    chosen.truncate(count);
    // Those that stay must be able to go on: somebody must be there.
    let has_live = chosen.iter().any(|node| nodes.is_live(*node));
    let is_same = chosen.len() == placement.replicas.len()
        && chosen.iter().all(|node| placement.is_on(*node));
    (has_live && !is_same).then(|| placement.moved_to(&chosen))
}

/// A group that was begun with less than was asked for grows as nodes come; one that was changed by
/// hand stays as large as it is.
fn quorum_count(queue: &QueueRecord, candidates: usize) -> usize {
    let count = queue.placement.replicas.len();
    let wanted = match queue.placement.generation {
        0 => count.max(group_size(&queue.arguments)),
        _ => count,
    };
    wanted.min(candidates)
}

/// Nodes that were to join and are gone need not be waited for.
fn without_the_lost(placement: &Placement, nodes: &Nodes) -> Option<Placement> {
    let is_lost =
        |replica: &u64| placement.is_new(*replica) && !nodes.is_live(Placement::node_of(*replica));
    let lost = placement.replicas.iter().filter(|replica| is_lost(replica)).count();
    if lost == 0 || lost == placement.replicas.len() {
        return None;
    }
    let stay = placement.replicas.iter().filter(|replica| !is_lost(replica));
    let stay: Vec<_> = stay.map(|replica| Placement::node_of(*replica)).collect();
    Some(placement.moved_to(&stay))
}
