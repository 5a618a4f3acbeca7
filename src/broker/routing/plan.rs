//! What an exchange does with messages: its type and the arguments of its type, parsed once.

use std::time::Duration;

use super::ExchangeKind;
use crate::model::{ExchangeFault, FieldTable, FieldValue, Refusal, Resource, ShortString};

/// An exchange's type with what its arguments ask of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    Direct,
    Fanout,
    Topic,
    Headers,
    ConsistentHash(HashBy),
    ModulusHash,
    Random,
    LocalRandom,
    /// So many messages are kept.
    RecentHistory(u64),
    /// What is done with messages that are due.
    Delayed(Box<Self>),
    Deduplication(CachePlan),
}

/// What a consistent hash is taken of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HashBy {
    #[default]
    RoutingKey,
    Header(ShortString),
    CorrelationId,
    MessageId,
    Timestamp,
}

/// What an exchange that drops duplicates remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachePlan {
    /// Keys at most.
    pub size: u64,
    /// How long a key counts; none is until it must make room.
    pub time_to_live: Option<Duration>,
    /// It survives a restart.
    pub persists: bool,
}

/// What an exchange keeps, at the place and with the means of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnnexPlan {
    /// Messages until they are due.
    Delays,
    /// The last messages, so many.
    Recent(u64),
    /// The keys of messages.
    Keys(CachePlan),
}

/// How many messages a recent history keeps when it is not told.
const HISTORY: u64 = 20;

const HASH_HEADER: &str = "hash-header";
const HASH_PROPERTY: &str = "hash-property";

impl Plan {
    /// What `arguments` ask of an exchange of that type (RabbitMQ's plugins of these names).
    pub fn parse(
        exchange: &Resource,
        kind: ExchangeKind,
        arguments: &FieldTable,
    ) -> Result<Self, Refusal> {
        Ok(match kind {
            ExchangeKind::Direct => Self::Direct,
            ExchangeKind::Fanout => Self::Fanout,
            ExchangeKind::Topic => Self::Topic,
            ExchangeKind::Headers => Self::Headers,
            ExchangeKind::ModulusHash => Self::ModulusHash,
            ExchangeKind::Random => Self::Random,
            ExchangeKind::LocalRandom => Self::LocalRandom,
            ExchangeKind::ConsistentHash => {
                Self::ConsistentHash(HashBy::parse(exchange, arguments)?)
            }
            ExchangeKind::RecentHistory => Self::RecentHistory(history_length(arguments)?),
            ExchangeKind::Deduplication => Self::Deduplication(CachePlan::parse(arguments)?),
            ExchangeKind::Delayed => {
                let inner = delayed_kind(arguments)?;
                Self::Delayed(Box::new(Self::parse(exchange, inner, arguments)?))
            }
        })
    }

    /// What such an exchange keeps, its own before that of the type whose rule it follows.
    pub fn annexes(&self) -> Vec<AnnexPlan> {
        match self {
            Self::RecentHistory(length) => vec![AnnexPlan::Recent(*length)],
            Self::Deduplication(cache) => vec![AnnexPlan::Keys(cache.clone())],
            Self::Delayed(inner) => {
                let mut annexes = vec![AnnexPlan::Delays];
                annexes.extend(inner.annexes());
                annexes
            }
            Self::Direct | Self::Fanout | Self::Topic | Self::Headers => Vec::new(),
            Self::ConsistentHash(_) | Self::ModulusHash => Vec::new(),
            Self::Random | Self::LocalRandom => Vec::new(),
        }
    }

    /// The rule by which messages are routed when they are.
    pub fn rule(&self) -> &Self {
        match self {
            Self::Delayed(inner) => inner.rule(),
            other => other,
        }
    }
}

