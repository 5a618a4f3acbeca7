//! Which nodes can be talked to about queues: they are up, and nothing was lost on the way.

use std::collections::BTreeMap;

use crate::model::NodeNumber;

/// What is known of the ways to and from each node.
#[derive(Debug, Default)]
pub(super) struct Presence(BTreeMap<NodeNumber, Ways>);

#[derive(Debug, Default)]
struct Ways {
    /// The incarnation that is up.
    up: Option<u64>,
    /// What is sent arrives.
    out: bool,
    /// The node has said that what it sends arrives from now on.
    greeted: bool,
    /// It was said to be there.
    present: bool,
}

/// What changes when a way opens or closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Comes { incarnation: u64 },
    Goes,
}

impl Presence {
    pub(super) fn up(&mut self, node: NodeNumber, incarnation: u64) -> Vec<Turn> {
        self.change(node, |ways| ways.up = Some(incarnation))
    }

    pub(super) fn down(&mut self, node: NodeNumber) -> Vec<Turn> {
        self.change(node, |ways| {
            ways.up = None;
            ways.greeted = false;
        })
    }

    pub(super) fn connected(&mut self, node: NodeNumber) -> Vec<Turn> {
        self.change(node, |ways| ways.out = true)
    }

    pub(super) fn broken(&mut self, node: NodeNumber) -> Vec<Turn> {
        self.change(node, |ways| ways.out = false)
    }

    /// The node begins to send anew: what it had sent before may be lost.
    pub(super) fn greeted(&mut self, node: NodeNumber) -> Vec<Turn> {
        let mut turns = self.change(node, |ways| ways.greeted = false);
        turns.extend(self.change(node, |ways| ways.greeted = true));
        turns
    }

    /// The node has answered a greeting: if its own was lost, this one counts.
    pub(super) fn answered(&mut self, node: NodeNumber) -> Vec<Turn> {
        self.change(node, |ways| ways.greeted = true)
    }

    /// The nodes that are up, and cannot be talked to for all that.
    pub(super) fn out_of_reach(&self) -> Vec<NodeNumber> {
        let lacks = |ways: &&Ways| ways.up.is_some() && !ways.present;
        self.0.iter().filter(|(_, ways)| lacks(ways)).map(|(node, _)| *node).collect()
    }

    fn change(&mut self, node: NodeNumber, change: impl FnOnce(&mut Ways)) -> Vec<Turn> {
        let ways = self.0.entry(node).or_default();
        change(ways);
        let is_there = ways.up.filter(|_| ways.out && ways.greeted);
        match (ways.present, is_there) {
            (false, Some(incarnation)) => {
                ways.present = true;
                vec![Turn::Comes { incarnation }]
            }
            (true, None) => {
                ways.present = false;
                vec![Turn::Goes]
            }
            (true, Some(_)) | (false, None) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeNumber = NodeNumber(2);

    #[test]
    fn a_node_is_there_while_both_ways_are_open() {
        let mut presence = Presence::default();
        assert_eq!(presence.up(NODE, 7), []);
        assert_eq!(presence.greeted(NODE), []);
        assert_eq!(presence.connected(NODE), [Turn::Comes { incarnation: 7 }]);
        assert_eq!(presence.broken(NODE), [Turn::Goes]);
        assert_eq!(presence.connected(NODE), [Turn::Comes { incarnation: 7 }]);
        assert_eq!(presence.down(NODE), [Turn::Goes]);
        assert_eq!(presence.up(NODE, 8), [], "it has not said that it sends anew");
        assert_eq!(presence.greeted(NODE), [Turn::Comes { incarnation: 8 }]);
    }

    #[test]
    fn an_answer_makes_up_for_a_lost_greeting_and_changes_nothing_else() {
        let mut presence = Presence::default();
        for turns in [presence.up(NODE, 1), presence.connected(NODE)] {
            assert_eq!(turns, []);
        }
        assert_eq!(presence.out_of_reach(), [NODE]);
        assert_eq!(presence.answered(NODE), [Turn::Comes { incarnation: 1 }]);
        assert_eq!(presence.answered(NODE), []);
        assert_eq!(presence.out_of_reach(), []);
    }

    #[test]
    fn who_begins_to_send_anew_has_been_gone() {
        let mut presence = Presence::default();
        for turns in [presence.up(NODE, 1), presence.connected(NODE)] {
            assert_eq!(turns, []);
        }
        assert_eq!(presence.greeted(NODE), [Turn::Comes { incarnation: 1 }]);
        assert_eq!(presence.greeted(NODE), [Turn::Goes, Turn::Comes { incarnation: 1 }]);
    }
}
