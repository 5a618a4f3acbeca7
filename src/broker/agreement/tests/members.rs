//! Nodes that come and go: their numbers are their own for ever.

use super::*;
use crate::broker::NotAdmitted;

#[test]
fn a_number_is_never_given_twice() {
    let group = Group::new();
    let early = group.broker(2).admit("b", "127.0.0.1:2", 20);
    assert_eq!(early, Err(NotAdmitted::TooEarly));
    let admit = |by, name: &str, store| {
        let (number, _) = group.broker(by).admit(name, "127.0.0.1:1", store).unwrap();
        number.0
    };
    group.broker(1).found("a", "127.0.0.1:1", 10).unwrap();
    group.broker(2).found("z", "127.0.0.1:1", 90).unwrap();
    assert_eq!(admit(2, "b", 20), 2);
    assert_eq!(admit(3, "b", 20), 2, "the same store is the same node");
    assert_eq!(admit(1, "b", 21), 3, "another one is another node of this name");
    group.broker(2).expel(NodeNumber(3)).unwrap();
    assert_eq!(admit(3, "b", 22), 4);
    let nodes = group.broker(2).nodes_agreed();
    let live: Vec<_> = nodes.iter().filter(|(_, node)| !node.is_gone).map(|(it, _)| it.0).collect();
    assert_eq!(live, [1, 4]);
    group.state("after all");
}

#[test]
fn who_was_removed_does_not_come_back() {
    let group = Group::new();
    group.broker(1).found("a", "127.0.0.1:1", 10).unwrap();
    group.broker(2).expel(NodeNumber(1)).unwrap();
    assert_eq!(group.broker(3).admit("a", "127.0.0.1:1", 10), Err(NotAdmitted::Gone));
    assert_eq!(group.broker(3).expel(NodeNumber(7)), Err(NotAdmitted::Unknown));
    group.broker(3).expel(NodeNumber(1)).unwrap();
}

#[test]
fn without_a_majority_nobody_comes_or_goes() {
    let group = Group::new();
    group.broker(1).found("a", "127.0.0.1:1", 10).unwrap();
    group.is_cut.store(true, Ordering::Relaxed);
    assert_eq!(group.broker(1).admit("b", "127.0.0.1:2", 20), Err(NotAdmitted::NoQuorum));
    assert_eq!(group.broker(1).expel(NodeNumber(1)), Err(NotAdmitted::NoQuorum));
    assert_eq!(group.broker(1).nodes_agreed().len(), 1);
}
