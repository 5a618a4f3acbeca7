//! What a user may be allowed, and how much of it.

use std::{collections::BTreeMap, fmt};

/// What a permission grants on exchanges and queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// Declare and delete.
    Configure,
    /// Publish to, and bind as a destination.
    Write,
    /// Consume, get, purge, and bind as a source.
    Read,
}

/// Shown as RabbitMQ 4.x begins its refusals: `configure access to queue …`.
impl fmt::Display for Right {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Configure => "configure",
            Self::Write => "write",
            Self::Read => "read",
        })
    }
}

/// What is limited, of a user or of a virtual host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// `max-connections`, of both.
    Connections,
    /// `max-channels`, of a user.
    Channels,
    /// `max-queues`, of a virtual host.
    Queues,
    /// `max-message-rate`, of both: messages a second that may be published.
    MessageRate,
    /// `max-byte-rate`, of both: octets of bodies a second that may be published.
    OctetRate,
}

impl Limit {
    pub const ALL: [Self; 5] =
        [Self::Connections, Self::Channels, Self::Queues, Self::MessageRate, Self::OctetRate];

    /// The word that tools have for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "max-connections",
            Self::Channels => "max-channels",
            Self::Queues => "max-queues",
            Self::MessageRate => "max-message-rate",
            Self::OctetRate => "max-byte-rate",
        }
    }

    /// The limit of that word.
    pub fn parse(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|limit| limit.as_str().as_bytes() == word)
    }
}

/// The limits that were set. A negative one is none, and is kept as it was set (RabbitMQ 3.10).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits(BTreeMap<Limit, i64>);

impl Limits {
    /// Sets a limit, or with `None` takes it away.
    pub fn set(&mut self, limit: Limit, value: Option<i64>) {
        match value {
            Some(value) => self.0.insert(limit, value),
            None => self.0.remove(&limit),
        };
    }

    /// How much is allowed at most, if it is limited.
    pub fn most(&self, limit: Limit) -> Option<u64> {
        self.0.get(&limit).and_then(|value| u64::try_from(*value).ok())
    }

    /// All that were set, in a fixed order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Limit, i64)> {
        self.0.iter().map(|(limit, value)| (*limit, *value))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Limit, i64)> for Limits {
    fn from_iter<I: IntoIterator<Item = (Limit, i64)>>(limits: I) -> Self {
        Self(limits.into_iter().collect())
    }
}

/// How a rate limit treats a burst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RateAlgorithm {
    /// A bucket that fills with tokens at the rate, one second's worth at most: who was quiet may
    /// send so much at once.
    #[default]
    TokenBucket,
    /// A bucket that leaks at the rate: what comes is spread evenly, and nothing is saved up.
    LeakyBucket,
}

/// Rates of each connection, and how all rates are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimits {
    pub algorithm: RateAlgorithm,
    /// Messages a second of one connection.
    pub messages: Option<u64>,
    /// Octets of bodies a second of one connection.
    pub octets: Option<u64>,
}
