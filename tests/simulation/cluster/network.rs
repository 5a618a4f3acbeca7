//! The network between the nodes: late, out of order, twice, or not at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use leveret::{
    cluster::{GroupMessage, NodeNumber, codec, host::SnapshotToSend},
    model::Moment,
};

use super::super::random::Random;

#[derive(Clone)]
pub(crate) struct Packet {
    pub(crate) from: NodeNumber,
    pub(crate) to: NodeNumber,
    pub(crate) octets: Bytes,
    /// With a snapshot: who is to be told whether it arrived.
    pub(crate) snapshot: bool,
}

impl Packet {
    pub(crate) fn message(&self) -> GroupMessage {
        codec::message(&self.octets).expect("what was written can be read")
    }
}

pub(crate) struct Network {
    under_way: BTreeMap<(Moment, u64), Packet>,
    sent: u64,
    /// Directions in which nothing arrives.
    cut: BTreeSet<(NodeNumber, NodeNumber)>,
    /// One in so many is lost, or comes twice; none if zero.
    loss: usize,
    doubling: usize,
    slowest_ms: usize,
}

impl Network {
    pub(crate) fn new(random: &mut Random) -> Self {
        let rate = |random: &mut Random| [0, 8, 20, 100][random.below(4)];
        Self {
            under_way: BTreeMap::new(),
            sent: 0,
            cut: BTreeSet::new(),
            loss: rate(random),
            doubling: rate(random),
            slowest_ms: [2, 5, 20, 60][random.below(4)],
        }
    }

    pub(crate) fn send(&mut self, now: Moment, message: &GroupMessage, random: &mut Random) {
        let packet = packet(message, false);
        if self.loss > 0 && random.chance(self.loss) {
            return;
        }
        if self.doubling > 0 && random.chance(self.doubling) {
            self.put(now, packet.clone(), random);
        }
        self.put(now, packet, random);
    }

    pub(crate) fn send_snapshot(&mut self, now: Moment, it: &SnapshotToSend, random: &mut Random) {
        self.put(now, packet(&it.message, true), random);
    }

    /// The next packet that has arrived, and whether it gets through.
    pub(crate) fn arrived(&mut self, now: Moment, random: &mut Random) -> Option<(Packet, bool)> {
        let first = self.under_way.first_entry()?;
        if first.key().0 > now {
            return None;
        }
        let packet = first.remove();
        let lost = packet.snapshot && self.loss > 0 && random.chance(self.loss);
        let through = !lost && !self.cut.contains(&(packet.from, packet.to));
        Some((packet, through))
    }

    pub(crate) fn next_at(&self) -> Option<Moment> {
        self.under_way.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn cut(&mut self, from: NodeNumber, to: NodeNumber) {
        self.cut.insert((from, to));
    }

    pub(crate) fn mend(&mut self) {
        self.cut.clear();
    }

    pub(crate) fn become_good(&mut self) {
        self.mend();
        (self.loss, self.doubling, self.slowest_ms) = (0, 0, 2);
    }

    fn put(&mut self, now: Moment, packet: Packet, random: &mut Random) {
        let late = if random.chance(3) { random.below(self.slowest_ms) } else { 0 };
        self.sent += 1;
        let at = now + Duration::from_millis(1 + late as u64);
        self.under_way.insert((at, self.sent), packet);
    }
}

fn packet(message: &GroupMessage, snapshot: bool) -> Packet {
    let mut octets = Vec::new();
    codec::put_message(&mut octets, message);
    let (from, to) = (message.from().node(), message.to().node());
    Packet { from, to, octets: octets.into(), snapshot }
}
