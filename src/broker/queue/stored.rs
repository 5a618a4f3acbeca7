//! A message as the disk has it: octets that tell all that its queue must know to have it back.

use bytes::{Bytes, BytesMut};

use crate::model::{
    Death, DeathReason, ExchangeName, History, LongString, Message, Moment, PACKED_BODY_LIMIT,
    Place, QueueName,
    compact::{Reader, put_octets, put_varint},
};

const HAS_DEADLINE: u8 = 1;
const HAS_PRIORITY: u8 = 2;
const HAS_HISTORY: u8 = 4;

/// A message and what was fixed when it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub message: Message,
    /// The priority it was published with, whatever its queue makes of it.
    pub priority: u8,
    pub deadline: Option<Moment>,
}

impl Stored {
    /// Writes what stands before the body. The body itself follows as it is.
    #[inline]
    pub fn put_head(
        octets: &mut Vec<u8>,
        message: &Message,
        priority: u8,
        deadline: Option<Moment>,
    ) {
        let flags = octets.len();
        octets.push(0);
        if let Some(deadline) = deadline {
            octets[flags] |= HAS_DEADLINE;
            put_varint(octets, milliseconds(deadline));
        }
        if priority > 0 {
            octets[flags] |= HAS_PRIORITY;
            octets.push(priority);
        }
        let envelope = message.envelope();
        put_varint(octets, message.exchange_length() as u64);
        put_varint(octets, message.routing_key().len() as u64);
        put_varint(octets, envelope.len() as u64);
        octets.extend_from_slice(envelope);
        if let Some(history) = message.history() {
            octets[flags] |= HAS_HISTORY;
            put_history(octets, history);
        }
    }

    /// Reads a message again. A small one is copied into `arena`, so that it does not keep its
    /// neighbours in memory; `None` when the octets mean nothing.
    #[inline]
    pub fn read(octets: &[u8], arena: &mut BytesMut) -> Option<Self> {
        let mut reader = Reader::new(octets);
        let head = Self::read_head(&mut reader)?;
        Some(head.with_body(reader.rest(), arena))
    }

    /// The length of a message's body.
    pub fn body_length(octets: &[u8]) -> Option<usize> {
        let mut reader = Reader::new(octets);
        Self::read_head(&mut reader)?;
        Some(reader.rest().len())
    }

    /// Reads a message whose body was kept apart.
    pub fn read_apart(octets: &[u8], body: Bytes, arena: &mut BytesMut) -> Option<Self> {
        let mut reader = Reader::new(octets);
        let head = Self::read_head(&mut reader)?;
        let message = Message::pack(arena, head.exchange, head.routing_key, head.properties, body);
        Some(head.finish(message))
    }

    fn read_head<'a>(reader: &mut Reader<'a>) -> Option<Head<'a>> {
        let flags = reader.u8()?;
        if flags & !(HAS_DEADLINE | HAS_PRIORITY | HAS_HISTORY) != 0 {
            return None;
        }
        let has = |flag| flags & flag != 0;
        let deadline = if has(HAS_DEADLINE) { Some(moment(reader.varint()?)) } else { None };
        let priority = if has(HAS_PRIORITY) { reader.u8()? } else { 0 };
        let exchange = short_length(reader)?;
        let routing_key = short_length(reader)?;
        let envelope = reader.octets()?;
        let (exchange, rest) = envelope.split_at_checked(exchange)?;
        let (routing_key, properties) = rest.split_at_checked(routing_key)?;
        let history = if has(HAS_HISTORY) { Some(read_history(reader)?) } else { None };
        Some(Head { exchange, routing_key, properties, priority, deadline, history })
    }
}

/// What stands before a body.
struct Head<'a> {
    exchange: &'a [u8],
    routing_key: &'a [u8],
    properties: &'a [u8],
    priority: u8,
    deadline: Option<Moment>,
    history: Option<History>,
}

