//! The keys of a policy's definition: what values they take, who may set them, and which queues
//! have them.

use std::collections::BTreeMap;

use super::{PolicyFault, PolicyKind};
use crate::{
    broker::Pattern,
    model::{FieldTable, FieldValue, QueueKind, ShortString},
};

/// What RabbitMQ knows of a key.
struct Key {
    name: &'static str,
    check: Check,
    /// Operator policies may have it.
    operator: bool,
    classic: bool,
    quorum: bool,
}

/// What a key takes, and what RabbitMQ says that another value is not.
#[derive(Clone, Copy)]
enum Check {
    Text(&'static str),
    Word(&'static [&'static str], &'static str),
    /// An integer from one number to another.
    Within(i64, i64, &'static str),
    Age,
    MasterLocator,
    /// Checked together: `ha-*`.
    Mirroring,
    /// Checked together: `federation-upstream*`.
    Federation,
}

use Check::{Age, Federation, MasterLocator, Mirroring, Text, Within, Word};

const MOST: i64 = i64::MAX;
const NODES: &[&str] = &["client-local", "balanced", "random", "least-leaders"];

/// All keys. Which queues do not have them follows RabbitMQ 3.10, and 4.x for what is newer.
const KEYS: &[Key] = &[
    key("alternate-exchange", Text("alternate exchange name")),
    key("consumer-timeout", Within(0, MOST, "consumer timeout")),
    key("dead-letter-exchange", Text("dead letter exchange name")),
    key("dead-letter-routing-key", Text("dead letter routing key")),
    key("dead-letter-strategy", Word(&["at-most-once", "at-least-once"], "dead letter strategy"))
        .of_quorum(),
    // Below zero it is no limit (RabbitMQ 4.x).
    key("delivery-limit", Within(i64::MIN, MOST, "delivery limit")).of_quorum().operators(),
    key("expires", Within(1, MOST, "queue expiry")).operators(),
    key("federation-upstream", Federation),
    key("federation-upstream-pattern", Federation),
    key("federation-upstream-set", Federation),
    key("ha-mode", Mirroring).of_classic().operators(),
    key("ha-params", Mirroring).of_classic().operators(),
    key("ha-promote-on-failure", Mirroring).of_classic().operators(),
    key("ha-promote-on-shutdown", Mirroring).of_classic().operators(),
    key("ha-sync-batch-size", Mirroring).operators(),
    key("ha-sync-mode", Mirroring).of_classic().operators(),
    key("initial-cluster-size", Within(0, MOST, "cluster size")).of_streams(),
    key("max-age", Age).of_streams(),
    key("max-in-memory-bytes", Within(0, MOST, "maximum memory in bytes")).operators(),
    key("max-in-memory-length", Within(0, MOST, "maximum memory in bytes")).operators(),
    key("max-length", Within(0, MOST, "maximum length")).operators(),
    key("max-length-bytes", Within(0, MOST, "maximum length in bytes")).operators(),
    key("message-ttl", Within(0, MOST, "message TTL")).operators(),
    key("overflow", Word(&["drop-head", "reject-publish", "reject-publish-dlx"], "overflow value"))
        .operators(),
    key("queue-leader-locator", Word(NODES, "queue leader locator value")),
    key("queue-master-locator", MasterLocator).of_classic(),
    key("queue-mode", Word(&["default", "lazy"], "queue-mode value")).of_classic(),
    key("queue-version", Within(1, 2, "queue-version value")).operators(),
    key("stream-filter-size-bytes", Within(16, 255, "filter size. Valid range is 16-255"))
        .of_streams(),
    key("stream-max-segment-size-bytes", Within(0, 3_000_000_000, "segment size")).of_streams(),
    key("target-group-size", Within(0, MOST, "target count")).of_quorum().operators(),
];

const fn key(name: &'static str, check: Check) -> Key {
    Key { name, check, operator: false, classic: true, quorum: true }
}

impl Key {
    const fn operators(mut self) -> Self {
        self.operator = true;
        self
    }

    const fn of_classic(mut self) -> Self {
        self.quorum = false;
        self
    }

    const fn of_quorum(mut self) -> Self {
        self.classic = false;
        self
    }

    const fn of_streams(self) -> Self {
        self.of_classic().of_quorum()
    }

    fn is_for(&self, kind: PolicyKind) -> bool {
        match kind {
            PolicyKind::User => true,
            PolicyKind::Operator => self.operator,
        }
    }
}

fn find(name: &[u8]) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name.as_bytes() == name)
}

/// The names of all keys.
#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|key| key.name)
}

/// Whether queues of a kind have a key.
pub(super) fn has(kind: QueueKind, name: &[u8]) -> bool {
    find(name).is_none_or(|key| match kind {
        QueueKind::Classic => key.classic,
        QueueKind::Quorum => key.quorum,
    })
}

/// A definition in the order of its keys, each once.
pub(super) fn sorted(definition: &FieldTable) -> FieldTable {
    let pairs: BTreeMap<_, _> =
        definition.iter().map(|(key, value)| (key.detached(), value.detached())).collect();
    FieldTable::from_pairs(pairs)
}

