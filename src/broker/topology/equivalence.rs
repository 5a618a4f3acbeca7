//! May this be declared again? Only as what it is.

use crate::model::{Difference, FieldTable, FieldValue, QueueKind, Refusal, Resource, ShortString};

use super::record::{
    ExchangeDeclaration, ExchangeRecord, QUEUE_TYPE, QueueDeclaration, QueueRecord,
};
use crate::broker::routing::ExchangeKind;

/// Compares in RabbitMQ's order: type, flags, alternate exchange; other arguments do not count.
pub(super) fn check_exchange(
    resource: &Resource,
    current: &ExchangeRecord,
    kind: ExchangeKind,
    received: &ExchangeDeclaration,
) -> Result<(), Refusal> {
    let field = |name, received: &str, current: &str| compare(resource, name, received, current);
    field("type", kind.as_str(), current.kind.as_str())?;
    let flag = |name, received, current| field(name, boolean(received), boolean(current));
    flag("durable", received.durable, current.durable)?;
    flag("auto_delete", received.auto_delete, current.auto_delete)?;
    flag("internal", received.internal, current.internal)?;
    compare_argument(resource, "alternate-exchange", &received.arguments, &current.arguments)
}

/// Compares in RabbitMQ's order: owner, flags, then the arguments that the queue's type has.
/// `default` is the type that a declaration without one asks for.
pub(super) fn check_queue(
    resource: &Resource,
    current: &QueueRecord,
    received: &QueueDeclaration,
    default: QueueKind,
) -> Result<(), Refusal> {
    if received.exclusive != current.owner {
        return Err(Refusal::Locked(resource.clone()));
    }
    let flag =
        |name, received, current| compare(resource, name, boolean(received), boolean(current));
    flag("durable", received.is_durable(), current.durable)?;
    flag("auto_delete", received.auto_delete, current.auto_delete)?;
    let arguments = received.resolved_arguments(default);
    for name in current.options.kind.arguments() {
        if *name == QUEUE_TYPE && is_classic(&arguments) && is_classic(&current.arguments) {
            continue;
        }
        compare_argument(resource, name, &arguments, &current.arguments)?;
    }
    Ok(())
}

/// No type at all is the default type.
fn is_classic(arguments: &FieldTable) -> bool {
    match arguments.lookup(QUEUE_TYPE) {
        None => true,
        Some(value) => value.as_text().is_some_and(|kind| *kind == QueueKind::Classic.as_str()),
    }
}

fn compare(
    resource: &Resource,
    argument: &'static str,
    received: &str,
    current: &str,
) -> Result<(), Refusal> {
    if received == current {
        return Ok(());
    }
    let (received, current) = (received.to_owned(), current.to_owned());
    Err(inequivalent(resource, argument, Difference::Values { received, current }))
}

fn compare_argument(
    resource: &Resource,
    argument: &'static str,
    received: &FieldTable,
    current: &FieldTable,
) -> Result<(), Refusal> {
    let difference = match (received.lookup(argument), current.lookup(argument)) {
        (None, None) => return Ok(()),
        (Some(received), Some(current)) if received.is_same(current) => return Ok(()),
        (None | Some(FieldValue::Void), Some(current)) => {
            Difference::Missing { current: current.clone() }
        }
        (Some(received), None) => Difference::Unexpected { received: received.clone() },
        (Some(received), Some(current)) => {
            Difference::Values { received: received.to_string(), current: current.to_string() }
        }
    };
    Err(inequivalent(resource, argument, difference))
}

fn boolean(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

fn inequivalent(resource: &Resource, argument: &'static str, difference: Difference) -> Refusal {
    let argument = ShortString::from_static(argument);
    Refusal::Inequivalent { resource: resource.clone(), argument, difference }
}