impl Head<'_> {
    #[inline]
    fn with_body(self, body: &[u8], arena: &mut BytesMut) -> Stored {
        let Self { exchange, routing_key, properties, .. } = self;
        let message = if body.len() <= PACKED_BODY_LIMIT {
            Message::copy(arena, exchange, routing_key, properties, body)
        } else {
            Message::pack(arena, exchange, routing_key, properties, Bytes::copy_from_slice(body))
        };
        self.finish(message)
    }

    #[inline]
    fn finish(self, message: Message) -> Stored {
        let message = match self.history {
            Some(history) => message.with_history(history),
            None => message,
        };
        Stored { message, priority: self.priority, deadline: self.deadline }
    }
}

/// Rounded up: a message never expires early.
fn milliseconds(moment: Moment) -> u64 {
    let nanoseconds = moment.since_epoch().as_nanos();
    u64::try_from(nanoseconds.div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn moment(milliseconds: u64) -> Moment {
    Moment::from_unix(std::time::Duration::from_millis(milliseconds))
}

fn short_length(reader: &mut Reader<'_>) -> Option<usize> {
    let length = usize::try_from(reader.varint()?).ok()?;
    (length <= usize::from(u8::MAX)).then_some(length)
}

fn put_history(octets: &mut Vec<u8>, history: &History) {
    octets.push(u8::from(history.readdressed));
    put_keys(octets, &history.blind);
    put_varint(octets, history.deaths.len() as u64);
    for death in &history.deaths {
        put_place(octets, &death.place);
        put_keys(octets, &death.routing_keys);
        put_varint(octets, death.count);
        put_varint(octets, milliseconds(death.time));
        put_varint(octets, u64::from(death.original_expiration.is_some()));
        put_varint(octets, death.original_expiration.unwrap_or_default());
    }
    for place in [&history.first, &history.last] {
        octets.push(u8::from(place.is_some()));
        place.iter().for_each(|place| put_place(octets, place));
    }
}

fn read_history(reader: &mut Reader<'_>) -> Option<History> {
    let readdressed = reader.u8()? != 0;
    let blind = read_keys(reader)?;
    let mut deaths = Vec::new();
    for _ in 0..reader.varint()? {
        deaths.push(Death {
            place: read_place(reader)?,
            routing_keys: read_keys(reader)?,
            count: reader.varint()?,
            time: moment(reader.varint()?),
            original_expiration: {
                let is_known = reader.varint()? != 0;
                let milliseconds = reader.varint()?;
                is_known.then_some(milliseconds)
            },
        });
    }
    let first = read_optional_place(reader)?;
    let last = read_optional_place(reader)?;
    Some(History { blind, readdressed, deaths, first, last })
}

fn put_keys(octets: &mut Vec<u8>, keys: &[LongString]) {
    put_varint(octets, keys.len() as u64);
    keys.iter().for_each(|key| put_octets(octets, key));
}

fn read_keys(reader: &mut Reader<'_>) -> Option<Vec<LongString>> {
    let mut keys = Vec::new();
    for _ in 0..reader.varint()? {
        keys.push(LongString::from(Bytes::copy_from_slice(reader.octets()?)));
    }
    Some(keys)
}

fn put_place(octets: &mut Vec<u8>, place: &Place) {
    octets.push(match place.reason {
        DeathReason::Rejected => 0,
        DeathReason::Expired => 1,
        DeathReason::MaxLength => 2,
        DeathReason::DeliveryLimit => 3,
    });
    put_octets(octets, &place.queue);
    put_octets(octets, &place.exchange);
}

fn read_place(reader: &mut Reader<'_>) -> Option<Place> {
    let reason = match reader.u8()? {
        0 => DeathReason::Rejected,
        1 => DeathReason::Expired,
        2 => DeathReason::MaxLength,
        3 => DeathReason::DeliveryLimit,
        _ => return None,
    };
    let queue = QueueName::new(Bytes::copy_from_slice(reader.octets()?)).ok()?;
    let exchange = ExchangeName::new(Bytes::copy_from_slice(reader.octets()?)).ok()?;
    Some(Place { queue, reason, exchange })
}

fn read_optional_place(reader: &mut Reader<'_>) -> Option<Option<Place>> {
    match reader.u8()? {
        0 => Some(None),
        _ => read_place(reader).map(Some),
    }
}
