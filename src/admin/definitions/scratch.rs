//! A rehearsal: what a plan declares is declared in empty virtual hosts first, where all that could
//! be refused is refused.

use std::{collections::BTreeMap, sync::Arc};

use super::document::{Placed, Plan, in_entry};
use crate::{
    admin::{answer::Failure, node::Node, parameters::Parameter},
    broker::topology::{Change, Declared, Topology},
    model::{ConnectionId, Limit, QueueId, Refusal, VirtualHostName},
};

/// Refuses a plan of which something would be refused.
pub(super) fn check(node: &dyn Node, plan: &Plan) -> Result<(), Failure> {
    let mut rehearsal = Rehearsal { node, homes: BTreeMap::new() };
    for placed in &plan.exchanges {
        rehearsal.declare(placed, |topology, declaration| {
            Ok(topology.declare_exchange(declaration)?.into_iter().collect())
        })?;
    }
    for placed in &plan.queues {
        rehearsal.declare(placed, |topology, declaration| {
            Ok(match topology.declare_queue(declaration, QueueId(1))? {
                Declared::New(record) => vec![Change::QueueDeclared(numbered(topology, &record))],
                Declared::Present(_) => Vec::new(),
            })
        })?;
    }
    for placed in &plan.bindings {
        rehearsal.declare(placed, |topology, binding| {
            let nobody = ConnectionId(0);
            Ok(topology.bind(binding.clone(), nobody)?.into_iter().collect())
        })?;
    }
    check_limits(node, plan)
}

struct Rehearsal<'a> {
    node: &'a dyn Node,
    homes: BTreeMap<VirtualHostName, Topology>,
}

impl Rehearsal<'_> {
    fn declare<T>(
        &mut self,
        placed: &Placed<T>,
        declare: impl FnOnce(&Topology, &T) -> Result<Vec<Change>, Refusal>,
    ) -> Result<(), Failure> {
        let Placed { entry, home, what } = placed;
        let topology =
            self.homes.entry(home.clone()).or_insert_with(|| Topology::new(home.clone()));
        match declare(topology, what) {
            Ok(changes) => topology.apply_all(&changes),
            Err(refusal) if is_passed_over(&refusal) => {}
            Err(refusal) => {
                let (_, words) = self.node.words(&refusal);
                let words = words.split_once(" - ").map_or(&*words, |(_, words)| words);
                return Err(in_entry(entry, &Failure::bad_request(words)));
            }
        }
        Ok(())
    }
}

/// What is there already stays as it is, and what leads nowhere is left out (RabbitMQ 3.10).
pub(super) fn is_passed_over(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::NotFound(_) | Refusal::Inequivalent { .. } | Refusal::Locked(_))
}

/// The record with a number of its own.
fn numbered(
    topology: &Topology,
    record: &crate::broker::QueueRecord,
) -> Arc<crate::broker::QueueRecord> {
    let id = QueueId(topology.queues().count() as u64 + 1);
    Arc::new(crate::broker::QueueRecord { id, ..record.clone() })
}

/// No virtual host may come to have more queues than it may have.
fn check_limits(node: &dyn Node, plan: &Plan) -> Result<(), Failure> {
    let mut new: BTreeMap<&VirtualHostName, u64> = BTreeMap::new();
    for Placed { home, what, .. } in &plan.queues {
        let records = node.broker().queue_records(home).unwrap_or_default();
        if !records.iter().any(|record| record.name == what.name) {
            *new.entry(home).or_default() += 1;
        }
    }
    for (home, added) in new {
        let planned = plan.parameters.iter().rev().find_map(|(name, parameter)| match parameter {
            Parameter::Limits(limits) if name == home => Some(limits),
            Parameter::Limits(_) | Parameter::OperatorPolicy(_) => None,
        });
        let limit = match planned {
            Some(limits) => limits.most(Limit::Queues),
            None => {
                let options = node.broker().virtual_host_options(home);
                options.and_then(|options| options.limits.most(Limit::Queues))
            }
        };
        let present = node.broker().queue_records(home).unwrap_or_default().len() as u64;
        if let Some(limit) = limit.filter(|limit| present + added > *limit) {
            return Err(Failure::bad_request(format!(
                "{added} queues more in virtual host '{home}' would be above its limit of {limit}"
            )));
        }
    }
    Ok(())
}
