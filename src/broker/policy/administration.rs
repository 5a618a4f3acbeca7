//! What operators do with policies, and what is to be seen of them.

use std::sync::Arc;

use thiserror::Error;

use super::{Policy, PolicyKind, Rules};
use crate::{
    broker::{
        Broker,
        topology::{Change, Reconfigured},
        virtual_host::VirtualHost,
    },
    model::{
        ConnectionId, ExchangeName, FieldTable, LogPosition, Moment, QueueName, Refusal,
        ShortString, VirtualHostName,
    },
};

/// What was named and is not there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MissingPolicy {
    #[error("there is no virtual host '{0}'")]
    VirtualHost(VirtualHostName),
    #[error("there is no policy '{0}'")]
    Policy(ShortString),
}

/// What holds for one queue or exchange.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyView {
    pub policy: Option<ShortString>,
    pub operator_policy: Option<ShortString>,
    /// What both say together, sorted by key; arguments are no part of it (RabbitMQ's
    /// `effective_policy_definition`). Empty without a policy.
    pub definition: FieldTable,
}

/// Whatever changes survives a restart once the position that is returned is durable. The queues
/// that it concerns have taken it up when these return.
impl Broker {
    /// Adds a policy to a virtual host, in place of the one of that kind and name.
    ///
    /// # Errors
    /// When there is no such virtual host.
    pub fn set_policy(
        &self,
        virtual_host: &VirtualHostName,
        kind: PolicyKind,
        policy: Policy,
        now: Moment,
    ) -> Result<LogPosition, MissingPolicy> {
        let home = self.home_of_policies(virtual_host)?;
        let policy = Arc::new(policy);
        let known = home.topology().policies().find(kind, &policy.name).cloned();
        if known.as_ref() == Some(&policy) {
            return Ok(home.written());
        }
        Ok(self.govern(&home, &Change::PolicySet(kind, policy), now))
    }

    /// Takes a policy away.
    ///
    /// # Errors
    /// When there is no such virtual host or policy.
    pub fn clear_policy(
        &self,
        virtual_host: &VirtualHostName,
        kind: PolicyKind,
        name: &ShortString,
        now: Moment,
    ) -> Result<LogPosition, MissingPolicy> {
        let home = self.home_of_policies(virtual_host)?;
        let known = home.topology().policies().find(kind, name).cloned();
        known.ok_or_else(|| MissingPolicy::Policy(name.clone()))?;
        Ok(self.govern(&home, &Change::PolicyCleared(kind, name.clone()), now))
    }

    /// The policies of a virtual host, by name; none when there is no such virtual host.
    pub fn policies(&self, virtual_host: &VirtualHostName, kind: PolicyKind) -> Vec<Arc<Policy>> {
        let Some(home) = self.virtual_host(virtual_host) else { return Vec::new() };
        home.topology().policies().all(kind).cloned().collect()
    }

    /// What holds for a queue. `None` when there is no such queue.
    pub fn queue_policy(
        &self,
        virtual_host: &VirtualHostName,
        queue: &QueueName,
    ) -> Option<PolicyView> {
        let home = self.virtual_host(virtual_host)?;
        let topology = home.topology();
        topology.rules_of_queue(queue).map(|rules| PolicyView::new(&rules))
    }

    /// What holds for an exchange; for the default one it is shown, but has no effect (RabbitMQ
    /// 3.10). `None` when there is no such exchange.
    pub fn exchange_policy(
        &self,
        virtual_host: &VirtualHostName,
        exchange: &ExchangeName,
    ) -> Option<PolicyView> {
        let home = self.virtual_host(virtual_host)?;
        let topology = home.topology();
        topology.rules_of_exchange(exchange).map(|rules| PolicyView::new(&rules))
    }

    /// Changes policies, and has those queues take it up for which something has changed: after the
    /// topology's lock is released, for that may take long.
    fn govern(&self, home: &VirtualHost, change: &Change, now: Moment) -> LogPosition {
        if let Some(cluster) = &self.cluster {
            let home = (home, ConnectionId::default());
            let agreed = self.agree_on_change(cluster, home, |_| Ok(((), vec![change.clone()])));
            return match agreed {
                Ok(()) | Err(Refusal::VirtualHostNotFound(_)) => LogPosition::default(),
                Err(_no_quorum) => LogPosition::NEVER,
            };
        }
        let Ok((reconfigured, position)) = home.change_policies(change) else {
            return LogPosition::default();
        };
        self.take_up(&reconfigured, now);
        position
    }

    /// Gives queues the options that hold now. No topology may be locked.
    pub(in crate::broker) fn take_up(&self, reconfigured: &Reconfigured, now: Moment) {
        for (id, options) in &reconfigured.queues {
            if let Some(hosted) = self.queue(*id) {
                let aftermath = hosted.configure(options, reconfigured.version, self.around(now));
                self.see_to(&hosted, aftermath, now);
            } else if let Some(remote) = self.remote(*id) {
                self.configure_far(&remote, options, reconfigured.version, now);
            }
        }
    }

    fn home_of_policies(&self, name: &VirtualHostName) -> Result<Arc<VirtualHost>, MissingPolicy> {
        self.virtual_host(name).ok_or_else(|| MissingPolicy::VirtualHost(name.clone()))
    }
}

impl PolicyView {
    fn new(rules: &Rules) -> Self {
        let name = |policy: &Option<Arc<Policy>>| policy.as_ref().map(|it| it.name.clone());
        Self {
            policy: name(&rules.policy),
            operator_policy: name(&rules.operator_policy),
            definition: rules.definition(),
        }
    }
}
