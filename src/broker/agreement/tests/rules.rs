//! What clients may rely on while nodes agree.

use super::*;
use crate::{
    broker::{
        PolicyKind, QueueDeclaration, QueueRecord,
        facts::tests::{HOME, policy, queue, table, to_queue},
    },
    model::{LogPosition, Placement, QueueName, ShortString},
};

const Q: QueueName = QueueName::from_static("q");

fn transient(name: &'static str) -> QueueDeclaration {
    QueueDeclaration { durable: false, ..queue(name) }
}

fn record(broker: &Broker, name: &'static str) -> Option<Arc<QueueRecord>> {
    let records = broker.queue_records(&HOME).unwrap();
    records.into_iter().find(|record| record.name == QueueName::from_static(name))
}

#[test]
fn of_two_declarations_that_differ_one_is_refused() {
    let group = Group::new();
    let mut clients = [group.client(1, 1), group.client(2, 1)];
    group.delay(2, true);
    clients[0].declare_queue(&queue("q"), NOW).unwrap();
    assert_eq!(record(&group.broker(2), "q"), None);
    let other = clients[1].declare_queue(&transient("q"), NOW);
    assert!(matches!(other, Err(Refusal::Inequivalent { .. })), "{other:?}");
    assert_eq!(group.log().voids, 1);
    clients[1].declare_queue(&queue("q"), NOW).unwrap();
    group.delay(2, false);
    group.state("after both");
    assert_eq!(record(&group.broker(2), "q").unwrap().id.node(), NodeNumber(1));
}

#[test]
fn what_has_nothing_to_do_with_one_another_does_not_wait() {
    let group = Group::new();
    let mut clients = [group.client(1, 1), group.client(2, 1)];
    group.delay(2, true);
    clients[0].declare_queue(&queue("p"), NOW).unwrap();
    clients[1].declare_queue(&queue("q"), NOW).unwrap();
    let binding = crate::broker::facts::tests::binding("amq.fanout", to_queue("q"), "");
    clients[1].bind(binding, NOW).unwrap();
    assert_eq!(group.log().voids, 0);
    group.delay(2, false);
    group.state("after both");
}

#[test]
fn what_is_decided_on_an_old_state_is_decided_again() {
    let group = Group::new();
    let mut client = group.client(1, 1);
    group.delay(2, true);
    client.declare_queue(&queue("p"), NOW).unwrap();
    let policy = policy(PolicyKind::User, "", 5);
    let set = group.broker(2).set_policy(&HOME, PolicyKind::User, policy, NOW);
    assert_eq!(set, Ok(LogPosition::default()));
    assert_eq!(group.log().voids, 1);
    group.delay(2, false);
    group.state("after both");
}

