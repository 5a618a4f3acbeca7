//! Carries out a session's requests against the broker.

use crate::{
    broker::{self, Binding, Client, Destination, ExchangeDeclaration, Purpose, QueueDeclaration},
    model::{ChannelNumber, ConnectionId, Moment, Refusal},
    net::Backend,
    session::request::{self, Answer, Operation, Reply, Request},
};

/// One connection's way to the broker.
#[derive(Debug)]
pub(crate) struct BrokerBackend {
    client: Client,
}

impl BrokerBackend {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }
}

impl Backend for BrokerBackend {
    fn execute(&mut self, request: Request, now: Moment) -> Option<Answer> {
        let client = &mut self.client;
        Some(match request {
            Request::Login(login) => Answer::Admitted(client.login(&login.user, &login.password)),
            Request::OpenVirtualHost(name) => Answer::Opened(client.open(&name)),
            Request::Publish(publications) => Answer::Published(client.publish(publications, now)),
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
                Answer::Done { channel, result: operate(client, channel, operation, now) }
            }
            Request::Leave => {
                client.leave(now);
                Answer::Left
            }
        })
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
        Operation::Bind(binding) => client.bind(binding_of(&binding)).map(|()| Reply::Done),
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
