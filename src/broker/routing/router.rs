//! One exchange's bindings, arranged for its type.

use std::collections::HashMap;

use super::{
    Keys,
    binding::Binding,
    choices::Choices,
    circumstances::Circumstances,
    consistent::Weights,
    deduplication::Deduplication,
    delayed,
    hash::Seeded,
    headers::{Headers, Matchers},
    plan::Plan,
    recent_history::RecentHistory,
    targets::{Basis, Found, Target, Targets},
    topic::Trie,
};
use crate::model::{Message, QueueId, RoutingKey};

/// The bindings whose source is one exchange.
#[derive(Debug)]
pub(super) enum Router {
    /// The default exchange has no bindings: every queue is bound to it by its name.
    Names,
    Direct(HashMap<RoutingKey, Targets, Seeded>),
    Fanout(Targets),
    Topic(Trie),
    Headers(Matchers),
    ConsistentHash(Weights),
    ModulusHash(Choices),
    Random(Choices),
    RecentHistory(RecentHistory),
    Deduplication(Deduplication),
    /// The annex keeps messages until they are due; the rule is another's.
    Delayed(Option<QueueId>, Box<Self>),
}

impl Router {
    /// A router without bindings; `annexes` are those that the plan asks for, in its order.
    pub(super) fn new(plan: &Plan, annexes: &[QueueId]) -> Self {
        let annex = annexes.first().copied();
        match plan {
            Plan::Direct => Self::Direct(HashMap::default()),
            Plan::Fanout => Self::Fanout(Targets::default()),
            Plan::Topic => Self::Topic(Trie::new()),
            Plan::Headers => Self::Headers(Matchers::default()),
            Plan::ConsistentHash(by) => Self::ConsistentHash(Weights::new(by.clone())),
            Plan::ModulusHash => Self::ModulusHash(Choices::default()),
            Plan::Random | Plan::LocalRandom => Self::Random(Choices::default()),
            Plan::RecentHistory(_) => {
                Self::RecentHistory(RecentHistory { targets: Targets::default(), annex })
            }
            Plan::Deduplication(cache) => Self::Deduplication(Deduplication {
                targets: Targets::default(),
                annex,
                persists: cache.persists,
            }),
            Plan::Delayed(rule) => {
                let rest = annexes.get(1..).unwrap_or_default();
                Self::Delayed(annex, Box::new(Self::new(rule, rest)))
            }
        }
    }

    pub(super) fn add(&mut self, binding: &Binding, target: Target) {
        match self {
            Self::Names => {}
            Self::Direct(keys) => {
                keys.entry(binding.routing_key.clone()).or_default().add(target);
            }
            Self::Fanout(targets) => targets.add(target),
            Self::Topic(trie) => trie.add(&binding.routing_key, target),
            Self::Headers(matchers) => matchers.add(&binding.arguments, target),
            Self::ConsistentHash(weights) => weights.add(binding, target),
            Self::ModulusHash(choices) | Self::Random(choices) => choices.add(binding, target),
            Self::RecentHistory(history) => history.targets.add(target),
            Self::Deduplication(deduplication) => deduplication.targets.add(target),
            Self::Delayed(_, rule) => rule.add(binding, target),
        }
    }

    pub(super) fn remove(&mut self, binding: &Binding, target: Target) {
        match self {
            Self::Names => {}
            Self::Direct(keys) => {
                let Some(targets) = keys.get_mut(&**binding.routing_key) else { return };
                targets.remove(target);
                if targets.is_empty() {
                    keys.remove(&**binding.routing_key);
                }
            }
            Self::Fanout(targets) => targets.remove(target),
            Self::Topic(trie) => trie.remove(&binding.routing_key, target),
            Self::Headers(matchers) => matchers.remove(&binding.arguments, target),
            Self::ConsistentHash(weights) => weights.remove(binding),
            Self::ModulusHash(choices) | Self::Random(choices) => choices.remove(binding),
            Self::RecentHistory(history) => history.targets.remove(target),
            Self::Deduplication(deduplication) => deduplication.targets.remove(target),
            Self::Delayed(_, rule) => rule.remove(binding, target),
        }
    }

    /// Finds what the bindings of this exchange choose. `headers` is decoded once, when asked for.
    pub(super) fn find(
        &self,
        message: &Message,
        keys: Keys<'_>,
        headers: &mut Option<Headers>,
        circumstances: &mut dyn Circumstances,
        found: &mut Found<'_>,
    ) {
        match self {
            Self::Names => {}
            Self::Direct(bound) => {
                for targets in keys.filter_map(|key| bound.get(key)) {
                    found.take(targets);
                }
            }
            Self::Fanout(targets) => found.take(targets),
            Self::Topic(trie) => {
                for key in keys {
                    trie.find(key, found);
                }
            }
            Self::Headers(matchers) if matchers.is_empty() => {}
            Self::Headers(matchers) => {
                found.depends_on(Basis::Headers);
                matchers.find(headers.get_or_insert_with(|| Headers::of(message)), found);
            }
            Self::ConsistentHash(weights) => weights.find(message, headers, found),
            Self::ModulusHash(choices) => choices.find_by_modulus(keys, found),
            Self::Random(choices) => choices.find_any(circumstances, found),
            Self::RecentHistory(history) => history.find(message, headers, found),
            Self::Deduplication(deduplication) => {
                deduplication.find(message, headers, circumstances, found);
            }
            Self::Delayed(annex, rule) => {
                let known = headers.get_or_insert_with(|| Headers::of(message));
                if !known.is_empty() {
                    found.depends_on(Basis::Headers);
                }
                match (annex, delayed::delay(known)) {
                    (Some(annex), Some(_)) => found.take_one(Target::Queue(*annex)),
                    _ => rule.find(message, keys, headers, circumstances, found),
                }
            }
        }
    }
}
