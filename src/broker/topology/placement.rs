//! Where in a cluster a new queue is to live.

mod replacing;

use super::{QueueRecord, Topology};
use crate::model::{FieldTable, FieldValue, NodeNumber, Placement, QueueKind};

/// The nodes among which a place is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes {
    /// The one that the queue is declared on.
    pub me: NodeNumber,
    /// Those that are there, in any order, `me` among them.
    pub live: Vec<LiveNode>,
    /// All that belong to the cluster, there or not.
    pub known: Vec<NodeNumber>,
}

/// A node that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveNode {
    pub number: NodeNumber,
    /// As policies name it.
    pub name: String,
    /// The queues that it leads, or has the only copy of.
    pub queues_led: u64,
}

impl Nodes {
    pub(in crate::broker) fn is_live(&self, node: NodeNumber) -> bool {
        self.live.iter().any(|live| live.number == node)
    }
}

/// So many replicas of a quorum queue that does not say (RabbitMQ 3.10).
const GROUP_SIZE: usize = 3;

/// A policy for all nodes has so many replicas vote: more would make it slower and no safer.
const VOTERS: usize = 5;

/// Whose turn it is to lead a new queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Locator {
    Declaring,
    FewestLed,
    Any,
}

impl Topology {
    /// Chooses where a queue that is about to be declared is to live. `draw` is chance.
    pub(in crate::broker) fn place(
        &self,
        queue: &QueueRecord,
        nodes: &Nodes,
        draw: u64,
    ) -> Placement {
        if queue.owner.is_some() {
            return Placement::on(nodes.me);
        }
        let definition = self.governed.rules_of_new(queue).definition();
        place(queue, &definition, nodes, draw)
    }

    /// Where a mirrored queue, which `nodes.me` leads, should be from now on. `None`: where it is.
    pub(in crate::broker) fn place_anew(
        &self,
        queue: &QueueRecord,
        nodes: &Nodes,
    ) -> Option<Placement> {
        let rules = self.rules_of_queue(&queue.name).unwrap_or_default();
        let definition = rules.definition();
        replacing::place_anew(queue, &definition, nodes)
    }
}

/// `definition` is what policies say of the queue.
fn place(queue: &QueueRecord, definition: &FieldTable, nodes: &Nodes, draw: u64) -> Placement {
    let mut candidates: Vec<&LiveNode> = nodes.live.iter().collect();
    candidates.sort_by_key(|node| (node.queues_led, node.number));
    let wanted = match queue.options.kind {
        QueueKind::Quorum => group_size(&queue.arguments).min(candidates.len()),
        QueueKind::Classic => mirrors(definition, &mut candidates),
    };
    let chosen = lead(candidates, locator(&queue.arguments, definition), nodes.me, draw);
    let Some(first) = chosen.first() else { return Placement::on(nodes.me) };
    // A quorum queue is a group even when it has one member: others may join it.
    if wanted < 2 && queue.options.kind == QueueKind::Classic {
        return Placement::on(*first);
    }
    let replicas = chosen.into_iter().take(wanted).map(Placement::first_replica).collect();
    Placement { replicas, ..Placement::on(nodes.me) }
}

/// `x-quorum-initial-group-size`.
fn group_size(arguments: &FieldTable) -> usize {
    let asked = arguments.lookup("x-quorum-initial-group-size").and_then(FieldValue::as_integer);
    asked.and_then(|size| usize::try_from(size).ok()).unwrap_or(GROUP_SIZE).max(1)
}

/// How many replicas a policy asks for, and out of which nodes. Two would be no safer than one: of
/// two neither can go on without the other. An even number does not tolerate more losses than the
/// odd one below it.
fn mirrors(definition: &FieldTable, candidates: &mut Vec<&LiveNode>) -> usize {
    if let Some(names) = listed(definition) {
        candidates.retain(|node| names.contains(&node.name.as_bytes()));
    }
    mirror_count(definition, candidates.len())
}

/// The same out of so many nodes.
fn mirror_count(definition: &FieldTable, candidates: usize) -> usize {
    let mode = definition.lookup("ha-mode").and_then(FieldValue::as_text);
    match mode.map(|mode| &**mode) {
        Some(b"all") => candidates.min(VOTERS),
        Some(b"exactly") => {
            let asked = definition.lookup("ha-params").and_then(FieldValue::as_integer);
            match usize::try_from(asked.unwrap_or(1)).unwrap_or(1) {
                0 | 1 => 1,
                2 => candidates.min(3),
                count if count > candidates => candidates,
                count => count - usize::from(count.is_multiple_of(2)),
            }
        }
        Some(b"nodes") => candidates,
        _ => 1,
    }
}

/// The names of the nodes that a policy lists, if it does.
fn listed(definition: &FieldTable) -> Option<Vec<&[u8]>> {
    let mode = definition.lookup("ha-mode").and_then(FieldValue::as_text);
    mode.filter(|mode| ***mode == *b"nodes")?;
    let names = definition.lookup("ha-params").and_then(FieldValue::as_array).unwrap_or_default();
    Some(names.iter().filter_map(FieldValue::as_text).map(|name| &**name).collect())
}

/// Arguments count before policies (RabbitMQ 3.10).
fn locator(arguments: &FieldTable, definition: &FieldTable) -> Locator {
    let of_argument = ["x-queue-leader-locator", "x-queue-master-locator"].into_iter();
    let of_policy = ["queue-leader-locator", "queue-master-locator"].into_iter();
    let word = of_argument
        .filter_map(|name| arguments.lookup(name))
        .chain(of_policy.filter_map(|name| definition.lookup(name)))
        .find_map(FieldValue::as_text);
    match word.map(|word| &**word) {
        Some(b"balanced" | b"least-leaders" | b"min-masters") => Locator::FewestLed,
        Some(b"random") => Locator::Any,
        _ => Locator::Declaring,
    }
}

/// The candidates, of which those come first that lead the fewest, with the leader before them.
fn lead(
    candidates: Vec<&LiveNode>,
    locator: Locator,
    me: NodeNumber,
    draw: u64,
) -> Vec<NodeNumber> {
    let mut chosen: Vec<_> = candidates.into_iter().map(|node| node.number).collect();
    let leader = match locator {
        Locator::FewestLed => 0,
        Locator::Any => (draw % chosen.len().max(1) as u64) as usize,
        Locator::Declaring => chosen.iter().position(|node| *node == me).unwrap_or(0),
    };
    if leader < chosen.len() {
        chosen[..=leader].rotate_right(1);
    }
    chosen
}
