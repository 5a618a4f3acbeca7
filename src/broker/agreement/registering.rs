//! Users, permissions, parameters and virtual hosts, as the nodes of a cluster agree on them.

use std::{convert::Infallible, sync::Arc};

use super::{
    Cluster,
    command::{Command, Registration},
    deciding::ATTEMPTS,
};
use crate::{
    broker::{
        Broker,
        facts::{Fact, Key},
        ports::Agreed,
        topology::Change,
        virtual_host::VirtualHost,
    },
    model::{
        ConnectionId, FieldValue, LogPosition, Refusal, ShortString, VirtualHostName,
        VirtualHostOptions,
    },
};

/// What was agreed on is kept by a majority; what was not is never reached.
impl Broker {
    /// Decides on what is registered, and returns once all nodes have agreed to it and it is
    /// applied here. Deciding again, it may come to nothing, or to an error.
    pub(in crate::broker) fn agree_on_entries<E>(
        &self,
        cluster: &Cluster,
        mut decide: impl FnMut() -> Result<Vec<Registration>, E>,
    ) -> Result<LogPosition, E> {
        for _ in 0..ATTEMPTS {
            // Read before anything is looked at: what is applied after this makes it void.
            let seen = cluster.marks().registry;
            let entries = decide()?;
            if entries.is_empty() {
                return Ok(LogPosition::default());
            }
            let command = Command::Register { seen, entries };
            match cluster.agreement.agree(command.encode()) {
                Ok(Agreed::Done) => return Ok(LogPosition::default()),
                Ok(Agreed::Void) => {}
                Err(_no_quorum) => return Ok(LogPosition::NEVER),
            }
        }
        Ok(LogPosition::NEVER)
    }

    /// Adds a virtual host, or gives the one of that name other options.
    pub(in crate::broker) fn agree_on_virtual_host(
        &self,
        cluster: &Cluster,
        name: &VirtualHostName,
        options: &Arc<VirtualHostOptions>,
    ) -> LogPosition {
        for _ in 0..ATTEMPTS {
            if let Some(home) = self.virtual_host(name) {
                match self.agree_on_options(cluster, &home, options) {
                    Ok(()) => return LogPosition::default(),
                    // It has just been deleted.
                    Err(Refusal::VirtualHostNotFound(_)) => continue,
                    Err(_no_quorum) => return LogPosition::NEVER,
                }
            }
            let mut is_new = true;
            let fact = Fact::VirtualHost(name.clone(), Arc::clone(options));
            let made = self.agree_on_entries(cluster, || {
                is_new = self.virtual_host(name).is_none();
                let entry = is_new.then(|| Registration::Put(Box::new(fact.clone())));
                Ok::<_, Infallible>(entry.into_iter().collect())
            });
            if is_new {
                return made.unwrap_or_default();
            }
        }
        LogPosition::NEVER
    }

    fn agree_on_options(
        &self,
        cluster: &Cluster,
        home: &VirtualHost,
        options: &Arc<VirtualHostOptions>,
    ) -> Result<(), Refusal> {
        self.agree_on_change(cluster, (home, ConnectionId::default()), |topology| {
            let is_other = topology.options() != options;
            let change = is_other.then(|| Change::Described(Arc::clone(options)));
            Ok(((), change.into_iter().collect()))
        })
    }

    /// Keeps a global parameter.
    pub(in crate::broker) fn agree_on_parameter(
        &self,
        cluster: &Cluster,
        name: ShortString,
        value: FieldValue,
    ) -> LogPosition {
        let entry = Registration::Put(Box::new(Fact::GlobalParameter(name, value)));
        let decide = || Ok::<_, Infallible>(vec![entry.clone()]);
        self.agree_on_entries(cluster, decide).unwrap_or_default()
    }

    /// Has what the key names be no more; `None` when there is no such thing.
    pub(in crate::broker) fn agree_on_end(
        &self,
        cluster: &Cluster,
        key: &Key,
    ) -> Option<LogPosition> {
        let decide = || {
            let is_there = match key {
                Key::VirtualHost(name) => self.virtual_host(name).is_some(),
                Key::GlobalParameter(name) => self.parameters.find(name).is_some(),
                of_a_user => self.directory.has(of_a_user),
            };
            is_there.then(|| vec![Registration::Delete(key.clone())]).ok_or(())
        };
        self.agree_on_entries(cluster, decide).ok()
    }

    /// The first of everything, if there is nothing yet.
    pub(in crate::broker) fn agree_on_origins(
        &self,
        cluster: &Cluster,
        facts: &[Fact],
    ) -> LogPosition {
        let decide = || {
            let entries = facts.iter().filter(|_| self.is_blank()).cloned();
            Ok::<_, Infallible>(entries.map(|fact| Registration::Put(Box::new(fact))).collect())
        };
        self.agree_on_entries(cluster, decide).unwrap_or_default()
    }
}
