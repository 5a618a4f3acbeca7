//! What a node waits for before its clients may come.

use std::{sync::Arc, time::Duration};

use super::{
    REMINDER,
    identity::Identity,
    roster,
    switchboard::{Electorate, Switchboard},
};
use crate::{
    broker::Broker,
    config::Config,
    net::peers::Member,
    server::{StartError, establish},
};

/// How long a new cluster, or a new node, waits for all to be there.
const COMPANY: Duration = Duration::from_secs(30);

/// A node that has taken its place, and has no clients yet.
#[derive(Clone)]
pub(super) struct Settling {
    pub(super) switchboard: Arc<Switchboard>,
    pub(super) broker: Arc<Broker>,
    pub(super) me: Member,
    pub(super) identity: Identity,
    /// How many nodes are listed.
    pub(super) expected: usize,
}

impl Settling {
    /// Returns once the metadata has a leader and this node has what was agreed on; the founder
    /// brings the first user and virtual host. Blocks its thread.
    ///
    /// # Errors
    /// When the configuration asks for what cannot be.
    pub(super) fn run(&self, config: &Config) -> Result<(), StartError> {
        let is_new = self.broker.nodes_agreed().is_empty();
        while self.broker.nodes_agreed().is_empty() {
            self.come(REMINDER);
        }
        self.find_leader();
        self.bring_origins(config)?;
        if is_new {
            self.wait_for_company();
        }
        while self.broker.forget_transients(self.switchboard.me).is_err() {
            tracing::info!("waiting for a majority of the cluster");
        }
        Ok(())
    }

    /// Says, or hears, that this node is one of the cluster.
    fn come(&self, patience: Duration) {
        if !self.find_leader() {
            return;
        }
        if self.identity.is_founder() {
            // Without a quorum it is tried again.
            let Member { name, address } = &self.me;
            let _no_quorum = self.broker.found(name, address, self.identity.store);
        } else {
            self.switchboard.wait_for(patience, &mut || !self.broker.nodes_agreed().is_empty());
        }
    }

    fn find_leader(&self) -> bool {
        let found =
            self.switchboard.wait_for(REMINDER, &mut || self.switchboard.leader().is_some());
        if !found {
            let up = self.switchboard.up().len() + 1;
            tracing::info!("waiting for a majority of the cluster: {up} nodes are there");
        }
        found
    }

    /// What the founder brings, and another node only when the founder does not.
    fn bring_origins(&self, config: &Config) -> Result<(), StartError> {
        if !self.identity.is_founder() {
            self.switchboard.wait_for(REMINDER, &mut || !self.broker.is_blank());
        }
        while self.broker.is_blank() {
            establish::begin(&self.broker, config)?;
            if !config.definitions.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// A cluster that has just begun, or a node that has just come, waits until those vote that
    /// should, but not for ever: clients that come then find queues mirrored as they expect.
    fn wait_for_company(&self) {
        let expected = if self.identity.is_founder() { self.expected } else { 1 };
        let is_complete = self.switchboard.wait_for(COMPANY, &mut || {
            let Electorate { voters, .. } = self.switchboard.electorate();
            let votes = voters.contains(&self.switchboard.me) || voters.len() >= roster::VOTERS;
            votes && voters.len() >= expected.min(roster::VOTERS)
        });
        if !is_complete {
            tracing::warn!("not all nodes have come; going on without them");
        }
    }
}
