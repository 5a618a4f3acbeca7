//! One exchange's bindings, arranged for its type: the four types of AMQP, and the default
//! exchange.

use std::collections::HashMap;

use crate::model::{Message, RoutingKey};

use super::{
    Keys,
    binding::Binding,
    hash::Seeded,
    headers::{Headers, Matchers},
    targets::{Found, Target, Targets},
    topic::Trie,
};

/// The types of exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExchangeKind {
    Direct,
    Fanout,
    Topic,
    Headers,
}

impl ExchangeKind {
    /// The type of that name; names are case-sensitive.
    pub fn parse(name: &[u8]) -> Option<Self> {
        match name {
            b"direct" => Some(Self::Direct),
            b"fanout" => Some(Self::Fanout),
            b"topic" => Some(Self::Topic),
            b"headers" => Some(Self::Headers),
            _ => None,
        }
    }

    /// The type's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
        }
    }
}

/// The bindings whose source is one exchange.
#[derive(Debug)]
pub(super) enum Router {
    /// The default exchange has no bindings: every queue is bound to it by its name.
    Names,
    Direct(HashMap<RoutingKey, Targets, Seeded>),
    Fanout(Targets),
    Topic(Trie),
    Headers(Matchers),
}

impl Router {
    pub(super) fn new(kind: ExchangeKind) -> Self {
        match kind {
            ExchangeKind::Direct => Self::Direct(HashMap::default()),
            ExchangeKind::Fanout => Self::Fanout(Targets::default()),
            ExchangeKind::Topic => Self::Topic(Trie::new()),
            ExchangeKind::Headers => Self::Headers(Matchers::default()),
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
        }
    }

    /// Whether the way of a message depends on its headers here.
    pub(super) fn asks_headers(&self) -> bool {
        match self {
            Self::Headers(matchers) => !matchers.is_empty(),
            Self::Names | Self::Direct(_) | Self::Fanout(_) | Self::Topic(_) => false,
        }
    }

    /// Finds what the bindings of this exchange choose. `headers` is decoded once, when asked for.
    pub(super) fn find(
        &self,
        message: &Message,
        keys: Keys<'_>,
        headers: &mut Option<Headers>,
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
                matchers.find(headers.get_or_insert_with(|| Headers::of(message)), found);
            }
        }
    }
}
