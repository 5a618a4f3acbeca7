//! Carries out a session's requests against the broker.

use super::promises::Promises;
use crate::{
    broker::{self, Binding, Client, Destination, ExchangeDeclaration, Purpose, QueueDeclaration},
    model::{ChannelNumber, Confirmed, ConnectionId, Moment, Publication, Published, Refusal},
    net::Backend,
    session::request::{self, Answer, Operation, Reply, Request},
};

/// One connection's way to the broker.
#[derive(Debug)]
pub(crate) struct BrokerBackend {
    client: Client,
    /// Absent: nothing survives the node, and nothing waits for a disk.
    promises: Option<Promises>,
}

impl BrokerBackend {
    pub(super) fn new(client: Client, promises: Option<Promises>) -> Self {
        Self { client, promises }
    }

    fn publish(&mut self, publications: Vec<Publication>, now: Moment) -> Vec<Published> {
        let published = self.client.publish(publications, now);
        if let Some(promises) = &mut self.promises {
            // Its confirms come late by themselves.
            self.client.take_awaited();
            promises.published();
        }
        published
    }

    /// Carries out an operation; its answer waits for the disk if it is a promise.
    fn operate(
        &mut self,
        channel: ChannelNumber,
        operation: Operation,
        now: Moment,
    ) -> Option<Answer> {
        let is_promise = is_promise(&operation);
        let result = operate(&mut self.client, channel, operation, now);
        let answer = Answer::Done { channel, result };
        let Some(promises) = &mut self.promises else { return Some(answer) };
        let awaited = self.client.take_awaited();
        if is_promise { promises.keep(awaited, answer) } else { Some(answer) }
    }
}

impl Backend for BrokerBackend {
    fn execute(&mut self, request: Request, now: Moment) -> Option<Answer> {
        let client = &mut self.client;
        Some(match request {
            Request::Login(login) => Answer::Admitted(client.login(&login.user, &login.password)),
            Request::OpenVirtualHost(name) => Answer::Opened(client.open(&name)),
            Request::Publish(publications) => Answer::Published(self.publish(publications, now)),
            Request::Settle(settlements) => {
                client.settle(settlements, now);
                Answer::Settled
            }
            Request::Replenish(replenishments) => {
                for room in replenishments {
                    client.replenish(room.queue, room.consumer, room.octets, now);
                }
                return None;
            }
            Request::Resume(queues) => {
                client.resume(&queues, now);
                return None;
            }
            Request::Operate { channel, operation } => {
                return self.operate(channel, operation, now);
            }
            Request::Leave => {
                client.leave(now);
                Answer::Left
            }
        })
    }

    fn take_late_confirms(&mut self) -> Vec<Confirmed> {
        let promises = self.promises.as_ref();
        promises.map(|promises| promises.take_confirms(&mut self.client)).unwrap_or_default()
    }

    fn next_late_answer(&mut self) -> Option<Answer> {
        self.promises.as_mut()?.next_answer()
    }

    fn arrange_wake_up(&mut self) {
        if let Some(promises) = &mut self.promises {
            promises.arrange_wake_up(self.client.next_awaited_confirm());
        }
    }

    fn is_behind(&self) -> bool {
        self.promises.as_ref().is_some_and(Promises::is_behind)
    }

    fn hang_up(&mut self) {
        if let Some(promises) = &mut self.promises {
            promises.hang_up();
        }
    }
}

/// Whether the answer says that something will be so after a crash, too.
///
/// The others must not be late: deliveries follow the answer to a consumer, and a channel that has
/// ended gives back what it held.
fn is_promise(operation: &Operation) -> bool {
    match operation {
        Operation::DeclareExchange(_)
        | Operation::CheckExchange(_)
        | Operation::DeleteExchange { .. }
        | Operation::DeclareQueue(_)
        | Operation::CheckQueue(_)
        | Operation::DeleteQueue { .. }
        | Operation::PurgeQueue(_)
        | Operation::Bind(_)
        | Operation::Unbind(_)
        | Operation::Get { .. }
        | Operation::Commit(_) => true,
        Operation::Consume(_)
        | Operation::Cancel { .. }
        | Operation::Rollback
        | Operation::Close { .. } => false,
    }
}

