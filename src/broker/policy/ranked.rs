//! The policies of a virtual host, and which of them hold for whom.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use super::{Policy, PolicyKind, Rules};
use crate::model::{QueueKind, ShortString};

/// All policies of a virtual host.
#[derive(Debug, Default)]
pub(in crate::broker) struct Policies {
    user: Ranked,
    operator: Ranked,
}

/// The policies of one kind, by name and by rank.
#[derive(Debug, Default)]
struct Ranked {
    by_name: BTreeMap<ShortString, Arc<Policy>>,
    by_rank: BTreeMap<(Reverse<i64>, ShortString), Arc<Policy>>,
}

impl Policies {
    /// Adds a policy, in place of the one of its name.
    pub(in crate::broker) fn set(&mut self, kind: PolicyKind, policy: Arc<Policy>) {
        self.clear(kind, &policy.name);
        let Ranked { by_name, by_rank } = self.of_mut(kind);
        by_rank.insert((Reverse(policy.priority), policy.name.clone()), Arc::clone(&policy));
        by_name.insert(policy.name.clone(), policy);
    }

    pub(in crate::broker) fn clear(&mut self, kind: PolicyKind, name: &ShortString) {
        let Ranked { by_name, by_rank } = self.of_mut(kind);
        if let Some(policy) = by_name.remove(name) {
            by_rank.remove(&(Reverse(policy.priority), policy.name.clone()));
        }
    }

    pub(in crate::broker) fn find(
        &self,
        kind: PolicyKind,
        name: &ShortString,
    ) -> Option<&Arc<Policy>> {
        self.of(kind).by_name.get(name)
    }

    /// All of one kind, by name.
    pub(in crate::broker) fn all(&self, kind: PolicyKind) -> impl Iterator<Item = &Arc<Policy>> {
        self.of(kind).by_name.values()
    }

    /// What holds for a queue.
    pub(in crate::broker) fn for_queue(&self, name: &[u8], queue: QueueKind) -> Rules {
        self.rules(|policy| policy.is_for_queue(name, queue))
    }

    /// What holds for an exchange.
    pub(in crate::broker) fn for_exchange(&self, name: &[u8]) -> Rules {
        self.rules(|policy| policy.is_for_exchange(name))
    }

    fn rules(&self, holds: impl Fn(&Policy) -> bool) -> Rules {
        let first = |ranked: &Ranked| ranked.by_rank.values().find(|policy| holds(policy)).cloned();
        Rules { policy: first(&self.user), operator_policy: first(&self.operator) }
    }

    fn of(&self, kind: PolicyKind) -> &Ranked {
        match kind {
            PolicyKind::User => &self.user,
            PolicyKind::Operator => &self.operator,
        }
    }

    fn of_mut(&mut self, kind: PolicyKind) -> &mut Ranked {
        match kind {
            PolicyKind::User => &mut self.user,
            PolicyKind::Operator => &mut self.operator,
        }
    }
}
