//! Which node leads which queue, as operators want it.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    parcel::Content,
    sight::{Company, Leadership, Remote, Rest},
};
use crate::{
    broker::{Broker, topology::QueueRecord},
    model::{Moment, NodeNumber, QueueId, QueueKind, QueueName, VirtualHostName},
};

/// A mirrored queue that somebody leads.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Led {
    queue: QueueId,
    leader: NodeNumber,
    /// Those that are there and could lead.
    others: Vec<NodeNumber>,
}

impl Broker {
    /// Has leaders spread evenly over the nodes: those of queues of this kind, or all, that
    /// `is_meant` says yes to. Returns how many of them each node led, and how many it is to lead;
    /// that it does follows soon.
    pub fn rebalance(
        &self,
        kind: Option<QueueKind>,
        is_meant: impl Fn(&VirtualHostName, &QueueName) -> bool,
        now: Moment,
    ) -> BTreeMap<String, (u64, u64)> {
        let Some(fellowship) = &self.fellowship else { return BTreeMap::new() };
        let mut remotes = BTreeMap::new();
        let mut led = Vec::new();
        for (home, record) in self.mirrored() {
            let is_of_kind = kind.is_none_or(|kind| record.options.kind == kind);
            let remote = self.remote(record.id);
            if let Some(remote) = remote.filter(|_| is_of_kind && is_meant(&home, &record.name)) {
                led.extend(self.led(&record, &remote));
                remotes.insert(record.id, remote);
            }
        }
        let mut nodes: BTreeMap<_, (u64, u64)> = self.count(&led);
        for (queue, to) in moves(led) {
            let remote = &remotes[&queue];
            if let Some(from) = remote.leader(self.node()) {
                nodes.entry(from).or_default().1 -= 1;
            }
            nodes.entry(to).or_default().1 += 1;
            self.hand_over(remote, to, now);
        }
        let name = |node| fellowship.fellows().name_of(node);
        nodes.into_iter().map(|(node, counts)| (name(node), counts)).collect()
    }

    /// Whether other nodes are to lead what this one leads, from now on.
    pub fn step_aside(&self, aside: bool) {
        if let Some(fellowship) = &self.fellowship {
            fellowship.fellows().step_aside(aside);
        }
    }

    fn count(&self, led: &[Led]) -> BTreeMap<NodeNumber, (u64, u64)> {
        let mut nodes: BTreeMap<NodeNumber, (u64, u64)> = BTreeMap::new();
        for each in led {
            for node in &each.others {
                nodes.entry(*node).or_default();
            }
            let counts = nodes.entry(each.leader).or_default();
            *counts = (counts.0 + 1, counts.1 + 1);
        }
        nodes
    }

    /// Has another member of a queue's group lead it, wherever its leader is.
    fn hand_over(&self, remote: &Arc<Remote>, to: NodeNumber, now: Moment) {
        self.act_on(remote, now, |company| remote.hand_over(to, company));
    }

    /// All mirrored queues, with the names of their virtual hosts.
    fn mirrored(&self) -> Vec<(VirtualHostName, Arc<QueueRecord>)> {
        let mut all = Vec::new();
        for home in self.virtual_hosts() {
            let records = self.queue_records(&home).unwrap_or_default().into_iter();
            let mirrored = records.filter(|record| record.placement.replicas.len() > 1);
            all.extend(mirrored.map(|record| (home.clone(), record)));
        }
        all
    }

    fn led(&self, record: &QueueRecord, remote: &Remote) -> Option<Led> {
        let fellowship = self.fellowship.as_ref()?;
        let me = self.node();
        let leader = remote.leader(me)?;
        let could =
            |node: &NodeNumber| *node != leader && (*node == me || fellowship.is_present(*node));
        let others = record.placement.nodes().filter(could).collect();
        Some(Led { queue: record.id, leader, others })
    }
}

/// What to hand over to whom, for no node to lead more than one more than any that could take it.
fn moves(led: Vec<Led>) -> Vec<(QueueId, NodeNumber)> {
    let mut counts: BTreeMap<NodeNumber, u64> = BTreeMap::new();
    for each in &led {
        for node in &each.others {
            counts.entry(*node).or_default();
        }
        *counts.entry(each.leader).or_default() += 1;
    }
    let mut moves = Vec::new();
    for each in led {
        let fewest = each.others.iter().copied().min_by_key(|node| (counts[node], *node));
        let Some(to) = fewest.filter(|to| counts[to] + 1 < counts[&each.leader]) else { continue };
        *counts.entry(each.leader).or_default() -= 1;
        *counts.entry(to).or_default() += 1;
        moves.push((each.queue, to));
    }
    moves
}

impl Remote {
    /// Another node is to lead.
    fn hand_over(&self, to: NodeNumber, company: Company<'_>) -> Rest {
        let state = self.lock();
        match &state.leadership {
            Leadership::Here(_) => company.fellows.transfer(self.record.id, to),
            Leadership::There { node, term } => {
                self.send(*node, *term, Content::HandOver(to), company);
            }
            _ => {}
        }
        Rest::default()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Parcel, *};

    #[test]
    fn what_is_said_of_leaders_comes_back_as_it_was() {
        for content in [Content::WhoLeads, Content::HandOver(NodeNumber(u32::MAX))] {
            let octets = Parcel { queue: QueueId(7), term: 9, content }.octets();
            let read = Parcel::read(&octets.clone().into()).expect("a parcel");
            assert_eq!(read.octets(), octets);
            assert!(Parcel::read(&octets[..octets.len() - 1].to_vec().into()).is_none());
        }
    }

    #[test]
    fn leaders_are_spread_over_those_that_could_lead() {
        let node = NodeNumber;
        let led = |queue: u64, leader: u32, others: &[u32]| Led {
            queue: QueueId(queue),
            leader: node(leader),
            others: others.iter().map(|other| node(*other)).collect(),
        };
        let all: Vec<_> = (0..6).map(|queue| led(queue, 1, &[2, 3])).collect();
        let moved = moves(all);
        let targets: Vec<_> = moved.iter().map(|(_, to)| to.0).collect();
        assert_eq!(targets, [2, 3, 2, 3]);
        assert_eq!(moves(vec![led(1, 1, &[2]), led(2, 2, &[1])]), []);
        assert_eq!(moves(vec![led(1, 1, &[]), led(2, 1, &[])]), []);
    }
}
