//! x-arguments parsed once into options, with RabbitMQ's checks in RabbitMQ's order.

use std::time::Duration;

use super::{
    ArgumentFault, ConsumerOptions, DeadLetterOptions, ExchangeName, ExchangeOptions, FieldTable,
    FieldValue, Overflow, QueueKind, QueueOptions, Refusal, Resource, RoutingKey, Selection,
    ShortString,
};

/// Ten years in milliseconds: no time to live and no lease may be longer.
pub const LONGEST_MS: i64 = 315_360_000_000;

/// What a quorum queue grants a message without `x-delivery-limit` (RabbitMQ 4.0).
pub const DELIVERY_LIMIT: u32 = 20;

/// Leveret's own.
const SELECTION: &str = "x-consumer-selection";

/// The arguments of a classic queue, in the order in which a second declaration is compared.
const CLASSIC: &[&str] = &[
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    "x-queue-type",
    "x-queue-master-locator",
    "x-queue-leader-locator",
    SELECTION,
];

/// The arguments of a quorum queue, in the order in which a second declaration is compared.
const QUORUM: &[&str] = &[
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-overflow",
    "x-single-active-consumer",
    "x-queue-type",
    "x-quorum-initial-group-size",
    "x-delivery-limit",
    "x-message-ttl",
    "x-queue-leader-locator",
    SELECTION,
];

/// The arguments that only streams have; any other unknown argument is accepted by every queue.
const STREAM_ONLY: &[&str] = &[
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-stream-filter-size-bytes",
    "x-initial-cluster-size",
];

type Check = fn(&FieldValue) -> Result<(), ArgumentFault>;

/// How the value of each argument is checked, in the order of the checks.
const CHECKS: &[(&str, Check)] = &[
    ("x-expires", |value| nonzero(value).and_then(|_| span(value))),
    ("x-message-ttl", span),
    ("x-dead-letter-routing-key", |value| text(value).map(drop)),
    ("x-dead-letter-strategy", |value| {
        word(value, &["at-most-once", "at-least-once"], "invalid_dlx_strategy")
    }),
    ("x-max-length", |value| count(value).map(drop)),
    ("x-max-length-bytes", |value| count(value).map(drop)),
    ("x-max-in-memory-length", |value| count(value).map(drop)),
    ("x-max-in-memory-bytes", |value| count(value).map(drop)),
    ("x-max-priority", priority),
    ("x-overflow", |value| {
        word(value, &["drop-head", "reject-publish", "reject-publish-dlx"], "invalid_overflow")
    }),
    ("x-queue-mode", queue_mode),
    ("x-queue-version", queue_version),
    ("x-single-active-consumer", boolean),
    ("x-quorum-initial-group-size", |value| nonzero(value).map(drop)),
    ("x-queue-master-locator", |value| {
        word(value, &["min-masters", "client-local", "random"], "invalid_queue_locator_arg")
    }),
    ("x-queue-leader-locator", |value| {
        let words = &["client-local", "balanced", "random", "least-leaders"];
        word(value, words, "invalid_queue_locator_arg")
    }),
    (SELECTION, |value| Selection::parse(value).map(drop)),
];

impl Selection {
    fn parse(value: &FieldValue) -> Result<Self, ArgumentFault> {
        match text(value)? {
            b"round-robin" => Ok(Self::RoundRobin),
            b"random" => Ok(Self::Random),
            b"least-loaded" => Ok(Self::LeastLoaded),
            other => Err(unsupported("consumer selection", other)),
        }
    }
}

impl QueueKind {
    /// The kind that `x-queue-type` names; without it, or with an empty one, classic.
    ///
    /// Streams are absent here and refused like any word that names no type.
    pub fn parse(queue: &Resource, arguments: &FieldTable) -> Result<Self, Refusal> {
        let Some(value) = arguments.lookup("x-queue-type") else {
            return Ok(Self::Classic);
        };
        let invalid = |fault| Err(invalid(queue, "x-queue-type", fault));
        let name = match text(value) {
            Ok(name) => name,
            Err(fault) => return invalid(fault),
        };
        match name {
            b"classic" | b"" | b"undefined" => Ok(Self::Classic),
            b"quorum" => Ok(Self::Quorum),
            _ => invalid(unsupported("queue type", name)),
        }
    }

    /// The word that `x-queue-type` has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
        }
    }

    /// RabbitMQ's name of the type, as its reply texts have it.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Classic => "rabbit_classic_queue",
            Self::Quorum => "rabbit_quorum_queue",
        }
    }

    /// The arguments that queues of this kind have, in the order in which they are compared.
    pub fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Classic => CLASSIC,
            Self::Quorum => QUORUM,
        }
    }
}

