//! What holds for a queue or an exchange when policies and arguments say different things.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::Policy;
use crate::model::{
    DELIVERY_LIMIT, DeadLetterOptions, ExchangeName, ExchangeOptions, FieldTable, FieldValue,
    LONGEST_MS, Overflow, QueueKind, QueueOptions, RoutingKey, ShortString,
};

/// The policies that hold for one queue or exchange: one of each kind at most.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::broker) struct Rules {
    pub(in crate::broker) policy: Option<Arc<Policy>>,
    pub(in crate::broker) operator_policy: Option<Arc<Policy>>,
}

impl Rules {
    /// Whether no policy holds.
    pub(in crate::broker) fn is_empty(&self) -> bool {
        self.policy.is_none() && self.operator_policy.is_none()
    }

    /// What both policies say together, by key.
    pub(in crate::broker) fn definition(&self) -> FieldTable {
        let mut merged = BTreeMap::<ShortString, FieldValue>::new();
        for policy in [&self.policy, &self.operator_policy].into_iter().flatten() {
            for (key, value) in &policy.definition {
                let value = match merged.get(key) {
                    Some(users) => overrule(key, users, value),
                    None => value.clone(),
                };
                merged.insert(key.clone(), value);
            }
        }
        FieldTable::from_pairs(merged)
    }

    /// What holds for a queue whose `arguments` ask for `asked`.
    pub(in crate::broker) fn queue(
        &self,
        asked: &QueueOptions,
        arguments: &FieldTable,
    ) -> QueueOptions {
        if self.is_empty() {
            return asked.clone();
        }
        let definition = &self.definition();
        let kind = asked.kind;
        let overflow = overflow(kind, arguments, definition);
        QueueOptions {
            kind,
            message_ttl: least(asked.message_ttl, duration(definition, "message-ttl")),
            expires: least(asked.expires, duration(definition, "expires")),
            max_length: least(asked.max_length, count(definition, "max-length")),
            max_length_bytes: least(asked.max_length_bytes, count(definition, "max-length-bytes")),
            overflow,
            dead_letter: dead_letter(asked, overflow, arguments, definition),
            max_priority: asked.max_priority,
            single_active_consumer: asked.single_active_consumer,
            deduplicates: asked.deduplicates,
            selection: asked.selection,
            delivery_limit: delivery_limit(kind, arguments, definition),
            consumer_timeout: least(
                asked.consumer_timeout,
                duration(definition, "consumer-timeout"),
            ),
        }
    }

    /// What holds for an exchange whose arguments ask for `asked`.
    pub(in crate::broker) fn exchange(&self, asked: &ExchangeOptions) -> ExchangeOptions {
        let mut options = asked.clone();
        if options.alternate.is_none() && !self.is_empty() {
            options.alternate = exchange(&self.definition(), "alternate-exchange");
        }
        options
    }
}

/// What counts of a key that both policies have. A user's policy never loosens an operator's limit
/// (RabbitMQ 4.x).
fn overrule(key: &[u8], users: &FieldValue, operators: &FieldValue) -> FieldValue {
    let (Some(user), Some(operator)) = (users.as_integer(), operators.as_integer()) else {
        return operators.clone();
    };
    let is_users = match key {
        b"message-ttl"
        | b"expires"
        | b"max-length"
        | b"max-length-bytes"
        | b"max-in-memory-length"
        | b"max-in-memory-bytes" => user < operator,
        b"delivery-limit" => stricter(user, operator) == user,
        b"target-group-size" => user > operator,
        _ => false,
    };
    if is_users { users.clone() } else { operators.clone() }
}

/// Of two limits of deliveries the lower, unless one is none at all, which is below zero
/// (RabbitMQ 4.x).
fn stricter(one: i64, other: i64) -> i64 {
    if one < 0 || other < 0 { one.max(other) } else { one.min(other) }
}

fn least<T: Ord>(argument: Option<T>, policy: Option<T>) -> Option<T> {
    match (argument, policy) {
        (Some(argument), Some(policy)) => Some(argument.min(policy)),
        (one, None) | (None, one) => one,
    }
}

/// The argument counts before the policy, but on a quorum queue (RabbitMQ 3.10).
fn overflow(kind: QueueKind, arguments: &FieldTable, definition: &FieldTable) -> Overflow {
    let argument = text(arguments, "x-overflow");
    let policy = text(definition, "overflow");
    let word = match kind {
        QueueKind::Classic => argument.or(policy),
        QueueKind::Quorum => policy.or(argument),
    };
    match (word, kind) {
        (Some(b"reject-publish"), _) => Overflow::RejectPublish,
        (Some(b"reject-publish-dlx"), QueueKind::Classic) => Overflow::RejectPublishDeadLetter,
        _ => Overflow::DropHead,
    }
}

/// The argument counts before the policy, for each of the three parts by itself.
fn dead_letter(
    asked: &QueueOptions,
    overflow: Overflow,
    arguments: &FieldTable,
    definition: &FieldTable,
) -> Option<DeadLetterOptions> {
    let asked = asked.dead_letter.as_ref();
    let exchange = match asked {
        Some(asked) => asked.exchange.clone(),
        None => exchange(definition, "dead-letter-exchange")?,
    };
    let argument = asked.and_then(|asked| asked.routing_key.clone());
    let policy = || short(definition, "dead-letter-routing-key").map(RoutingKey::from);
    let routing_key = argument.or_else(policy);
    let strategy = text(arguments, "x-dead-letter-strategy");
    let strategy = strategy.or_else(|| text(definition, "dead-letter-strategy"));
    let at_least_once = strategy == Some(b"at-least-once") && overflow == Overflow::RejectPublish;
    Some(DeadLetterOptions { exchange, routing_key, at_least_once })
}

fn delivery_limit(kind: QueueKind, arguments: &FieldTable, definition: &FieldTable) -> Option<u32> {
    if kind == QueueKind::Classic {
        return None;
    }
    let argument = integer(arguments, "x-delivery-limit");
    let limit = match (argument, integer(definition, "delivery-limit")) {
        (Some(argument), Some(policy)) => stricter(argument, policy),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => DELIVERY_LIMIT.into(),
    };
    match limit {
        ..0 => None,
        limit => Some(u32::try_from(limit).unwrap_or(u32::MAX)),
    }
}

/// Policies may ask for more than ten years: it makes no difference.
fn duration(definition: &FieldTable, key: &str) -> Option<Duration> {
    let milliseconds = integer(definition, key)?.min(LONGEST_MS);
    u64::try_from(milliseconds).ok().map(Duration::from_millis)
}

fn count(definition: &FieldTable, key: &str) -> Option<u64> {
    u64::try_from(integer(definition, key)?).ok()
}

fn exchange(definition: &FieldTable, key: &str) -> Option<ExchangeName> {
    short(definition, key).map(ExchangeName::from)
}

/// A name too long for anything names nothing.
fn short(definition: &FieldTable, key: &str) -> Option<ShortString> {
    let name = definition.lookup(key)?.as_text()?;
    ShortString::new(name.as_bytes().clone()).ok()
}

fn integer(table: &FieldTable, key: &str) -> Option<i64> {
    table.lookup(key)?.as_integer()
}

fn text<'a>(table: &'a FieldTable, key: &str) -> Option<&'a [u8]> {
    table.lookup(key)?.as_text().map(|text| &**text)
}
