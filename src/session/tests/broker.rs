//! A broker that is just good enough to talk to: queues by name, bound by name, one consumer each.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    model::{
        AcknowledgementTimeout, ChannelNumber, Confirmed, ConsumerId, Delivery, Message, Outcome,
        Position, Publication, Published, QueueId, QueueName, Refusal, Resource, ResourceKind,
        Settlement, ShortString, VirtualHostName,
    },
    session::request::{Answer, Credential, Event, Got, Operation, Reply, Request},
};

#[derive(Default)]
pub(super) struct Broker {
    pub(super) queues: BTreeMap<QueueName, Queue>,
    pub(super) events: Vec<Event>,
    /// Publications to this queue are refused by it.
    pub(super) full: Option<&'static str>,
    /// Confirms wait for a disk, which has what is published when the test says so.
    pub(super) has_disk: bool,
    unwritten: Vec<Confirmed>,
    transaction: Vec<Publication>,
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) id: QueueId,
    pub(super) ready: VecDeque<(Position, Message, bool)>,
    pub(super) out: BTreeMap<Position, Message>,
    pub(super) timeout: AcknowledgementTimeout,
    last: u64,
    consumer: Option<(ConsumerId, bool)>,
}

impl Broker {
    pub(super) fn execute(&mut self, request: &Request) -> Option<Answer> {
        Some(match request {
            Request::Login(login) if login.credential == Credential::Password("wrong".into()) => {
                Answer::Admitted(Err(Refusal::LoginRefused))
            }
            Request::Login(login) if login.credential == Credential::Password("many".into()) => {
                Answer::Dismissed
            }
            Request::Login(_) => Answer::Admitted(Ok(())),
            Request::OpenVirtualHost(opening) => Answer::Opened(match &opening.virtual_host {
                name if *name == "/" => Ok(()),
                name => Err(Refusal::VirtualHostNotFound(name.clone())),
            }),
            Request::Publish(publications) => Answer::Published(self.publish(publications)),
            Request::Settle(settlements) => {
                settlements.iter().for_each(|settled| self.settle(settled));
                Answer::Settled
            }
            Request::Replenish(_) | Request::Resume(_) => return None,
            Request::Operate { channel, operation } => {
                if let Operation::Close { .. } = operation {
                    self.unwritten.retain(|run| run.channel != *channel);
                }
                Answer::Done { channel: *channel, result: self.operate(operation) }
            }
            Request::Leave => Answer::Left,
        })
    }

    pub(super) fn ready(&self, name: &str) -> usize {
        self.queues.get(name.as_bytes()).map_or(0, |queue| queue.ready.len())
    }

    /// The disk has what was published so far.
    pub(super) fn write(&mut self) -> Event {
        Event::Confirmed(std::mem::take(&mut self.unwritten))
    }

    fn confirm_late(&mut self, channel: ChannelNumber, number: u64) {
        match self.unwritten.last_mut() {
            Some(run) if run.channel == channel && run.last + 1 == number => run.last = number,
            _ => self.unwritten.push(Confirmed { channel, first: number, last: number }),
        }
    }

    fn publish(&mut self, publications: &[Publication]) -> Vec<Published> {
        let mut fates = Vec::new();
        let mut refused = Vec::new();
        for publication in publications {
            let channel = publication.channel;
            if refused.contains(&channel) {
                continue;
            }
            let message = &publication.message;
            if !message.exchange().is_empty() {
                let refusal = not_found(ResourceKind::Exchange, message.exchange());
                fates.push(Published::Refused { channel, refusal });
                refused.push(channel);
                continue;
            }
            if publication.transactional {
                self.transaction.push(publication.clone());
                continue;
            }
            let is_routed = self.enqueue(message);
            if !is_routed && publication.mandatory {
                fates.push(Published::Unroutable { channel, message: message.clone() });
            }
            let is_full = self.full.is_some_and(|full| full.as_bytes() == message.routing_key());
            if let (Some(number), true, false) = (publication.confirm, self.has_disk, is_full) {
                self.confirm_late(channel, number);
                continue;
            }
            fates.extend(publication.confirm.map(|number| match is_full {
                true => Published::Rejected { channel, number },
                false => Published::Confirmed { channel, number },
            }));
        }
        fates
    }

