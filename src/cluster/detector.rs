//! Judges which nodes are there: from what was heard of them, and when.
//!
//! Two nodes are up for each other while each hears the other's heartbeats, and neither's disk is
//! stuck. When one gives the other up, the other learns it and does the same: a verdict is always
//! seen on both sides, whatever way the network is cut.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    time::Duration,
};

use super::NodeNumber;
use crate::model::Moment;

/// How patient the detector is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The time between two heartbeats to the same node.
    pub heartbeat: Duration,
    /// A node that was not heard for so long is suspected: nothing new should depend on it.
    pub suspect_after: Duration,
    /// A node that was not heard for so long is down.
    pub down_after: Duration,
    /// A node whose oldest unfinished write to disk is older is down, although it talks.
    pub stuck_after: Duration,
}

impl Patience {
    /// A node is down when it was silent for so long, 500 ms at least; everything else follows.
    pub fn of(down_after: Duration) -> Self {
        let down_after = down_after.max(Duration::from_millis(500));
        Self {
            heartbeat: Duration::from_millis(250).min(down_after / 4),
            suspect_after: Duration::from_secs(2).min(down_after * 2 / 3),
            down_after,
            stuck_after: Duration::from_secs(5),
        }
    }
}

/// Down after three seconds.
impl Default for Patience {
    fn default() -> Self {
        Self::of(Duration::from_secs(3))
    }
}

/// What one node tells another, over and over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// The receiver's own heartbeats reach the sender.
    pub hears_you: bool,
    /// How often the sender has given the receiver up by itself.
    pub given_up: u32,
    /// The age of the sender's oldest unfinished write to disk.
    pub oldest_sync: Duration,
}

/// What the detector has found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Up { node: NodeNumber, incarnation: u64 },
    Down { node: NodeNumber, why: Why },
}

/// Why a node is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nothing was heard of it for too long.
    Silent,
    /// It does not hear us, or has given us up in the meantime.
    Deaf,
    /// Its connection broke, and nobody listens at its address.
    Died,
    /// It is there again as a new incarnation, which knows nothing of what the old one was sent.
    Restarted,
    /// It talks, and its disk has not finished a write for too long.
    Stuck,
    /// It is no member any more.
    Removed,
}

impl fmt::Display for Why {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Silent => "it has not been heard for too long",
            Self::Deaf => "it does not hear this node",
            Self::Died => "its connection broke and nobody listens at its address",
            Self::Restarted => "it has started anew",
            Self::Stuck => "its disk does not finish a write",
            Self::Removed => "it is no member any more",
        })
    }
}

/// What is thought of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Up,
    /// Still up, but silent for longer than is usual.
    Suspected,
    Down,
}

/// The judge. It is told what happens, and told the time often; verdicts are taken from it.
#[derive(Debug)]
pub struct Detector {
    patience: Patience,
    nodes: BTreeMap<NodeNumber, Node>,
    ticked: Moment,
    verdicts: VecDeque<Verdict>,
}

/// What is known of one other node.
#[derive(Debug, Default)]
struct Node {
    /// The newest that has introduced itself.
    incarnation: Option<u64>,
    is_up: bool,
    heard: Option<Moment>,
    /// Its disk has been stuck, and has not recovered.
    is_stuck: bool,
    /// A connection has broken since it was last heard.
    has_broken: bool,
    /// How often we have given it up by ourselves.
    given_up: u32,
    /// How often it had given us up when it was last heard.
    has_given_us_up: Option<u32>,
}

impl Detector {
    /// Knows no node.
    pub fn new(patience: Patience, now: Moment) -> Self {
        let (nodes, verdicts) = (BTreeMap::new(), VecDeque::new());
        Self { patience, nodes, ticked: now, verdicts }
    }

    /// The other nodes are these, and no others. New ones are down until they are heard.
    pub fn set_members(&mut self, members: impl IntoIterator<Item = NodeNumber>) {
        let mut former = std::mem::take(&mut self.nodes);
        for number in members {
            let node = former.remove(&number).unwrap_or_default();
            self.nodes.insert(number, node);
        }
        for (node, _) in former.into_iter().filter(|(_, node)| node.is_up) {
            self.verdicts.push_back(Verdict::Down { node, why: Why::Removed });
        }
    }

    /// A node has proven to be this incarnation of itself. False when it is no member, or when a
    /// newer incarnation is known: then nothing of it should be believed.
    pub fn introduced(&mut self, number: NodeNumber, incarnation: u64) -> bool {
        let Some(node) = self.nodes.get_mut(&number) else { return false };
        if node.incarnation.is_some_and(|known| incarnation < known) {
            return false;
        }
        if node.incarnation != Some(incarnation) {
            if node.is_up {
                node.give_up();
                self.verdicts.push_back(Verdict::Down { node: number, why: Why::Restarted });
            }
            let given_up = node.given_up;
            *node = Node { incarnation: Some(incarnation), given_up, ..Node::default() };
        }
        true
    }

