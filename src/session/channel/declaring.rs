//! Methods of exchanges and queues: requests to the broker, and their replies.

use bytes::Bytes;

use super::{Channel, Expected};
use crate::{
    model::{QueueName, RoutingKey},
    session::{
        connection::Connection,
        exception::Fault,
        request::{Binding, Destination, ExchangeDeclare, Operation, QueueDeclare},
    },
    wire::method::{
        self, ExchangeBindOk, ExchangeDeclareOk, ExchangeDeleteOk, ExchangeUnbindOk, Method,
        QueueBindOk, QueueDeclareOk, QueueDeleteOk, QueuePurgeOk, QueueUnbindOk,
    },
};

impl Channel {
    /// Any method of the classes exchange and queue.
    pub(super) fn declare(
        &mut self,
        method: Method,
        connection: &mut Connection,
    ) -> Result<(), Fault> {
        let origin = method.id();
        let (operation, expected) = match method {
            Method::ExchangeDeclare(declare) => exchange_declare(declare),
            Method::ExchangeDelete(delete) => (
                Operation::DeleteExchange {
                    exchange: cleaned(delete.exchange),
                    if_unused: delete.if_unused,
                },
                Expected::Done(unless(delete.no_wait, ExchangeDeleteOk {})),
            ),
            Method::ExchangeBind(bind) => {
                let reply = unless(bind.no_wait, ExchangeBindOk {});
                (Operation::Bind(exchange_binding(bind)), Expected::Done(reply))
            }
            Method::ExchangeUnbind(unbind) => {
                let method::ExchangeUnbind { destination, source, routing_key, arguments, .. } =
                    unbind;
                let reply = unless(unbind.no_wait, ExchangeUnbindOk {});
                let bind = method::ExchangeBind {
                    destination,
                    source,
                    routing_key,
                    arguments,
                    ..method::ExchangeBind::default()
                };
                (Operation::Unbind(exchange_binding(bind)), Expected::Done(reply))
            }
            Method::QueueDeclare(declare) => queue_declare(declare, connection),
            Method::QueueBind(bind) => {
                let reply = unless(bind.no_wait, QueueBindOk {});
                (Operation::Bind(self.queue_binding(bind)?), Expected::Done(reply))
            }
            Method::QueueUnbind(unbind) => {
                let method::QueueUnbind { queue, exchange, routing_key, arguments, .. } = unbind;
                let bind = method::QueueBind {
                    queue,
                    exchange,
                    routing_key,
                    arguments,
                    ..method::QueueBind::default()
                };
                let reply = Some(QueueUnbindOk {}.into());
                (Operation::Unbind(self.queue_binding(bind)?), Expected::Done(reply))
            }
            Method::QueuePurge(purge) => (
                Operation::PurgeQueue(self.queue_named(purge.queue)?),
                Expected::Counted(
                    (!purge.no_wait)
                        .then_some(|message_count| QueuePurgeOk { message_count }.into()),
                ),
            ),
            Method::QueueDelete(delete) => (
                Operation::DeleteQueue {
                    queue: self.queue_named(delete.queue)?,
                    if_unused: delete.if_unused,
                    if_empty: delete.if_empty,
                },
                Expected::Counted(
                    (!delete.no_wait)
                        .then_some(|message_count| QueueDeleteOk { message_count }.into()),
                ),
            ),
            // The router sends no other method here.
            _ => return Err(Fault::Unimplemented),
        };
        self.ask(operation, expected, origin, connection);
        Ok(())
    }

    /// The queue exists: from now on an empty name means it.
    pub(super) fn declared(
        &mut self,
        queue: QueueName,
        (message_count, consumer_count): (u32, u32),
        no_wait: bool,
        connection: &mut Connection,
    ) {
        self.last_queue = Some(queue.clone());
        let reply = QueueDeclareOk { queue, message_count, consumer_count };
        self.send((!no_wait).then(|| reply.into()), connection);
    }

    /// The queue of that name, or the one declared last.
    pub(super) fn queue_named(&self, queue: QueueName) -> Result<QueueName, Fault> {
        if queue.is_empty() {
            return self.last_queue.clone().ok_or(Fault::NoPreviousQueue);
        }
        Ok(cleaned(queue))
    }

    /// An empty queue and an empty routing key both stand for the queue declared last.
    fn queue_binding(&self, bind: method::QueueBind) -> Result<Binding, Fault> {
        let is_shortcut = bind.queue.is_empty() && bind.routing_key.is_empty();
        let queue = self.queue_named(bind.queue)?;
        let routing_key =
            if is_shortcut { RoutingKey::from((*queue).clone()) } else { bind.routing_key };
        Ok(Binding {
            source: cleaned(bind.exchange),
            destination: Destination::Queue(queue),
            routing_key,
            arguments: bind.arguments,
        })
    }
}

fn exchange_declare(declare: method::ExchangeDeclare) -> (Operation, Expected) {
    let expected = Expected::Done(unless(declare.no_wait, ExchangeDeclareOk {}));
    let exchange = cleaned(declare.exchange);
    if declare.passive {
        return (Operation::CheckExchange(exchange), expected);
    }
    let operation = Operation::DeclareExchange(ExchangeDeclare {
        exchange,
        kind: declare.kind,
        durable: declare.durable,
        auto_delete: declare.auto_delete,
        internal: declare.internal,
        arguments: declare.arguments,
    });
    (operation, expected)
}

fn queue_declare(
    declare: method::QueueDeclare,
    connection: &mut Connection,
) -> (Operation, Expected) {
    let expected = Expected::Declared { no_wait: declare.no_wait };
    if declare.passive {
        return (Operation::CheckQueue(cleaned(declare.queue)), expected);
    }
    let generated = declare.queue.is_empty();
    let queue =
        if generated { connection.names.draw("amq.gen-").into() } else { cleaned(declare.queue) };
    let operation = Operation::DeclareQueue(QueueDeclare {
        queue,
        generated,
        durable: declare.durable,
        exclusive: declare.exclusive,
        auto_delete: declare.auto_delete,
        arguments: declare.arguments,
    });
    (operation, expected)
}

fn exchange_binding(bind: method::ExchangeBind) -> Binding {
    Binding {
        source: cleaned(bind.source),
        destination: Destination::Exchange(cleaned(bind.destination)),
        routing_key: bind.routing_key,
        arguments: bind.arguments,
    }
}

/// The reply, unless the client does not wait for one.
fn unless(no_wait: bool, reply: impl Into<Method>) -> Option<Method> {
    (!no_wait).then(|| reply.into())
}

/// The name without line breaks, which RabbitMQ drops in silence.
fn cleaned<Name>(name: Name) -> Name
where
    Name: std::ops::Deref<Target = crate::model::ShortString> + From<crate::model::ShortString>,
{
    let is_break = |octet: &u8| matches!(octet, b'\r' | b'\n');
    if !name.iter().any(is_break) {
        return name;
    }
    let kept: Bytes = name.iter().copied().filter(|octet| !is_break(octet)).collect();
    let kept = crate::model::ShortString::new(kept).expect("shorter than a short string");
    kept.into()
}
