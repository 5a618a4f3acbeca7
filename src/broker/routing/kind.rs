//! The types of exchange, by their names.

/// The types of exchange: the four of AMQP, and those that RabbitMQ has as plugins, or has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExchangeKind {
    Direct,
    Fanout,
    Topic,
    Headers,
    /// One destination by the hash of a key, in proportion to the bindings' weights.
    ConsistentHash,
    /// One binding by the hash of the routing key, modulo their number.
    ModulusHash,
    /// Any one binding.
    Random,
    /// Any one queue of this node (RabbitMQ 4.0).
    LocalRandom,
    /// All destinations; new ones get the last messages, too.
    RecentHistory,
    /// Another type's rule, once a message's delay is over.
    Delayed,
    /// All destinations, of messages with equal keys only the first.
    Deduplication,
}

const NAMES: &[(ExchangeKind, &str)] = &[
    (ExchangeKind::Direct, "direct"),
    (ExchangeKind::Fanout, "fanout"),
    (ExchangeKind::Topic, "topic"),
    (ExchangeKind::Headers, "headers"),
    (ExchangeKind::ConsistentHash, "x-consistent-hash"),
    (ExchangeKind::ModulusHash, "x-modulus-hash"),
    (ExchangeKind::Random, "x-random"),
    (ExchangeKind::LocalRandom, "x-local-random"),
    (ExchangeKind::RecentHistory, "x-recent-history"),
    (ExchangeKind::Delayed, "x-delayed-message"),
    (ExchangeKind::Deduplication, "x-message-deduplication"),
];

impl ExchangeKind {
    /// The type of that name; names are case-sensitive.
    pub fn parse(name: &[u8]) -> Option<Self> {
        NAMES.iter().find(|(_, known)| known.as_bytes() == name).map(|(kind, _)| *kind)
    }

    /// The type's name.
    pub fn as_str(self) -> &'static str {
        let (_, name) = NAMES[self as usize];
        name
    }

    /// All types, by their order here.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(kind, _)| *kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found_by_its_name() {
        for kind in ExchangeKind::all() {
            assert_eq!(ExchangeKind::parse(kind.as_str().as_bytes()), Some(kind));
        }
        assert_eq!(ExchangeKind::parse(b"Direct"), None);
    }
}
