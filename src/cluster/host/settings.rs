//! How a host paces itself, and how much it keeps.

use std::time::Duration;

/// The settings of a host; the same on all nodes of a cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The time between two ticks of the groups that are awake.
    pub tick: Duration,
    /// Ticks without a leader after which a replica campaigns: this many, or up to twice as many.
    pub election_ticks: usize,
    /// Ticks between two heartbeats of a leader that has work; less than `election_ticks`.
    pub heartbeat_ticks: usize,
    /// Octets of entries in one message; an entry that is larger travels alone.
    pub message_octets: u64,
    /// Messages with entries that a leader sends a follower before it waits for an answer.
    pub messages_in_flight: usize,
    /// Octets of applied entries that a group keeps for members that lag behind. Those that lag
    /// further get a snapshot.
    pub log_limit: usize,
    /// The time between the campaigns of the replicas of a group whose leader's node is down.
    pub stagger: Duration,
    /// A rule to break, so that a test can see whether it would notice.
    #[doc(hidden)]
    pub broken: Option<Broken>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(150),
            election_ticks: 10,
            heartbeat_ticks: 3,
            message_octets: 1 << 20,
            messages_in_flight: 64,
            log_limit: 8 << 20,
            stagger: Duration::from_millis(50),
            broken: None,
        }
    }
}

/// The rules that a driver of the raft library must keep, each broken on purpose.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Let the library glue entries onto messages that are waiting to leave.
    GlueMessages,
    /// Call what was handed out for writing written.
    DeclareEarly,
    /// Let messages leave before what they promise is written.
    SendEarly,
    /// Call a snapshot applied before it is written.
    ApplyEarly,
    /// Offer a snapshot that was made before its receiver was a member.
    KeepSnapshot,
    /// Believe in the leader on a node that is down.
    KeepLease,
    /// Let a leader propose its own removal, and lead on when it is removed.
    RemoveSelf,
}