fn operate(
    client: &mut Client,
    channel: ChannelNumber,
    operation: Operation,
    now: Moment,
) -> Result<Reply, Refusal> {
    match operation {
        Operation::DeclareExchange(declare) => {
            client.declare_exchange(&exchange_declaration(declare)).map(|()| Reply::Done)
        }
        Operation::CheckExchange(exchange) => {
            client.check_exchange(&exchange).map(|()| Reply::Done)
        }
        Operation::DeleteExchange { exchange, if_unused } => {
            client.delete_exchange(&exchange, if_unused).map(|()| Reply::Done)
        }
        Operation::DeclareQueue(declare) => {
            client.declare_queue(&queue_declaration(declare, client.id()), now).map(declared)
        }
        Operation::CheckQueue(queue) => client.check_queue(&queue, now).map(declared),
        Operation::DeleteQueue { queue, if_unused, if_empty } => {
            client.delete_queue(&queue, if_unused, if_empty, now).map(counted)
        }
        Operation::PurgeQueue(queue) => client.purge_queue(&queue, now).map(counted),
        Operation::Bind(binding) => client.bind(binding_of(&binding), now).map(|()| Reply::Done),
        Operation::Unbind(binding) => client.unbind(&binding_of(&binding)).map(|()| Reply::Done),
        Operation::Consume(consume) => {
            client.consume(channel, purpose(consume), now).map(|queue| Reply::Consuming { queue })
        }
        Operation::Cancel { queue, consumer } => {
            client.cancel(channel, queue, consumer, now);
            Ok(Reply::Done)
        }
        Operation::Get { queue, acknowledge, credit } => {
            client.take(&queue, acknowledge, credit, now).map(|got| Reply::Got(got.map(taken)))
        }
        Operation::Commit(settlements) => client
            .commit(channel, settlements, now)
            .map(|unroutable| Reply::Committed { unroutable }),
        Operation::Rollback => {
            client.roll_back(channel);
            Ok(Reply::Done)
        }
        Operation::Close { consumers } => {
            client.close_channel(channel, &consumers, now);
            Ok(Reply::Done)
        }
    }
}

fn exchange_declaration(declare: request::ExchangeDeclare) -> ExchangeDeclaration {
    ExchangeDeclaration {
        name: declare.exchange,
        kind: declare.kind,
        durable: declare.durable,
        auto_delete: declare.auto_delete,
        internal: declare.internal,
        arguments: declare.arguments,
    }
}

fn queue_declaration(declare: request::QueueDeclare, connection: ConnectionId) -> QueueDeclaration {
    QueueDeclaration {
        name: declare.queue,
        generated: declare.generated,
        durable: declare.durable,
        exclusive: declare.exclusive.then_some(connection),
        auto_delete: declare.auto_delete,
        arguments: declare.arguments,
    }
}

fn binding_of(binding: &request::Binding) -> Binding {
    let destination = match &binding.destination {
        request::Destination::Queue(queue) => Destination::Queue(queue.clone()),
        request::Destination::Exchange(exchange) => Destination::Exchange(exchange.clone()),
    };
    Binding::new(&binding.source, &destination, &binding.routing_key, &binding.arguments)
}

fn purpose(consume: request::Consume) -> Purpose {
    Purpose {
        queue: consume.queue,
        consumer: consume.consumer,
        acknowledge: consume.acknowledge,
        exclusive: consume.exclusive,
        prefetch: consume.prefetch,
        window: consume.window,
        credit: consume.credit,
        arguments: consume.arguments,
    }
}

fn declared(queue: broker::DeclaredQueue) -> Reply {
    Reply::QueueDeclared {
        queue: queue.name,
        messages: shown(queue.messages),
        consumers: shown(queue.consumers),
    }
}

fn counted(messages: u64) -> Reply {
    Reply::Counted(shown(messages))
}

fn taken(taken: broker::TakenMessage) -> request::Got {
    request::Got {
        queue: taken.queue,
        position: taken.position,
        redelivered: taken.redelivered,
        message: taken.message,
        remaining: shown(taken.remaining),
    }
}

/// A count as the protocol shows it, in 32 bits.
fn shown(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
