//! Carries out a session's requests against the broker.

use std::sync::Arc;

use super::{
    attempts::{Attempts, Failed, Held, Protocol},
    connections::{Connected, Connections},
    promises::Promises,
};
use crate::{
    broker::{self, Binding, Client, Destination, ExchangeDeclaration, Purpose, QueueDeclaration},
    model::{ChannelNumber, Confirmed, ConnectionId, Moment, Publication, Published, Refusal},
    net::{Backend, Peer},
    session::{
        Pace,
        request::{self, Answer, Credential, Login, Opening, Operation, Reply, Request},
    },
};

/// One connection's way to the broker.
#[derive(Debug)]
pub(crate) struct BrokerBackend {
    client: Client,
    /// Absent: nothing survives the node, and nothing waits for a disk.
    promises: Option<Promises>,
    desk: Desk,
    /// The answer to a login that has failed too often, and when it is given.
    refused: Option<(Moment, Answer)>,
    /// The connection is kept although its login has failed.
    held: Option<Held>,
    pace: Pace,
}

/// What the node notes of a client who comes in.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    pub(super) peer: Peer,
    pub(super) attempts: Arc<Attempts>,
    pub(super) connections: Arc<Connections>,
}

impl BrokerBackend {
    pub(super) fn new(client: Client, promises: Option<Promises>, desk: Desk) -> Self {
        Self { client, promises, desk, refused: None, held: None, pace: Pace::FREE }
    }

    /// Lets a user in. Who fails again and again is told so ever later.
    fn log_in(&mut self, login: &Login, now: Moment) -> Option<Answer> {
        let Desk { peer, attempts, .. } = &self.desk;
        let admitted = match &login.credential {
            Credential::Password(password) => self.client.login(&login.user, Some(password)),
            Credential::Certificate => self.client.login(&login.user, None),
            Credential::Nothing => Err(Refusal::LoginRefused),
        };
        if admitted.is_ok() {
            attempts.succeeded(Protocol::Amqp);
            return Some(Answer::Admitted(admitted));
        }
        let Failed { delay, is_logged } = attempts.failed(Protocol::Amqp, peer.remote.ip(), now);
        if is_logged {
            let (remote, user) = (peer.remote, String::from_utf8_lossy(&login.user));
            tracing::warn!(%remote, %user, mechanism = %login.mechanism, "login refused");
        }
        self.held = attempts.hold();
        if self.held.is_none() {
            return Some(Answer::Dismissed);
        }
        let answer = Answer::Admitted(admitted);
        if delay.is_zero() {
            return Some(answer);
        }
        self.refused = Some((now + delay, answer));
        self.pace.pause = Some(now + delay);
        None
    }

    fn open(&mut self, opening: Opening, now: Moment) -> Answer {
        let opened = self.client.open(&opening.virtual_host);
        if opened.is_ok() {
            let (peer, introduction) = (self.desk.peer.clone(), opening.introduction);
            self.desk.connections.add(Connected { peer, introduction, since: now });
            self.keep_pace(&[], now);
        }
        Answer::Opened(opened)
    }

    fn publish(&mut self, publications: Vec<Publication>, now: Moment) -> Vec<Published> {
        self.keep_pace(&publications, now);
        let published = self.client.publish(publications, now);
        if let Some(promises) = &mut self.promises {
            // Its confirms come late by themselves.
            self.client.take_awaited();
            promises.published();
        }
        published
    }

    /// What is published now decides when more may be.
    fn keep_pace(&mut self, publications: &[Publication], now: Moment) {
        let ration = self.client.ration();
        self.pace = match ration {
            None => Pace::FREE,
            Some(ration) => {
                let messages = publications.len() as u64;
                let octets = publications.iter().map(|each| each.message.body().len() as u64);
                let pause = self.client.pause_after(messages, octets.sum(), now);
                Pace { at_once: ration, pause }
            }
        };
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
            Request::Login(login) => return self.log_in(&login, now),
            Request::OpenVirtualHost(opening) => self.open(*opening, now),
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
                self.desk.connections.remove(self.desk.peer.connection);
                client.leave(now);
                Answer::Left
            }
        })
    }

    fn take_late_confirms(&mut self) -> Vec<Confirmed> {
        let promises = self.promises.as_ref();
        promises.map(|promises| promises.take_confirms(&mut self.client)).unwrap_or_default()
    }

    fn next_late_answer(&mut self, now: Moment) -> Option<Answer> {
        if let Some((_, answer)) = self.refused.take_if(|(moment, _)| *moment <= now) {
            return Some(answer);
        }
        self.promises.as_mut()?.next_answer()
    }

    fn arrange_wake_up(&mut self) {
        if let Some(promises) = &mut self.promises {
            promises.arrange_wake_up(self.client.next_awaited_confirm());
        }
    }

    fn is_behind(&mut self) -> bool {
        self.client.is_crowded() || self.promises.as_ref().is_some_and(Promises::is_behind)
    }

    fn pace(&self) -> Pace {
        self.pace
    }

    fn hang_up(&mut self) {
        self.refused = None;
        self.pace = Pace::FREE;
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
        Operation::Open
        | Operation::Consume(_)
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
        Operation::Open => client.open_channel(channel).map(|()| Reply::Done),
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
            let consuming = client.consume(channel, purpose(consume), now);
            consuming.map(|(queue, timeout)| Reply::Consuming(queue, timeout))
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
        tag: consume.tag,
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
        timeout: taken.timeout,
    }
}

/// A count as the protocol shows it, in 32 bits.
fn shown(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