impl QueueOptions {
    /// What `arguments` ask of a new `queue`.
    pub fn parse(queue: &Resource, arguments: &FieldTable) -> Result<Self, Refusal> {
        exchange_name(queue, arguments, "x-dead-letter-exchange")?;
        let kind = QueueKind::parse(queue, arguments)?;
        check_values(queue, arguments, kind)?;
        check_known(queue, arguments, kind)?;
        Ok(Self {
            kind,
            message_ttl: duration(arguments, "x-message-ttl"),
            expires: duration(arguments, "x-expires"),
            max_length: number(arguments, "x-max-length"),
            max_length_bytes: number(arguments, "x-max-length-bytes"),
            overflow: overflow(arguments, kind),
            dead_letter: dead_letter(queue, arguments, kind)?,
            max_priority: number(arguments, "x-max-priority"),
            single_active_consumer: arguments
                .lookup("x-single-active-consumer")
                .and_then(FieldValue::as_boolean)
                .unwrap_or(false),
            delivery_limit: delivery_limit(arguments, kind),
            // RabbitMQ 3.12 to 4.2 does not check it, nor compare it, on any type of queue.
            consumer_timeout: duration(arguments, "x-consumer-timeout"),
            deduplicates: deduplicates(arguments),
            selection: arguments
                .lookup(SELECTION)
                .and_then(|value| Selection::parse(value).ok())
                .unwrap_or_default(),
        })
    }
}

impl ExchangeOptions {
    /// What `arguments` ask of a new `exchange`.
    pub fn parse(exchange: &Resource, arguments: &FieldTable) -> Result<Self, Refusal> {
        Ok(Self { alternate: exchange_name(exchange, arguments, "alternate-exchange")? })
    }
}

impl ConsumerOptions {
    /// What `arguments` ask of a new consumer of `queue`.
    pub fn parse(
        queue: &Resource,
        kind: QueueKind,
        arguments: &FieldTable,
    ) -> Result<Self, Refusal> {
        let priority = match arguments.lookup("x-priority") {
            Some(value) => integer(value).map_err(|fault| invalid(queue, "x-priority", fault))?,
            None => 0,
        };
        if arguments.lookup("x-stream-offset").is_some() {
            return Err(not_for_type(queue, "x-stream-offset", kind));
        }
        Ok(Self { priority })
    }
}

fn check_values(queue: &Resource, table: &FieldTable, kind: QueueKind) -> Result<(), Refusal> {
    let known = CHECKS.iter().filter(|(name, _)| kind.arguments().contains(name));
    for (name, check) in known {
        let Some(value) = table.lookup(name) else { continue };
        check(value).map_err(|fault| invalid(queue, name, fault))?;
        if *name == "x-dead-letter-routing-key" && table.lookup("x-dead-letter-exchange").is_none()
        {
            return Err(invalid(queue, name, ArgumentFault::RoutingKeyWithoutExchange));
        }
    }
    Ok(())
}

/// Refuses an argument that belongs to queues of another kind, the client's first.
fn check_known(queue: &Resource, table: &FieldTable, kind: QueueKind) -> Result<(), Refusal> {
    for (name, _) in table {
        let is = |known: &[&str]| known.iter().any(|known| name == known);
        if !is(kind.arguments()) && (is(CLASSIC) || is(QUORUM) || is(STREAM_ONLY)) {
            return Err(not_for_type(queue, &name.text(), kind));
        }
    }
    Ok(())
}

/// A name too long for an exchange is one that no exchange has: as good as none.
fn exchange_name(
    resource: &Resource,
    arguments: &FieldTable,
    argument: &'static str,
) -> Result<Option<ExchangeName>, Refusal> {
    match arguments.lookup(argument) {
        None => Ok(None),
        Some(FieldValue::LongString(name)) => {
            Ok(ExchangeName::new(name.detached().as_bytes().clone()).ok())
        }
        Some(other) => Err(Refusal::InvalidArgumentType {
            resource: resource.clone(),
            argument: ShortString::from_static(argument),
            type_name: other.type_name(),
        }),
    }
}

fn dead_letter(
    queue: &Resource,
    arguments: &FieldTable,
    kind: QueueKind,
) -> Result<Option<DeadLetterOptions>, Refusal> {
    let Some(exchange) = exchange_name(queue, arguments, "x-dead-letter-exchange")? else {
        return Ok(None);
    };
    let routing_key = arguments
        .lookup("x-dead-letter-routing-key")
        .and_then(|value| RoutingKey::new(cut(text(value).ok()?).to_vec().into()).ok());
    let wants = |name, word| arguments.lookup(name).is_some_and(|value| text(value) == Ok(word));
    let at_least_once = kind == QueueKind::Quorum
        && wants("x-dead-letter-strategy", b"at-least-once")
        && wants("x-overflow", b"reject-publish");
    Ok(Some(DeadLetterOptions { exchange, routing_key, at_least_once }))
}

