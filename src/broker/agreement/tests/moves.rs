//! Members of quorum queues that come and go by what was agreed on.

use super::*;
use crate::{
    broker::{
        NotMoved, QueueDeclaration, QueueRecord,
        agreement::command::Command,
        facts::tests::{HOME, queue, table},
        ports::Job,
    },
    model::{Placement, QueueName},
};

const G: QueueName = QueueName::from_static("g");

/// A cluster with a quorum queue on its three nodes, and a classic one.
fn group() -> Arc<Group> {
    let group = Group::new();
    let mut client = group.client(1, 1);
    let quorum = table([("x-queue-type", "quorum".into())]);
    client.declare_queue(&QueueDeclaration { arguments: quorum, ..queue("g") }, NOW).unwrap();
    client.declare_queue(&queue("q"), NOW).unwrap();
    group
}

fn record(group: &Arc<Group>, node: u32) -> Arc<QueueRecord> {
    let records = group.broker(node).queue_records(&HOME).unwrap();
    records.into_iter().find(|record| record.name == G).unwrap()
}

/// The nodes that have a replica, the same on every node of the cluster.
fn members(group: &Arc<Group>) -> Vec<u32> {
    let all = [1, 2, 3].map(|node| record(group, node).placement.clone());
    assert!(all.iter().all(|placement| *placement == all[0]), "{all:?}");
    all[0].nodes().map(|node| node.0).collect()
}

fn settle(group: &Arc<Group>) {
    let record = record(group, 1);
    let (id, generation) = (record.id, record.placement.generation);
    let job = Job::SettleQueue { home: HOME, id, generation };
    group.broker(2).perform(&[job.clone(), job]).unwrap();
    assert!(!self::record(group, 3).placement.moving);
}

#[test]
fn a_member_that_comes_back_is_another_replica() {
    let group = group();
    let first = record(&group, 1).placement.clone();
    group.broker(2).change_member((&HOME, &G), "rabbit@3", false).unwrap();
    assert_eq!(members(&group), [1, 2]);
    let busy = group.broker(1).change_member((&HOME, &G), "rabbit@3", true);
    assert_eq!(busy, Err(NotMoved::Busy));
    settle(&group);
    group.broker(3).change_member((&HOME, &G), "rabbit@3", true).unwrap();
    assert_eq!(members(&group), [1, 2, 3]);
    let placement = record(&group, 1).placement.clone();
    assert_eq!(placement.replicas[..2], first.replicas[..2]);
    assert_ne!(placement.replicas[2], first.replicas[2]);
    assert!(placement.moving && placement.is_new(placement.replicas[2]));
    for octets in &group.log().commands {
        assert_eq!(Command::decode(octets).unwrap().encode(), *octets);
    }
}

#[test]
fn what_cannot_be_moved_is_not() {
    let group = group();
    let broker = group.broker(1);
    let change = |queue: &'static str, node: &str, is_to_be: bool| {
        broker.change_member((&HOME, &QueueName::from_static(queue)), node, is_to_be)
    };
    assert_eq!(change("q", "rabbit@2", true), Err(NotMoved::Classic));
    assert_eq!(change("none", "rabbit@2", true), Err(NotMoved::NoQueue));
    assert_eq!(change("g", "rabbit@9", true), Err(NotMoved::NodeNotRunning));
    assert_eq!(change("g", "rabbit@2", true), Ok(()), "it is one already");
    assert_eq!(members(&group), [1, 2, 3]);
    for node in ["rabbit@3", "rabbit@2"] {
        change("g", node, false).unwrap();
        settle(&group);
    }
    assert_eq!(change("g", "rabbit@1", false), Err(NotMoved::LastMember));
    let one = Placement::first_replica(NodeNumber(1));
    assert_eq!(record(&group, 2).placement.replicas, [one]);
}
