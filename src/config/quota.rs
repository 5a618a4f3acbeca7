//! How much the clients of a node may have: connections, consumers, time, and speed.

use crate::model::{RateAlgorithm, RateLimits};

use super::file::{Refused, number};

/// What a node grants its clients. None is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Connections that may be open at a time. `connection_max`
    pub connections: Option<u64>,
    /// Consumers of one channel. `consumer_max_per_channel`
    pub consumers_per_channel: Option<usize>,
    /// Milliseconds that a delivery may be unacknowledged. `consumer_timeout`
    pub consumer_timeout_ms: Option<u64>,
    /// How fast one connection may publish, and how rates are kept, those of users and virtual
    /// hosts too. `rate_limit.connection.messages`, `rate_limit.connection.bytes`,
    /// `rate_limit.algorithm`
    pub rates: RateLimits,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            connections: None,
            consumers_per_channel: None,
            consumer_timeout_ms: Some(1_800_000),
            rates: RateLimits::default(),
        }
    }
}

/// Takes one setting, if it is one of these.
pub(super) fn set(quota: &mut Quota, key: &str, value: &str) -> Result<(), Refused> {
    match key {
        "connection_max" | "max_connections" => quota.connections = most(value)?,
        "consumer_max_per_channel" => {
            let most = most(value)?;
            quota.consumers_per_channel = most.and_then(|most| usize::try_from(most).ok());
        }
        "consumer_timeout" if matches!(value, "infinity" | "undefined" | "false") => {
            quota.consumer_timeout_ms = None;
        }
        "consumer_timeout" => {
            quota.consumer_timeout_ms = Some(number(value, 1.., "milliseconds or infinity")?);
        }
        "rate_limit.connection.messages" => quota.rates.messages = most(value)?,
        "rate_limit.connection.bytes" => quota.rates.octets = most(value)?,
        "rate_limit.algorithm" => {
            quota.rates.algorithm = match value {
                "token_bucket" => RateAlgorithm::TokenBucket,
                "leaky_bucket" => RateAlgorithm::LeakyBucket,
                _ => return Err(Refused::Value("token_bucket or leaky_bucket")),
            };
        }
        _ => return Err(Refused::Key),
    }
    Ok(())
}

fn most(value: &str) -> Result<Option<u64>, Refused> {
    if value == "infinity" {
        return Ok(None);
    }
    number(value, 0.., "a number or infinity").map(Some)
}
