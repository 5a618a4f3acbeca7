//! What the connections between nodes are told when they start.

use std::{collections::BTreeMap, fmt, sync::Arc};

use tokio::net::TcpListener;

use super::{Class, NodeTls};
use crate::cluster::{NodeNumber, detector::Patience};

/// The versions of the protocol between nodes that this code speaks, lowest and highest.
pub const VERSIONS: (u16, u16) = (1, 1);

/// Who a node says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// Nodes of another cluster are refused.
    pub cluster: u128,
    pub node: NodeNumber,
    /// As clients see it: `rabbit@host`, at most 255 octets.
    pub name: String,
    /// Grows with every start of the node; an older one than is known is refused.
    pub incarnation: u64,
    /// The versions that it speaks, lowest and highest. The highest that both know is spoken.
    pub versions: (u16, u16),
}

/// Another node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// A node that says it has this number and another name is refused.
    pub name: String,
    /// `host:port`, where `[host]:port` is for IPv6; resolved again with every attempt.
    pub address: String,
}

/// What all nodes of a cluster know and nobody else does. It is never sent: nodes prove to each
/// other that they know it. Who listens to a proof can try guesses, so it should be long and drawn
/// at random.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

/// How nodes prove to each other who they are. With neither, only nodes of the same machine
/// (loopback addresses) are talked to.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Both sides show a certificate that the same authorities vouch for, and that names the host
    /// of the node's name.
    pub tls: Option<Arc<NodeTls>>,
    pub secret: Option<Secret>,
}

/// Limits to what may be on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a frame's payload on [`Class::Control`].
    pub control_frame: usize,
    /// Octets of a frame's payload on [`Class::Data`] and [`Class::Bulk`].
    pub data_frame: usize,
    /// Octets that wait to be written to one connection. Beyond it, the connection is broken.
    pub queued: usize,
    /// Octets that were received from one connection and are still held by the handler. Beyond it,
    /// the connection is not read.
    pub held: usize,
}

/// What [`super::Peers`] needs.
pub struct Settings {
    pub me: Introduction,
    /// Where other nodes are expected.
    pub listener: TcpListener,
    pub credentials: Credentials,
    /// All nodes of the cluster; this one may be among them.
    pub members: BTreeMap<NodeNumber, Member>,
    pub patience: Patience,
    pub limits: Limits,
}

impl Secret {
    pub fn new(octets: &[u8]) -> Self {
        Self(octets.into())
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl Limits {
    /// Octets of a frame's payload.
    pub const fn frame(&self, class: Class) -> usize {
        match class {
            Class::Control => self.control_frame,
            Class::Data | Class::Bulk => self.data_frame,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self { control_frame: MIB, data_frame: 24 * MIB, queued: 64 * MIB, held: 16 * MIB }
    }
}

/// It stays out of logs.
impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Secret").finish_non_exhaustive()
    }
}
