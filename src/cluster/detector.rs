//! Judges which nodes are there: from what was heard of them, and when.
//!
//! Two nodes are up for each other while each hears the other's heartbeats, and neither's disk is
//! stuck. When one gives the other up, the other learns it and does the same: a verdict is always
//! seen on both sides, whatever way the network is cut.

use std::{collections::BTreeMap, fmt, time::Duration};

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
