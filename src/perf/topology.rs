//! The exchange and the queues of a run: declared before it, deleted after it.

use super::{
    client::{Client, name},
    failure::Failure,
    plan::{ExchangeKind, Plan, QueueArgument},
    template::CHANNEL,
};
use crate::{
    model::{FieldTable, FieldValue},
    wire::method::{ExchangeDeclare, ExchangeDelete, Method, QueueBind, QueueDeclare, QueueDelete},
};

/// Declares what the run needs.
pub(super) fn declare(plan: &Plan) -> Result<(), Failure> {
    let mut client = Client::open(&plan.address)?;
    if let Some(kind) = plan.exchange {
        let kind = match kind {
            ExchangeKind::Direct => "direct",
            ExchangeKind::Fanout => "fanout",
            ExchangeKind::Topic => "topic",
        };
        let declare = ExchangeDeclare {
            exchange: name(&plan.exchange_name()),
            kind: name(kind),
            durable: plan.queue.durable,
            ..Default::default()
        };
        client.call(CHANNEL, declare)?;
    }
    for index in 0..plan.queues {
        let queue = plan.queue_name(index);
        let declare = QueueDeclare {
            queue: name(&queue),
            durable: plan.queue.durable,
            arguments: table(&plan.queue.arguments),
            ..Default::default()
        };
        client.call(CHANNEL, declare)?;
        if plan.exchange.is_some() {
            let bind = QueueBind {
                queue: name(&queue),
                exchange: name(&plan.exchange_name()),
                routing_key: name(&queue),
                ..Default::default()
            };
            client.call(CHANNEL, bind)?;
        }
    }
    client.close()
}

/// Deletes it again; answers how many messages were left in the queues.
pub(super) fn delete(plan: &Plan) -> Result<u64, Failure> {
    let mut client = Client::open(&plan.address)?;
    let mut left = 0;
    for index in 0..plan.queues {
        let delete = QueueDelete { queue: name(&plan.queue_name(index)), ..Default::default() };
        if let Method::QueueDeleteOk(deleted) = client.call(CHANNEL, delete)? {
            left += u64::from(deleted.message_count);
        }
    }
    if plan.exchange.is_some() {
        let exchange = name(&plan.exchange_name());
        client.call(CHANNEL, ExchangeDelete { exchange, ..Default::default() })?;
    }
    client.close()?;
    Ok(left)
}

fn table(arguments: &[QueueArgument]) -> FieldTable {
    FieldTable::from_pairs(
        arguments.iter().map(|argument| (name(&argument.key), value(&argument.value))),
    )
}

/// A number where it looks like one, `true` and `false`, else text.
fn value(text: &str) -> FieldValue {
    if let Ok(number) = text.parse::<i64>() {
        return number.into();
    }
    match text {
        "true" => true.into(),
        "false" => false.into(),
        _ => text.to_owned().into(),
    }
}