#[test]
fn a_queue_is_hosted_where_it_was_declared() {
    let group = Group::new();
    let mut clients = [group.client(1, 1), group.client(2, 1)];
    clients[0].declare_queue(&queue("q"), NOW).unwrap();
    let quorum = table([("x-queue-type", "quorum".into())]);
    clients[0].declare_queue(&QueueDeclaration { arguments: quorum, ..queue("g") }, NOW).unwrap();
    for number in 1..=3 {
        let broker = group.broker(number);
        let record = record(&broker, "q").unwrap();
        assert_eq!(record.placement, Placement::on(NodeNumber(1)));
        assert_eq!(broker.queue(record.id).is_some(), number == 1);
    }
    let group_of_it = record(&group.broker(3), "g").unwrap().placement.clone();
    let members = group_of_it.replicas.iter().map(|replica| Placement::node_of(*replica).0);
    assert_eq!(members.collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(clients[1].delete_queue(&Q, false, false, NOW), Ok(0));
    assert_eq!(record(&group.broker(1), "q"), None);
    assert!(clients[0].check_queue(&Q, NOW).is_err());
}

#[test]
fn without_a_majority_nothing_is_changed() {
    let group = Group::new();
    let mut client = group.client(1, 1);
    client.declare_queue(&queue("q"), NOW).unwrap();
    group.is_cut.store(true, Ordering::Relaxed);
    assert_eq!(client.declare_queue(&queue("p"), NOW), Err(Refusal::NoQuorum));
    let anna = ShortString::from_static("anna");
    assert_eq!(group.broker(1).put_user(anna, Default::default()), LogPosition::NEVER);
    let there = client.declare_queue(&queue("q"), NOW);
    assert!(there.is_ok(), "what is there can be found: {there:?}");
    assert_eq!(client.delete_queue(&Q, false, false, NOW), Err(Refusal::NoQuorum));
    group.is_cut.store(false, Ordering::Relaxed);
    group.work();
    assert_eq!(record(&group.broker(2), "q"), None, "its end is agreed on later");
}

#[test]
fn exclusive_queues_go_with_their_connection() {
    let group = Group::new();
    let mut client = group.client(1, 1);
    for name in ["p", "q"] {
        let exclusive = Some(client.id());
        client.declare_queue(&QueueDeclaration { exclusive, ..queue(name) }, NOW).unwrap();
    }
    let locked = group.client(2, 1).declare_queue(&queue("q"), NOW);
    assert!(matches!(locked, Err(Refusal::Locked(_))), "{locked:?}");
    client.leave(NOW);
    assert!(record(&group.broker(3), "q").is_some());
    // Not all know yet that it is gone.
    group.client(1, 2).declare_queue(&queue("p"), NOW).unwrap_err();
    group.work();
    assert_eq!(record(&group.broker(3), "q"), None);
    assert_eq!(group.broker(1).queue_records(&HOME).unwrap().len(), 0);
}

#[test]
fn an_exclusive_queue_of_a_connection_that_has_gone_meanwhile_goes_too() {
    let group = Group::new();
    let mut client = group.client(1, 1);
    let exclusive = Some(client.id());
    client.leave(NOW);
    let mut client = group.client(1, 2);
    client.declare_queue(&QueueDeclaration { exclusive, ..queue("q") }, NOW).unwrap();
    group.work();
    assert_eq!(record(&group.broker(1), "q"), None);
}

#[test]
fn transient_queues_of_a_node_that_starts_again_are_forgotten() {
    let group = Group::new();
    let mut clients = [group.client(1, 1), group.client(2, 1)];
    clients[0].declare_queue(&transient("p"), NOW).unwrap();
    clients[0].declare_queue(&queue("q"), NOW).unwrap();
    clients[1].declare_queue(&transient("r"), NOW).unwrap();
    let heir = group.restarted(&group.at(1));
    group.log().nodes[0] = heir;
    assert!(record(&group.broker(1), "p").is_some());
    group.broker(1).forget_transients(NodeNumber(1)).unwrap();
    group.state("after it");
    let left = group.broker(3).queue_records(&HOME).unwrap();
    let left: Vec<_> = left.iter().map(|record| record.name.clone()).collect();
    assert_eq!(left, [Q, QueueName::from_static("r")]);
}

#[test]
fn a_number_is_never_given_again() {
    let group = Group::new();
    let mut client = group.client(1, 1);
    client.declare_queue(&queue("q"), NOW).unwrap();
    let first = record(&group.broker(1), "q").unwrap().id;
    client.delete_queue(&Q, false, false, NOW).unwrap();
    let heir = group.restarted(&group.at(1));
    group.log().nodes[0] = heir;
    group.client(1, 2).declare_queue(&queue("q"), NOW).unwrap();
    let second = record(&group.broker(1), "q").unwrap().id;
    assert!(second > first && second.node() == NodeNumber(1), "{first}, {second}");
}

#[test]
fn a_user_and_a_virtual_host_end_on_every_node() {
    let group = Group::new();
    let guest = ShortString::from_static("guest");
    group.client(3, 1).declare_queue(&queue("q"), NOW).unwrap();
    let hosted = record(&group.broker(3), "q").unwrap().id;
    assert!(group.broker(1).delete_virtual_host(&HOME, NOW).is_some());
    assert_eq!(group.broker(3).queue(hosted).map(|it| it.record.id), None);
    assert_eq!(group.broker(3).permissions(), []);
    assert!(group.broker(2).delete_user(&guest).is_some());
    assert_eq!(group.broker(2).delete_user(&guest), None);
    assert!(group.broker(1).is_blank());
    group.state("after both");
}