    fn operate(&mut self, operation: &Operation) -> Result<Reply, Refusal> {
        match operation {
            Operation::DeclareQueue(declare) => {
                let id = QueueId(self.queues.len() as u64 + 1);
                let queue = self.queues.entry(declare.queue.detached()).or_default();
                queue.id = id;
                Ok(Reply::QueueDeclared { queue: declare.queue.clone(), messages: 0, consumers: 0 })
            }
            Operation::CheckQueue(name) => {
                let queue = self.find(name)?;
                let messages = queue.ready.len() as u32;
                Ok(Reply::QueueDeclared { queue: name.clone(), messages, consumers: 0 })
            }
            Operation::DeleteQueue { queue, .. } => {
                let deleted = self.queues.remove(queue);
                let consumer = deleted.as_ref().and_then(|queue| queue.consumer);
                self.events.extend(consumer.map(|(id, _)| Event::ConsumerCancelled(id)));
                Ok(Reply::Counted(deleted.map_or(0, |queue| queue.ready.len() as u32)))
            }
            Operation::PurgeQueue(name) => {
                let ready = std::mem::take(&mut self.find(name)?.ready);
                Ok(Reply::Counted(ready.len() as u32))
            }
            Operation::Consume(consume) => {
                let queue = self.find(&consume.queue)?;
                queue.consumer = Some((consume.consumer, consume.acknowledge));
                let (id, timeout) = (queue.id, queue.timeout.clone());
                self.dispatch(id);
                Ok(Reply::Consuming(id, timeout))
            }
            Operation::Cancel { queue, .. } => {
                self.with(*queue, |queue| queue.consumer = None);
                Ok(Reply::Done)
            }
            Operation::Get { queue, acknowledge, .. } => {
                let acknowledge = *acknowledge;
                Ok(Reply::Got(self.find(queue)?.get(acknowledge)))
            }
            Operation::Commit(settlements) => {
                settlements.iter().for_each(|settled| self.settle(settled));
                let mut publications = std::mem::take(&mut self.transaction);
                publications.retain(|held| !self.enqueue(&held.message) && held.mandatory);
                let unroutable = publications.into_iter().map(|held| held.message).collect();
                Ok(Reply::Committed { unroutable })
            }
            Operation::Rollback => {
                self.transaction.clear();
                Ok(Reply::Done)
            }
            Operation::Close { consumers } => {
                for (queue, _) in consumers {
                    self.with(*queue, |queue| queue.consumer = None);
                }
                Ok(Reply::Done)
            }
            Operation::CheckExchange(name) => Err(not_found(ResourceKind::Exchange, name)),
            Operation::Open
            | Operation::DeclareExchange(_)
            | Operation::DeleteExchange { .. }
            | Operation::Bind(_)
            | Operation::Unbind(_) => Ok(Reply::Done),
        }
    }

    fn enqueue(&mut self, message: &Message) -> bool {
        let Some(queue) = self.queues.get_mut(message.routing_key()) else {
            return false;
        };
        queue.last += 1;
        queue.ready.push_back((Position(queue.last), message.clone(), false));
        let id = queue.id;
        self.dispatch(id);
        true
    }

    fn settle(&mut self, settled: &Settlement) {
        self.with(settled.queue, |queue| {
            settled.positions.iter().for_each(|position| queue.settle(*position, settled.outcome));
        });
        self.dispatch(settled.queue);
    }

    fn dispatch(&mut self, id: QueueId) {
        let mut events = Vec::new();
        self.with(id, |queue| events = queue.dispatch());
        self.events.append(&mut events);
    }

    fn find(&mut self, name: &QueueName) -> Result<&mut Queue, Refusal> {
        self.queues.get_mut(name).ok_or_else(|| not_found(ResourceKind::Queue, name))
    }

    fn with(&mut self, id: QueueId, work: impl FnOnce(&mut Queue)) {
        if let Some(queue) = self.queues.values_mut().find(|queue| queue.id == id) {
            work(queue);
        }
    }
}

impl Queue {
    fn settle(&mut self, position: Position, outcome: Outcome) {
        let message = self.out.remove(&position);
        if let (Some(message), Outcome::Requeue) = (message, outcome) {
            let index = self.ready.partition_point(|(other, ..)| *other < position);
            self.ready.insert(index, (position, message, true));
        }
    }

    fn dispatch(&mut self) -> Vec<Event> {
        let Some((consumer, acknowledge)) = self.consumer else {
            return Vec::new();
        };
        let ready = std::mem::take(&mut self.ready);
        if acknowledge {
            self.out.extend(ready.iter().map(|(place, message, _)| (*place, message.clone())));
        }
        let deliveries = ready.into_iter().map(|(position, message, redelivered)| Delivery {
            consumer,
            queue: self.id,
            position,
            redelivered,
            message,
        });
        deliveries.map(Event::Deliver).collect()
    }

    fn get(&mut self, acknowledge: bool) -> Option<Got> {
        let (position, message, redelivered) = self.ready.pop_front()?;
        if acknowledge {
            self.out.insert(position, message.clone());
        }
        let remaining = self.ready.len() as u32;
        let timeout = self.timeout.clone();
        Some(Got { queue: self.id, position, redelivered, message, remaining, timeout })
    }
}

fn not_found(kind: ResourceKind, name: &[u8]) -> Refusal {
    let name = ShortString::new(name.to_vec().into()).unwrap();
    Refusal::NotFound(Resource { kind, name, virtual_host: VirtualHostName::from_static("/") })
}