/// Checks a sorted definition, in RabbitMQ's order: who checks last speaks only if nobody else has
/// anything to say, and keys that nobody knows come after all.
pub(super) fn check(kind: PolicyKind, definition: &FieldTable) -> Result<(), PolicyFault> {
    if definition.is_empty() {
        return Err(PolicyFault::Empty);
    }
    let known = |name: &[u8]| find(name).filter(|key| key.is_for(kind));
    let (checked, unknown): (Vec<_>, Vec<_>) =
        definition.iter().partition(|(name, _)| known(name).is_some());
    if let Some(locator) = definition.lookup("queue-master-locator")
        && kind == PolicyKind::User
    {
        check_master_locator(locator)?;
    }
    if checked.iter().any(|(name, _)| name.starts_with(b"ha-")) {
        check_mirroring(definition)?;
    }
    for (name, value) in checked {
        known(name).map_or(Ok(()), |key| check_value(key.check, value))?;
    }
    if kind == PolicyKind::User {
        check_federation(definition)?;
    }
    if unknown.is_empty() {
        return Ok(());
    }
    Err(PolicyFault::Unknown(unknown.into_iter().cloned().collect()))
}

fn check_value(check: Check, value: &FieldValue) -> Result<(), PolicyFault> {
    let (is_valid, what) = match check {
        Text(what) => (value.as_text().is_some(), what),
        Word(words, what) => (is_one_of(value, words), what),
        Within(from, to, what) => {
            (value.as_integer().is_some_and(|number| (from..=to).contains(&number)), what)
        }
        Age => (is_age(value), "max age"),
        MasterLocator | Mirroring | Federation => return Ok(()),
    };
    if is_valid { Ok(()) } else { Err(PolicyFault::Invalid { value: value.clone(), what }) }
}

fn is_one_of(value: &FieldValue, words: &[&str]) -> bool {
    value.as_text().is_some_and(|text| words.iter().any(|word| word.as_bytes() == &**text))
}

/// A number above zero and a unit.
fn is_age(value: &FieldValue) -> bool {
    let Some((unit, digits)) = value.as_text().and_then(|text| text.split_last()) else {
        return false;
    };
    b"YMDhms".contains(unit)
        && !digits.is_empty()
        && digits.iter().all(u8::is_ascii_digit)
        && digits.iter().any(|digit| *digit != b'0')
}

fn check_master_locator(value: &FieldValue) -> Result<(), PolicyFault> {
    if is_one_of(value, &["min-masters", "client-local", "random"]) {
        return Ok(());
    }
    Err(PolicyFault::InvalidMasterLocator(value.clone()))
}

fn check_mirroring(definition: &FieldTable) -> Result<(), PolicyFault> {
    let mode = definition.lookup("ha-mode").ok_or(PolicyFault::NoMirroringMode)?;
    let parameters = definition.lookup("ha-params");
    match mode.as_text().map(|mode| &**mode) {
        Some(b"all") if parameters.is_some() => return Err(PolicyFault::SuperfluousParameters),
        Some(b"all") => {}
        Some(b"exactly") => check_count(parameters)?,
        Some(b"nodes") => check_nodes(parameters)?,
        _ => return Err(PolicyFault::Invalid { value: mode.clone(), what: "ha-mode value" }),
    }
    one_of_two(definition, "ha-sync-mode", ["manual", "automatic"])?;
    if let Some(size) = definition.lookup("ha-sync-batch-size")
        && size.as_integer().is_none_or(|size| size < 1)
    {
        return Err(PolicyFault::InvalidBatchSize(size.clone()));
    }
    one_of_two(definition, "ha-promote-on-shutdown", ["always", "when-synced"])?;
    one_of_two(definition, "ha-promote-on-failure", ["always", "when-synced"])
}

fn check_count(parameters: Option<&FieldValue>) -> Result<(), PolicyFault> {
    match parameters.and_then(FieldValue::as_integer) {
        Some(1..) => Ok(()),
        _ => Err(PolicyFault::NotACount(parameters.cloned())),
    }
}

fn check_nodes(parameters: Option<&FieldValue>) -> Result<(), PolicyFault> {
    let nodes = parameters.and_then(FieldValue::as_array);
    let nodes = nodes.ok_or_else(|| PolicyFault::NotAList(parameters.cloned()))?;
    if nodes.is_empty() {
        return Err(PolicyFault::NoNodes);
    }
    let others: Vec<_> = nodes.iter().filter(|node| node.as_text().is_none()).cloned().collect();
    if others.is_empty() { Ok(()) } else { Err(PolicyFault::NotStrings(others)) }
}

fn one_of_two(
    definition: &FieldTable,
    key: &'static str,
    words: [&'static str; 2],
) -> Result<(), PolicyFault> {
    match definition.lookup(key) {
        Some(value) if !is_one_of(value, &words) => {
            Err(PolicyFault::NotOneOf { key, words, value: value.clone() })
        }
        _ => Ok(()),
    }
}

/// As RabbitMQ checks them when its federation plug-in is on.
fn check_federation(definition: &FieldTable) -> Result<(), PolicyFault> {
    let upstreams: Vec<&(ShortString, FieldValue)> =
        definition.iter().filter(|(key, _)| key.starts_with(b"federation-upstream")).collect();
    let upstreams = upstreams.into_iter().filter(|(key, _)| find(key).is_some());
    let mut upstreams = upstreams.peekable();
    let Some((key, value)) = upstreams.next() else { return Ok(()) };
    if upstreams.peek().is_some() {
        return Err(PolicyFault::SeveralUpstreams);
    }
    let what = match &**key {
        b"federation-upstream" => "federation upstream name",
        b"federation-upstream-set" => "federation upstream set name",
        _ => "federation upstream pattern name",
    };
    let Some(text) = value.as_text() else {
        return Err(PolicyFault::Invalid { value: value.clone(), what });
    };
    if **key == *b"federation-upstream-pattern" {
        Pattern::new(&text.text()).map_err(PolicyFault::UpstreamPattern)?;
    }
    Ok(())
}
