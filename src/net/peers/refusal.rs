//! Why a node is not talked to, in words for both sides.

use std::{
    collections::BTreeMap,
    io, mem,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use thiserror::Error;

use super::frames::TooLarge;
use crate::{cluster::NodeNumber, model::Moment};

/// Why a connection came to nothing, said of the node at the other end.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    #[error("it does not speak the protocol between nodes")]
    NotSpoken,
    #[error(
        "it speaks the versions {} to {} of the protocol between nodes, and here {} to {} are \
         spoken", theirs.0, theirs.1, ours.0, ours.1
    )]
    Version { theirs: (u16, u16), ours: (u16, u16) },
    #[error(
        "neither `cluster.secret` nor `cluster.tls.certfile` is set, and without them nodes are \
         only talked to at loopback addresses"
    )]
    Unprotected,
    #[error("it has no `cluster.secret`, and here one is set")]
    WithoutSecret,
    #[error("it has a `cluster.secret`, and here none is set")]
    WithSecret,
    #[error("it has another `cluster.secret`")]
    WrongSecret,
    #[error("it belongs to another cluster: {theirs:032x}, and not {ours:032x}")]
    OtherCluster { theirs: u128, ours: u128 },
    #[error("this node is of no cluster yet")]
    Nobody,
    #[error("it says that it is node {0}, and there is no such member here")]
    UnknownNode(NodeNumber),
    #[error("it says that it is `{}`, and node {node} is `{known}` here", said.escape_debug())]
    OtherName { node: NodeNumber, said: String, known: String },
    #[error("it looks for node {wanted}, and this is node {ours}")]
    NotWanted { wanted: NodeNumber, ours: NodeNumber },
    #[error("node {wanted} should be there, and it says that it is node {found}")]
    NotFound { wanted: NodeNumber, found: NodeNumber },
    #[error("its certificate does not name `{}`", .0.escape_debug())]
    Certificate(String),
    #[error("it is incarnation {0} of itself, and a newer one is known")]
    Older(u64),
    #[error("it refuses this node: {}", .0.escape_debug())]
    Told(String),
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error("it takes less than is sent to it; what waited is dropped")]
    Overflow,
    #[error("it was too slow")]
    TimedOut,
    #[error("{0}")]
    Broken(#[from] io::Error),
}

impl Refusal {
    /// Whether the other side is to hear of it: not what it has said itself, and not what nobody
    /// would read.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::Told(_) | Self::Broken(_) | Self::TimedOut | Self::Overflow => None,
            said => Some(said.to_string()),
        }
    }
}

/// The same line is worth writing once in so long.
const SAME: Duration = Duration::from_secs(60);
/// So many different lines are written in that time.
const LINES: usize = 64;

/// Decides which complaints are written to the log: about whom anybody can cause, and those that
/// every attempt to connect causes again.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    lines: BTreeMap<String, Moment>,
    kept_back: u32,
}

impl Complaints {
    /// Whether this may be written, and how many others were not since the last one.
    pub(super) fn may_say(&self, text: &str, now: Moment) -> Option<u32> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.lines.retain(|_, when| now.since(*when) < SAME);
        if said.lines.contains_key(text) {
            return None;
        }
        if said.lines.len() >= LINES {
            said.kept_back = said.kept_back.saturating_add(1);
            return None;
        }
        said.lines.insert(text.to_owned(), now);
        Some(mem::take(&mut said.kept_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_unix(Duration::from_secs(seconds))
    }

    #[test]
    fn complaints_are_counted_when_there_are_too_many() {
        let complaints = Complaints::default();
        let say = |number: usize, now| complaints.may_say(&number.to_string(), at(now));
        let said = (0..100).filter(|number| say(*number, 100).is_some()).count();
        assert_eq!(said, LINES);
        assert_eq!(say(100, 160), Some(36));
        assert_eq!(say(101, 160), Some(0));
    }

    #[test]
    fn the_same_complaint_is_said_once_a_minute() {
        let complaints = Complaints::default();
        assert_eq!(complaints.may_say("a", at(100)), Some(0));
        assert_eq!(complaints.may_say("a", at(159)), None);
        assert_eq!(complaints.may_say("a", at(160)), Some(0));
        assert_eq!(complaints.may_say("b", at(161)), Some(0));
        assert_eq!(complaints.may_say("a", at(161)), None);
    }
}