impl HashBy {
    fn parse(exchange: &Resource, arguments: &FieldTable) -> Result<Self, Refusal> {
        let header = text(exchange, arguments, HASH_HEADER)?;
        match (header, text(exchange, arguments, HASH_PROPERTY)?) {
            (None, None) => Ok(Self::RoutingKey),
            (Some(header), None) => Ok(Self::Header(header)),
            (Some(_), Some(_)) => Err(Refusal::UnfitExchange(ExchangeFault::HashesTwice)),
            (None, Some(property)) => match &property[..] {
                b"correlation_id" => Ok(Self::CorrelationId),
                b"message_id" => Ok(Self::MessageId),
                b"timestamp" => Ok(Self::Timestamp),
                _ => Err(Refusal::UnfitExchange(ExchangeFault::UnknownHashProperty(property))),
            },
        }
    }
}

impl CachePlan {
    fn parse(arguments: &FieldTable) -> Result<Self, Refusal> {
        let size = match arguments.lookup("x-cache-size") {
            Some(value) => positive(value),
            None => None,
        };
        let size = size.ok_or(Refusal::UnfitExchange(ExchangeFault::CacheSize))?;
        let time_to_live = match arguments.lookup("x-cache-ttl") {
            Some(value) => Some(
                positive(value).ok_or(Refusal::UnfitExchange(ExchangeFault::CacheTimeToLive))?,
            ),
            None => None,
        };
        let persistence = arguments.lookup("x-cache-persistence");
        let persists = match persistence.map(|value| value.as_text().map(|text| &**text)) {
            None | Some(Some(b"memory")) => false,
            Some(Some(b"disk")) => true,
            Some(_) => return Err(Refusal::UnfitExchange(ExchangeFault::CachePersistence)),
        };
        Ok(Self { size, time_to_live: time_to_live.map(Duration::from_millis), persists })
    }
}

fn delayed_kind(arguments: &FieldTable) -> Result<ExchangeKind, Refusal> {
    let named = arguments.lookup("x-delayed-type");
    let Some(FieldValue::LongString(name) | FieldValue::ByteArray(name)) = named else {
        return Err(Refusal::UnfitExchange(ExchangeFault::NoDelayedType));
    };
    match ExchangeKind::parse(name) {
        Some(ExchangeKind::Delayed) => Err(Refusal::UnfitExchange(ExchangeFault::DelaysTwice)),
        Some(kind) => Ok(kind),
        None => Err(Refusal::UnknownExchangeType(short(name))),
    }
}

fn history_length(arguments: &FieldTable) -> Result<u64, Refusal> {
    let Some(value) = arguments.lookup("x-recent-history-length") else { return Ok(HISTORY) };
    let refused = || Refusal::UnfitExchange(ExchangeFault::HistoryLength(value.clone()));
    match value.as_integer() {
        Some(length @ 1..) => Ok(length.unsigned_abs()),
        _ => Err(refused()),
    }
}

/// A positive number, also one in decimal text.
fn positive(value: &FieldValue) -> Option<u64> {
    let number = match value.as_text() {
        Some(text) => std::str::from_utf8(text).ok()?.parse().ok()?,
        None => value.as_integer()?,
    };
    u64::try_from(number).ok().filter(|number| *number > 0)
}

/// Where RabbitMQ stumbles over another type than a string, this one is refused.
fn text(
    exchange: &Resource,
    arguments: &FieldTable,
    argument: &'static str,
) -> Result<Option<ShortString>, Refusal> {
    match arguments.lookup(argument) {
        None => Ok(None),
        Some(FieldValue::LongString(text)) => Ok(Some(short(text))),
        Some(other) => Err(Refusal::InvalidArgumentType {
            resource: exchange.clone(),
            argument: ShortString::from_static(argument),
            type_name: other.type_name(),
        }),
    }
}

/// A header's name is no longer, nor need one be that is only told.
fn short(text: &[u8]) -> ShortString {
    let cut = text[..text.len().min(usize::from(u8::MAX))].to_vec();
    ShortString::new(cut.into()).expect("cut to 255 octets")
}
