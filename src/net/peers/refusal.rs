//! Why a node is not talked to, in words for both sides.

use std::{
    fmt, io,
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

/// A log line about the same matter is worth writing once in so long.
const SAME: Duration = Duration::from_secs(60);
/// So many lines about anything at all are written in [`BURST`].
const LINES: u32 = 20;
const BURST: Duration = Duration::from_secs(10);

/// Decides which complaints are written to the log: one about whom anybody can cause stays bounded.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<Burst>);

#[derive(Debug, Default)]
struct Burst {
    began: Moment,
    lines: u32,
    kept_back: u32,
}

impl Complaints {
    /// Whether another line may be written, and how many were not since the last one.
    pub(super) fn may_say(&self, now: Moment) -> Option<u32> {
        let mut burst = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(burst.began) >= BURST {
            (burst.began, burst.lines) = (now, 0);
        }
        if burst.lines >= LINES {
            burst.kept_back = burst.kept_back.saturating_add(1);
            return None;
        }
        burst.lines += 1;
        Some(std::mem::take(&mut burst.kept_back))
    }
}

/// What was last complained about in one matter.
#[derive(Debug, Default)]
pub(super) struct Complaint(Option<(String, Moment)>);

impl Complaint {
    /// The text, if it has not been said a short while ago.
    pub(super) fn news(&mut self, what: &dyn fmt::Display, now: Moment) -> Option<String> {
        let text = what.to_string();
        let is_old = |(said, when): &(String, Moment)| *said == text && now.since(*when) < SAME;
        if self.0.as_ref().is_some_and(is_old) {
            return None;
        }
        self.0 = Some((text.clone(), now));
        Some(text)
    }

    /// All is well: whatever comes next is news.
    pub(super) fn forget(&mut self) {
        self.0 = None;
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
        let said = (0..100).filter(|_| complaints.may_say(at(100)).is_some()).count();
        assert_eq!(said, LINES as usize);
        assert_eq!(complaints.may_say(at(110)), Some(80));
        assert_eq!(complaints.may_say(at(110)), Some(0));
    }

    #[test]
    fn the_same_complaint_is_said_once_a_minute() {
        let mut complaint = Complaint::default();
        assert!(complaint.news(&"a", at(100)).is_some());
        assert!(complaint.news(&"a", at(159)).is_none());
        assert!(complaint.news(&"a", at(160)).is_some());
        assert!(complaint.news(&"b", at(161)).is_some());
        complaint.forget();
        assert!(complaint.news(&"b", at(161)).is_some());
    }
}