    /// A heartbeat has arrived. It counts only if it is of the newest incarnation.
    pub fn heard(
        &mut self,
        number: NodeNumber,
        incarnation: u64,
        heartbeat: Heartbeat,
        now: Moment,
    ) {
        let Some(node) = self.nodes.get_mut(&number) else { return };
        if node.incarnation != Some(incarnation) {
            return;
        }
        (node.heard, node.has_broken) = (Some(now), false);
        // A slow disk should not go up and down with every write.
        let recovered = self.patience.stuck_after / 5;
        let limit = if node.is_stuck { recovered } else { self.patience.stuck_after };
        node.is_stuck = heartbeat.oldest_sync > limit;
        let before = node.has_given_us_up.replace(heartbeat.given_up);
        let has_given_us_up = before.is_some_and(|before| before != heartbeat.given_up);
        if node.is_up && (has_given_us_up || !heartbeat.hears_you) {
            // Not counted as giving it up: it knows already.
            node.is_up = false;
            self.verdicts.push_back(Verdict::Down { node: number, why: Why::Deaf });
        }
        if node.is_up && node.is_stuck {
            node.give_up();
            self.verdicts.push_back(Verdict::Down { node: number, why: Why::Stuck });
        }
        if !node.is_up && heartbeat.hears_you && !node.is_stuck {
            node.is_up = true;
            self.verdicts.push_back(Verdict::Up { node: number, incarnation });
        }
    }

    /// A connection from or to the node has ended, without anybody here having wanted it.
    pub fn broken(&mut self, node: NodeNumber) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.has_broken = true;
        }
    }

    /// The node's machine has said that nobody listens at its address. If a connection has broken
    /// before and nothing was heard since, its process has died.
    pub fn refused(&mut self, number: NodeNumber) {
        let Some(node) = self.nodes.get_mut(&number) else { return };
        if node.is_up && node.has_broken {
            node.give_up();
            node.heard = None;
            self.verdicts.push_back(Verdict::Down { node: number, why: Why::Died });
        }
    }

    /// Time has passed. To be called about once per [`Patience::heartbeat`]: after a much longer
    /// gap it was us who stood still, and what has arrived meanwhile is still to be read, so the
    /// gap counts against nobody.
    pub fn tick(&mut self, now: Moment) {
        let gap = now.since(self.ticked);
        self.ticked = now;
        let pause = if gap > self.patience.heartbeat * 2 {
            gap.saturating_sub(self.patience.heartbeat)
        } else {
            Duration::ZERO
        };
        for (number, node) in &mut self.nodes {
            node.heard = node.heard.map(|heard| (heard + pause).min(now));
            let is_silent = node.silence(now) >= self.patience.down_after;
            if node.is_up && is_silent {
                node.give_up();
                self.verdicts.push_back(Verdict::Down { node: *number, why: Why::Silent });
            }
        }
    }

    /// What has been found out and not been taken yet, in order. For one node, up and down
    /// alternate.
    pub fn next_verdict(&mut self) -> Option<Verdict> {
        self.verdicts.pop_front()
    }

    /// Whether [`Self::next_verdict`] has something.
    pub fn has_verdicts(&self) -> bool {
        !self.verdicts.is_empty()
    }

    /// What a heartbeat to this node says, when the oldest unfinished write to our own disk has
    /// this age.
    pub fn heartbeat(&self, number: NodeNumber, oldest_sync: Duration, now: Moment) -> Heartbeat {
        let Some(node) = self.nodes.get(&number) else {
            return Heartbeat { oldest_sync, ..Heartbeat::default() };
        };
        let is_heard = node.silence(now) < self.patience.down_after;
        let hears_you = is_heard && !node.is_stuck;
        Heartbeat { hears_you, given_up: node.given_up, oldest_sync }
    }

    /// What is thought of a node. Who is no member is down.
    pub fn state(&self, node: NodeNumber, now: Moment) -> State {
        match self.nodes.get(&node) {
            Some(node) if node.is_up && node.silence(now) >= self.patience.suspect_after => {
                State::Suspected
            }
            Some(node) if node.is_up => State::Up,
            _ => State::Down,
        }
    }
}

impl Node {
    fn give_up(&mut self) {
        self.is_up = false;
        self.given_up = self.given_up.wrapping_add(1);
    }

    fn silence(&self, now: Moment) -> Duration {
        self.heard.map_or(Duration::MAX, |heard| now.since(heard))
    }
}
