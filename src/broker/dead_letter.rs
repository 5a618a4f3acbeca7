//! What becomes of a message that died: its new address, its history, and the headers that tell it.

use crate::{
    broker::routing,
    model::{
        DeadLetterOptions, Death, DeathReason, ExchangeName, FieldTable, FieldValue, History,
        LongString, Message, Moment, Place, Properties, QueueName, ShortString,
    },
};

use super::expiration::parse_expiration;

/// A dead letter, ready to be routed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Buried {
    /// Addressed to the dead-letter exchange.
    pub(super) message: Message,
    /// The keys that it is routed by beside its own.
    pub(super) further_keys: Vec<LongString>,
}

/// Readdresses a message that died in `queue` to its dead-letter exchange (RabbitMQ 4.x).
///
/// It loses its `expiration`, or it would expire again, and its headers come back sorted by name,
/// each name once.
pub(super) fn bury(
    message: &Message,
    reason: DeathReason,
    queue: &QueueName,
    options: &DeadLetterOptions,
    now: Moment,
) -> Buried {
    let mut properties = Properties::decode(&message.shared_properties()).unwrap_or_default();
    let expiration = properties.expiration.take().and_then(|text| parse_expiration(&text).ok());
    let mut routing_keys = vec![LongString::from(copied(message.routing_key()))];
    routing_keys.extend(routing::further_keys(message, false));
    let place = Place { queue: queue.clone(), reason, exchange: exchange_name(message) };
    let death = Death {
        place,
        routing_keys,
        count: 1,
        time: now,
        original_expiration: expiration
            .map(|span| u64::try_from(span.as_millis()).expect("limited to ten years")),
    };

    let mut history = message.history().cloned().unwrap_or_default();
    record(&mut history, death);
    let further_keys = match &options.routing_key {
        Some(_) => Vec::new(),
        None => routing::further_keys(message, true),
    };
    history.readdressed |= options.routing_key.is_some();
    properties.headers = Some(told(&history, properties.headers.take().unwrap_or_default()));
    let routing_key = match &options.routing_key {
        Some(key) => key,
        None => message.routing_key(),
    };
    let message = message
        .readdressed(&options.exchange, routing_key, &properties.to_bytes())
        .with_history(history);
    Buried { message, further_keys }
}

/// Whether a dead letter must not go to `target`, because it has been there before and came back
/// without anyone having rejected it: it would go round forever.
pub(super) fn is_cycle(message: &Message, target: &[u8]) -> bool {
    let deaths = message.history().map_or(&[][..], |history| &history.deaths);
    let Some(last) = deaths.iter().position(|death| **death.place.queue == *target) else {
        return false;
    };
    deaths[..=last].iter().all(|death| death.place.reason != DeathReason::Rejected)
}

/// The same message with one header set, for a header that says what a delivery is about.
pub(super) fn with_header(message: &Message, name: ShortString, value: FieldValue) -> Message {
    let mut properties = Properties::decode(&message.shared_properties()).unwrap_or_default();
    properties.headers.get_or_insert_default().insert(name, value);
    message.with_properties(&properties.to_bytes())
}

/// Deaths in one queue for one reason are one entry, which comes to the front when it repeats.
fn record(history: &mut History, death: Death) {
    history.first.get_or_insert_with(|| death.place.clone());
    history.last = Some(death.place.clone());
    let repeats = |earlier: &Death| {
        earlier.place.queue == death.place.queue && earlier.place.reason == death.place.reason
    };
    let entry = match history.deaths.iter().position(repeats) {
        Some(place) => {
            let earlier = history.deaths.remove(place);
            Death { count: earlier.count + 1, ..earlier }
        }
        None => death,
    };
    history.deaths.insert(0, entry);
}

/// The headers with the history in them, in place of whatever the publisher put there.
fn told(history: &History, headers: FieldTable) -> FieldTable {
    let deaths = history.deaths.iter().map(|death| FieldValue::Table(entry(death))).collect();
    let mut told = vec![(name("x-death"), FieldValue::Array(deaths))];
    told.extend(history.first.iter().flat_map(|place| {
        place_headers(
            place,
            ["x-first-death-exchange", "x-first-death-queue", "x-first-death-reason"],
        )
    }));
    told.extend(history.last.iter().flat_map(|place| {
        place_headers(place, ["x-last-death-exchange", "x-last-death-queue", "x-last-death-reason"])
    }));
    told.extend(headers);
    told.sort_by(|(left, _), (right, _)| left.cmp(right));
    told.dedup_by(|(later, _), (earlier, _)| later == earlier);
    FieldTable::from_pairs(told)
}

fn place_headers(place: &Place, names: [&'static str; 3]) -> [(ShortString, FieldValue); 3] {
    let [exchange, queue, reason] = names.map(name);
    [
        (exchange, text(&place.exchange)),
        (queue, text(&place.queue)),
        (reason, place.reason.as_str().into()),
    ]
}

/// An entry of `x-death`, its fields in the order in which RabbitMQ 4.x writes them.
fn entry(death: &Death) -> FieldTable {
    let mut fields = Vec::with_capacity(7);
    if let Some(milliseconds) = death.original_expiration {
        fields.push((name("original-expiration"), milliseconds.to_string().into()));
    }
    let keys = death.routing_keys.iter().cloned().map(FieldValue::LongString).collect();
    fields.extend([
        (name("count"), FieldValue::Int64(i64::try_from(death.count).unwrap_or(i64::MAX))),
        (name("reason"), death.place.reason.as_str().into()),
        (name("queue"), text(&death.place.queue)),
        (name("time"), FieldValue::Timestamp(death.time.unix_seconds())),
        (name("exchange"), text(&death.place.exchange)),
        (name("routing-keys"), FieldValue::Array(keys)),
    ]);
    FieldTable::from_pairs(fields)
}

fn exchange_name(message: &Message) -> ExchangeName {
    ExchangeName::new(copied(message.exchange())).expect("a message's exchange has a short name")
}

fn copied(octets: &[u8]) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(octets)
}

fn text(string: &ShortString) -> FieldValue {
    FieldValue::LongString(string.clone().into())
}

fn name(text: &'static str) -> ShortString {
    ShortString::from_static(text)
}

#[cfg(test)]
mod tests;
