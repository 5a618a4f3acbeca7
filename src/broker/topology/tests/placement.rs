//! Where in a cluster new queues come to live.

use super::*;
use crate::{
    broker::{
        Policy, PolicyDraft, PolicyKind,
        topology::{LiveNode, Nodes},
    },
    model::{NodeNumber, Placement},
};

/// Nodes 1 to `count`, of which the last leads the fewest queues; the second one declares.
fn nodes(count: u32) -> Nodes {
    let live = (1..=count).map(|number| LiveNode {
        number: NodeNumber(number),
        name: format!("rabbit@{number}"),
        queues_led: (100 - number).into(),
    });
    Nodes { me: NodeNumber(2), live: live.collect(), known: Vec::new() }
}

/// A durable classic queue, or what its arguments say, that is about to be declared under a policy.
fn declared(
    arguments: &[(&'static str, FieldValue)],
    policy: &[(&'static str, FieldValue)],
) -> (Topology, Arc<QueueRecord>) {
    let pairs = |pairs: &[(&'static str, FieldValue)]| -> FieldTable {
        let pairs = pairs.iter().cloned();
        pairs.map(|(name, value)| (ShortString::from_static(name), value)).collect()
    };
    let mut topology = Topology::new(VirtualHostName::from_static("/"));
    if !policy.is_empty() {
        let draft = PolicyDraft {
            name: ShortString::from_static("p"),
            pattern: String::new(),
            apply_to: String::new(),
            priority: FieldValue::Int64(0),
            definition: pairs(policy),
        };
        let policy = Policy::parse(PolicyKind::User, draft).unwrap();
        topology.apply(&Change::PolicySet(PolicyKind::User, Arc::new(policy)));
    }
    let declaration = QueueDeclaration {
        name: QueueName::from_static("q"),
        generated: false,
        durable: true,
        auto_delete: false,
        exclusive: None,
        arguments: pairs(arguments),
    };
    let Ok(Declared::New(record)) = topology.declare_queue(&declaration, QueueId(1)) else {
        panic!("it is new")
    };
    (topology, record)
}

/// The nodes that have a copy, the one first that leads; a group shows by its brackets.
fn placed(
    count: u32,
    arguments: &[(&'static str, FieldValue)],
    policy: &[(&'static str, FieldValue)],
) -> String {
    let (topology, record) = declared(arguments, policy);
    let placement = topology.place(&record, &nodes(count), 2);
    if !placement.is_mirrored() {
        return placement.home.to_string();
    }
    assert_eq!(placement.home, NodeNumber(2));
    let members = placement.replicas.iter().map(|replica| Placement::node_of(*replica).0);
    format!("{:?}", members.collect::<Vec<_>>())
}

#[test]
fn a_classic_queue_lives_where_it_is_declared_unless_its_locator_says_otherwise() {
    let locator = |word: &str| vec![("x-queue-master-locator", word.into())];
    assert_eq!(placed(3, &[], &[]), "2");
    assert_eq!(placed(3, &locator("client-local"), &[]), "2");
    assert_eq!(placed(3, &locator("min-masters"), &[]), "3");
    assert_eq!(placed(3, &locator("random"), &[]), "1");
    assert_eq!(placed(3, &[], &[("queue-leader-locator", "balanced".into())]), "3");
    let policy = [("queue-master-locator", "min-masters".into())];
    assert_eq!(placed(3, &locator("client-local"), &policy), "2");
}

#[test]
fn a_quorum_queue_is_a_group_that_its_declaring_node_leads() {
    let quorum = |size: Option<i32>| {
        let size = size.map(|size| ("x-quorum-initial-group-size", size.into()));
        [("x-queue-type", "quorum".into())].into_iter().chain(size).collect::<Vec<_>>()
    };
    assert_eq!(placed(5, &quorum(None), &[]), "[2, 5, 4]");
    assert_eq!(placed(5, &quorum(Some(1)), &[]), "[2]");
    assert_eq!(placed(2, &quorum(Some(5)), &[]), "[2, 1]");
    let led = [quorum(None), vec![("x-queue-leader-locator", "least-leaders".into())]].concat();
    assert_eq!(placed(5, &led, &[]), "[5, 4, 3]");
}

#[test]
fn a_policy_has_classic_queues_mirrored() {
    let exactly = |count: i32| [("ha-mode", "exactly".into()), ("ha-params", count.into())];
    let all = [("ha-mode", "all".into())];
    assert_eq!(placed(3, &[], &all), "[2, 3, 1]");
    assert_eq!(placed(7, &[], &all), "[2, 7, 6, 5, 4]");
    assert_eq!(placed(5, &[], &exactly(1)), "2");
    assert_eq!(placed(5, &[], &exactly(2)), "[2, 5, 4]");
    assert_eq!(placed(2, &[], &exactly(2)), "[2, 1]");
    assert_eq!(placed(5, &[], &exactly(3)), "[2, 5, 4]");
    assert_eq!(placed(5, &[], &exactly(4)), "[2, 5, 4]");
    assert_eq!(placed(3, &[], &exactly(5)), "[2, 3, 1]");
    let named = |names: &[&str]| {
        let names = names.iter().map(|name| FieldValue::from(*name)).collect();
        [("ha-mode", "nodes".into()), ("ha-params", FieldValue::Array(names))]
    };
    assert_eq!(placed(3, &[], &named(&["rabbit@1", "rabbit@2", "rabbit@9"])), "[2, 1]");
    assert_eq!(placed(3, &[], &named(&["rabbit@1", "rabbit@3"])), "[3, 1]");
    assert_eq!(placed(3, &[], &named(&["rabbit@1"])), "1");
    assert_eq!(placed(3, &[], &named(&["rabbit@9"])), "2");
}

/// Where a classic queue with these copies should be under a policy, by nodes; node 1 leads.
fn moved(
    count: u32,
    copies: &[u32],
    policy: &[(&'static str, FieldValue)],
    known: &[u32],
) -> Option<Vec<u32>> {
    let (mut topology, record) = declared(&[], policy);
    let replicas = copies.iter().map(|node| Placement::first_replica(NodeNumber(*node)));
    let placement = Placement { replicas: replicas.collect(), ..Placement::on(NodeNumber(1)) };
    topology.apply(&Change::QueueDeclared(record));
    topology.apply(&Change::QueuePlaced(QueueId(1), placement.clone()));
    let known = known.iter().map(|node| NodeNumber(*node)).collect();
    let nodes = Nodes { me: NodeNumber(1), known, ..nodes(count) };
    let moved = topology.place_anew(topology.queue(QueueId(1)).unwrap(), &nodes)?;
    assert!(moved.moving && moved.generation == 1, "{moved:?}");
    for replica in &moved.replicas {
        let is_kept = placement.replicas.contains(replica);
        assert_eq!(is_kept, copies.contains(&Placement::node_of(*replica).0), "{moved:?}");
        assert_eq!(moved.is_new(*replica), !is_kept, "{moved:?}");
    }
    Some(moved.nodes().map(|node| node.0).collect())
}

#[test]
fn a_changed_policy_moves_as_few_copies_as_it_can() {
    let exactly = |count: i32| [("ha-mode", "exactly".into()), ("ha-params", count.into())];
    let all = [("ha-mode", "all".into())];
    assert_eq!(moved(3, &[1, 2, 3], &all, &[]), None);
    assert_eq!(moved(3, &[1, 2], &all, &[]), Some(vec![1, 2, 3]));
    assert_eq!(moved(5, &[3, 1, 2], &exactly(3), &[]), None);
    assert_eq!(moved(5, &[3, 1, 2], &exactly(1), &[]), Some(vec![1]));
    assert_eq!(moved(5, &[1], &exactly(3), &[]), Some(vec![1, 5, 4]));
    assert_eq!(moved(5, &[1, 2, 3], &[], &[]), Some(vec![1]));
    let named = |names: &[&str]| {
        let names = names.iter().map(|name| FieldValue::from(*name)).collect();
        [("ha-mode", "nodes".into()), ("ha-params", FieldValue::Array(names))]
    };
    let listed = named(&["rabbit@2", "rabbit@3"]);
    assert_eq!(moved(3, &[1, 2], &listed, &[]), Some(vec![2, 3]));
    assert_eq!(moved(3, &[1, 2], &named(&["rabbit@9"]), &[]), None, "none of them is there");
}

#[test]
fn a_copy_stays_on_a_node_that_is_down_and_not_on_one_that_has_left() {
    let exactly = [("ha-mode", "exactly".into()), ("ha-params", 3.into())];
    assert_eq!(moved(4, &[1, 2, 9], &exactly, &[1, 2, 3, 4, 9]), None);
    assert_eq!(moved(4, &[1, 2, 9], &exactly, &[1, 2, 3, 4]), Some(vec![1, 2, 4]));
}
