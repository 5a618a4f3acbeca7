//! Messages: one is published, some are looked at.

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    answer::{Failure, Reply},
    call::Call,
    fields, properties,
};
use crate::{
    broker::{Client, TakenMessage},
    model::{
        ChannelCredit, ChannelNumber, Message, Outcome, Publication, Published, QueueName, Refusal,
        Settlement,
    },
};

/// So many octets of messages one request takes out of a queue at most, and so much each counts
/// beside its own size: whatever it asks for, the answer must fit into memory.
const LARGEST_ANSWER: usize = 64 << 20;
const MESSAGE_OVERHEAD: usize = 1 << 10;

/// The channel on which what a request does is done.
const CHANNEL: ChannelNumber = ChannelNumber(1);

/// Publishes one message, and says whether a queue took it.
pub(super) fn publish(call: &Call) -> Result<Reply, Failure> {
    let home = call.home().map_err(|_| no_entry())?;
    let asked = call.object_with(&["routing_key", "properties", "payload", "payload_encoding"])?;
    let readings = call.node.readings();
    if readings.memory_alarm || readings.disk_alarm {
        let reason = "publishers are blocked: the node is short of memory or disk";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return Err(Failure::named(status, "service_unavailable", reason));
    }
    let body = payload(&asked)?;
    let exchange = call.exchange("exchange")?;
    let routing_key = fields::short_text("routing_key", &asked["routing_key"])?;
    let properties = properties::from_json(&asked["properties"])?.to_bytes();
    let message = Message::new(&exchange, &routing_key, &properties, body);
    let publication = Publication {
        channel: CHANNEL,
        message,
        mandatory: true,
        confirm: Some(1),
        transactional: false,
    };
    let mut client = call.client(&home)?;
    let said = client.publish(vec![publication], call.node.now());
    let refused = said.iter().find_map(|said| match said {
        Published::Refused { refusal, .. } => Some(refusal),
        _ => None,
    });
    if let Some(refusal) = refused {
        return Err(words(call, refusal));
    }
    let is_lost = |said: &Published| {
        matches!(said, Published::Unroutable { .. } | Published::Rejected { .. })
    };
    let mut reply = Reply::one(json!({ "routed": !said.iter().any(is_lost) }));
    reply.awaits = client.next_awaited_confirm().unwrap_or_default();
    Ok(reply)
}

/// Takes messages out of a queue and shows them; whether they go back is said beforehand.
pub(super) fn get(call: &Call) -> Result<Reply, Failure> {
    let home = call.home().map_err(|_| no_entry())?;
    let name = call.queue("queue")?;
    let asked = call.object_with(&["count", "ackmode", "encoding"])?;
    let wanted = Wanted::of(&asked)?;
    let mut client = call.client(&home)?;
    let (taken, refusal) = take(call, &mut client, &name, &wanted);
    if let (Some(outcome), Some(first)) = (wanted.outcome, taken.first()) {
        let positions = taken.iter().map(|message| message.position).collect();
        let settlement = Settlement { queue: first.queue, positions, outcome };
        client.settle(vec![settlement], call.node.now());
    }
    if let Some(refusal) = refusal {
        let (code, reason) = call.node.words(&refusal);
        return Err(match code {
            404 => Failure::missing(reason),
            403 => Failure::not_authorised(reason),
            _ => words(call, &refusal),
        });
    }
    let shown = taken.iter().map(|message| wanted.shown(message)).collect();
    let mut reply = Reply::list(shown);
    reply.awaits = client.take_awaited();
    Ok(reply)
}

/// Takes all that is wanted before anything goes back, so that no message is taken twice.
fn take(
    call: &Call,
    client: &mut Client,
    queue: &QueueName,
    wanted: &Wanted,
) -> (Vec<TakenMessage>, Option<Refusal>) {
    let acknowledge = wanted.outcome.is_some();
    let (mut all, mut octets) = (Vec::new(), 0);
    while wanted.count.is_none_or(|count| (all.len() as u64) < count) && octets < LARGEST_ANSWER {
        match client.take(queue, acknowledge, ChannelCredit::default(), call.node.now()) {
            Ok(Some(message)) => {
                octets += message.message.size() + MESSAGE_OVERHEAD;
                all.push(message);
            }
            Ok(None) => break,
            Err(refusal) => return (all, Some(refusal)),
        }
    }
    (all, None)
}

