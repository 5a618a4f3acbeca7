//! What operators may know of the other nodes, and do about them.

use std::{fmt, sync::Arc};

use super::switchboard::{Electorate, Switchboard};
use crate::{
    admin::{Fellow, NotForgotten},
    broker::{Broker, NotAdmitted},
    model::NodeNumber,
};

/// The cluster, for the control plane.
#[derive(Clone)]
pub(in crate::server) struct Insight {
    pub(super) switchboard: Arc<Switchboard>,
    pub(super) broker: Arc<Broker>,
}

impl Insight {
    /// The other nodes of the cluster, by name.
    pub(in crate::server) fn fellows(&self) -> Vec<Fellow> {
        let up = self.switchboard.up();
        let nodes = self.broker.nodes_agreed();
        let others = nodes
            .into_iter()
            .filter(|(number, node)| !node.is_gone && *number != self.switchboard.me);
        let mut fellows: Vec<_> = others
            .map(|(number, node)| {
                let is_running = up.contains(&number);
                let vitals = self.switchboard.vitals_of(number).filter(|_| is_running);
                Fellow { name: node.name, is_running, vitals }
            })
            .collect();
        fellows.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        fellows
    }

    /// Whether this node sees a majority of those that vote on the metadata.
    pub(in crate::server) fn sees_majority(&self) -> bool {
        let up = self.switchboard.up();
        let Electorate { voters, .. } = self.switchboard.electorate();
        let is_seen = |node: &&NodeNumber| **node == self.switchboard.me || up.contains(node);
        // Nothing is known yet of who votes.
        voters.is_empty() || voters.iter().filter(is_seen).count() * 2 > voters.len()
    }

    /// Takes a node out of the cluster for good. May block its thread for as long as agreeing
    /// takes.
    pub(in crate::server) fn forget(&self, name: &str) -> Result<(), NotForgotten> {
        let nodes = self.broker.nodes_agreed();
        let named = nodes.iter().find(|(_, node)| node.name == name && !node.is_gone);
        let number = *named.ok_or(NotForgotten::Unknown)?.0;
        if number == self.switchboard.me || self.switchboard.up().contains(&number) {
            return Err(NotForgotten::Running);
        }
        tracing::info!("node {number} (`{name}`) is removed from the cluster");
        self.broker.expel(number).map_err(|why| match why {
            NotAdmitted::Unknown | NotAdmitted::Gone => NotForgotten::Unknown,
            NotAdmitted::NoQuorum | NotAdmitted::TooEarly => NotForgotten::NoQuorum,
        })
    }
}

impl fmt::Debug for Insight {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Insight").finish_non_exhaustive()
    }
}