fn overflow(arguments: &FieldTable, kind: QueueKind) -> Overflow {
    match (arguments.lookup("x-overflow").and_then(|value| text(value).ok()), kind) {
        (Some(b"reject-publish"), _) => Overflow::RejectPublish,
        (Some(b"reject-publish-dlx"), QueueKind::Classic) => Overflow::RejectPublishDeadLetter,
        _ => Overflow::DropHead,
    }
}

/// RabbitMQ does not check this argument's value: what is no number counts as absent.
fn delivery_limit(arguments: &FieldTable, kind: QueueKind) -> Option<u32> {
    match (kind, arguments.lookup("x-delivery-limit").and_then(FieldValue::as_integer)) {
        (QueueKind::Classic, _) => None,
        (QueueKind::Quorum, None) => Some(DELIVERY_LIMIT),
        (QueueKind::Quorum, Some(..0)) => None,
        (QueueKind::Quorum, Some(limit)) => Some(u32::try_from(limit).unwrap_or(u32::MAX)),
    }
}

/// The plugin does not check this argument's value, and takes the text for the boolean.
fn deduplicates(arguments: &FieldTable) -> bool {
    let value = arguments.lookup("x-message-deduplication");
    value.is_some_and(|value| {
        value.as_boolean() == Some(true) || value.as_text().is_some_and(|text| **text == *b"true")
    })
}

fn duration(arguments: &FieldTable, name: &str) -> Option<Duration> {
    number(arguments, name).map(Duration::from_millis)
}

fn number<T: TryFrom<i64>>(arguments: &FieldTable, name: &str) -> Option<T> {
    T::try_from(arguments.lookup(name)?.as_integer()?).ok()
}

fn integer(value: &FieldValue) -> Result<i64, ArgumentFault> {
    value.as_integer().ok_or_else(|| ArgumentFault::NotAnInteger(value.type_name()))
}

fn count(value: &FieldValue) -> Result<i64, ArgumentFault> {
    match integer(value)? {
        negative @ ..0 => Err(ArgumentFault::Negative(negative)),
        count => Ok(count),
    }
}

fn nonzero(value: &FieldValue) -> Result<i64, ArgumentFault> {
    match count(value)? {
        0 => Err(ArgumentFault::Zero),
        count => Ok(count),
    }
}

fn span(value: &FieldValue) -> Result<(), ArgumentFault> {
    match count(value)? {
        ..=LONGEST_MS => Ok(()),
        longer => Err(ArgumentFault::TooLarge(longer)),
    }
}

fn priority(value: &FieldValue) -> Result<(), ArgumentFault> {
    match count(value)? {
        ..=255 => Ok(()),
        higher => Err(ArgumentFault::AboveMaximum(higher)),
    }
}

fn queue_mode(value: &FieldValue) -> Result<(), ArgumentFault> {
    match text(value)? {
        b"default" | b"lazy" => Ok(()),
        other => Err(unsupported("queue mode", other)),
    }
}

fn queue_version(value: &FieldValue) -> Result<(), ArgumentFault> {
    match count(value)? {
        1 | 2 => Ok(()),
        other => Err(unsupported("queue version", other.to_string().as_bytes())),
    }
}

fn boolean(value: &FieldValue) -> Result<(), ArgumentFault> {
    value.as_boolean().map(drop).ok_or_else(|| ArgumentFault::UnacceptableType(value.type_name()))
}

fn word(value: &FieldValue, words: &[&str], fault: &'static str) -> Result<(), ArgumentFault> {
    let given = text(value)?;
    if words.iter().any(|word| word.as_bytes() == given) {
        return Ok(());
    }
    Err(ArgumentFault::NotAllowed(fault))
}

fn text(value: &FieldValue) -> Result<&[u8], ArgumentFault> {
    match value.as_text() {
        Some(text) => Ok(text),
        None => Err(ArgumentFault::UnacceptableType(value.type_name())),
    }
}

/// The fault's text need not be whole: a reply text is no longer than this either.
fn unsupported(what: &'static str, value: &[u8]) -> ArgumentFault {
    let value = ShortString::new(cut(value).to_vec().into()).expect("cut to 255 octets");
    ArgumentFault::Unsupported { what, value }
}

fn cut(text: &[u8]) -> &[u8] {
    &text[..text.len().min(255)]
}

fn invalid(resource: &Resource, argument: &'static str, fault: ArgumentFault) -> Refusal {
    let argument = ShortString::from_static(argument);
    Refusal::InvalidArgument { resource: resource.clone(), argument, fault }
}

fn not_for_type(resource: &Resource, argument: &str, kind: QueueKind) -> Refusal {
    Refusal::ArgumentNotForType {
        resource: resource.clone(),
        argument: ShortString::try_from(argument).expect("the known arguments have short names"),
        kind: kind.type_name(),
    }
}

#[cfg(test)]
mod tests;