/// What a request wants of a queue's messages.
struct Wanted {
    /// None is all there are.
    count: Option<u64>,
    /// What becomes of them when they were shown; none of those that are gone at once.
    outcome: Option<Outcome>,
    is_base64: bool,
    truncate: Option<usize>,
}

impl Wanted {
    fn of(asked: &Map<String, Value>) -> Result<Self, Failure> {
        let outcome = match asked["ackmode"].as_str() {
            Some("ack_requeue_true" | "reject_requeue_true") => Some(Outcome::Requeue),
            Some("reject_requeue_false") => Some(Outcome::Reject),
            Some("ack_requeue_false") => None,
            _ => return Err(Failure::bad_request(UNKNOWN_MODE)),
        };
        let is_base64 = match asked["encoding"].as_str() {
            Some("auto") => false,
            Some("base64") => true,
            _ => return Err(Failure::bad_request(UNKNOWN_ENCODING)),
        };
        let count = integer(&asked["count"])?;
        let truncate = asked.get("truncate").map(integer).transpose()?;
        Ok(Self {
            // A number below zero never comes down to zero (RabbitMQ 3.10).
            count: u64::try_from(count).ok(),
            outcome,
            is_base64,
            truncate: truncate.map(|octets| usize::try_from(octets).unwrap_or(0)),
        })
    }

    fn shown(&self, taken: &TakenMessage) -> Value {
        let body = taken.message.body();
        let shown = &body[..body.len().min(self.truncate.unwrap_or(usize::MAX))];
        let text = if self.is_base64 { None } else { str::from_utf8(shown).ok() };
        let (payload, encoding) = match text {
            Some(text) => (text.to_owned(), "string"),
            None => (STANDARD.encode(shown), "base64"),
        };
        json!({
            "payload_bytes": body.len(),
            "redelivered": taken.redelivered,
            "exchange": String::from_utf8_lossy(taken.message.exchange()),
            "routing_key": String::from_utf8_lossy(taken.message.routing_key()),
            "message_count": taken.remaining,
            "properties": properties::to_json(&taken.message.shared_properties()),
            "payload": payload,
            "payload_encoding": encoding,
        })
    }
}

const UNKNOWN_ENCODING: &str = "Unsupported encoding. Please use auto or base64.";
const UNKNOWN_MODE: &str = "Unsupported ackmode. Please use ack_requeue_true, ack_requeue_false, \
                            reject_requeue_true or reject_requeue_false.";

/// An integer, or the text of one; RabbitMQ says which value is none.
fn integer(value: &Value) -> Result<i64, Failure> {
    let found = match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    found.ok_or_else(|| Failure::bad_request(vec!["not_integer".into(), value.clone()]))
}

fn payload(asked: &Map<String, Value>) -> Result<Bytes, Failure> {
    let Some(text) = asked["payload"].as_str() else {
        return Err(Failure::bad_request("payload_not_string"));
    };
    match asked["payload_encoding"].as_str() {
        Some("string") => Ok(Bytes::copy_from_slice(text.as_bytes())),
        Some("base64") => match STANDARD.decode(text) {
            Ok(body) => Ok(body.into()),
            Err(_) => Err(Failure::bad_request(vec![Value::from("not_base64"), text.into()])),
        },
        _ => {
            let encoding = asked["payload_encoding"].clone();
            Err(Failure::bad_request(vec!["unsupported_encoding".into(), encoding]))
        }
    }
}

/// What went wrong on the channel, as RabbitMQ shows a close of one: code and text.
fn words(call: &Call, refusal: &Refusal) -> Failure {
    let (code, reason) = call.node.words(refusal);
    Failure::bad_request(format!("{code} {reason}"))
}

/// A virtual host that is not there is one that nobody may enter (RabbitMQ 3.10).
fn no_entry() -> Failure {
    Failure::not_authorised("Access refused.")
}
