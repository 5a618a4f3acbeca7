//! `basic.consume`, `cancel` and `get`, and the deliveries that follow.

use super::{
    Channel, Expected, Pending,
    publishing::{exchange_of, routing_key_of},
};
use crate::{
    model::{ConsumerId, ConsumerTag, DELIVERY_OVERHEAD, Delivery, QueueId},
    session::{
        connection::Connection,
        consumers::Consumer,
        exception::Fault,
        request::{Consume, Got, Operation},
    },
    wire::method::{
        BasicCancel, BasicCancelOk, BasicConsume, BasicConsumeOk, BasicGet, BasicGetEmpty,
        BasicGetOk, Method,
    },
};

impl Channel {
    pub(super) fn consume(
        &mut self,
        consume: BasicConsume,
        connection: &mut Connection,
    ) -> Result<(), Fault> {
        let queue = self.queue_named(consume.queue)?;
        let tag = match consume.consumer_tag {
            tag if tag.is_empty() => connection.names.draw("amq.ctag-").into(),
            tag => tag.detached(),
        };
        if self.consuming.contains_key(&tag) {
            return Err(Fault::ConsumerTagInUse(tag));
        }
        if let Some(limit) = connection.settings.consumers_per_channel
            && self.consuming.len() >= limit
        {
            return Err(Fault::TooManyConsumers(limit));
        }
        let acknowledge = !consume.no_ack;
        let consumer = Consumer::new(self.number, tag.clone(), acknowledge);
        let id = connection.consumers.insert(consumer);
        self.consuming.insert(tag.clone(), id);
        let operation = Operation::Consume(Consume {
            queue,
            consumer: id,
            tag,
            acknowledge,
            exclusive: consume.exclusive,
            prefetch: self.prefetch.per_consumer,
            window: connection.settings.consumer_window,
            credit: self.prefetch.credit.clone(),
            arguments: consume.arguments,
        });
        let expected = Expected::Consuming { consumer: id, no_wait: consume.no_wait };
        self.ask(operation, expected, (60, 20), connection);
        Ok(())
    }

    /// The broker lets the consumer in.
    pub(super) fn started(
        &self,
        id: ConsumerId,
        queue: QueueId,
        no_wait: bool,
        connection: &mut Connection,
    ) {
        let Some(consumer) = connection.consumers.find(id) else {
            return;
        };
        consumer.queue = Some(queue);
        let reply = BasicConsumeOk { consumer_tag: consumer.tag.clone() };
        self.send((!no_wait).then(|| reply.into()), connection);
    }

    /// Cancelling an unknown consumer is answered like any other.
    pub(super) fn cancel(&mut self, cancel: BasicCancel, connection: &mut Connection) {
        let BasicCancel { consumer_tag, no_wait } = cancel;
        let known = self.consuming.get(&consumer_tag).copied();
        let reply: Option<Method> = (!no_wait).then(|| BasicCancelOk { consumer_tag }.into());
        let queue =
            known.and_then(|id| connection.consumers.find(id)?.queue.map(|queue| (id, queue)));
        let Some((consumer, queue)) = queue else {
            return self.send(reply, connection);
        };
        let expected = Expected::Cancelled { consumer, reply };
        self.ask(Operation::Cancel { queue, consumer }, expected, (60, 30), connection);
    }

    pub(super) fn get(&mut self, get: BasicGet, connection: &mut Connection) -> Result<(), Fault> {
        let queue = self.queue_named(get.queue)?;
        let acknowledge = !get.no_ack;
        let credit = self.prefetch.credit.clone();
        let operation = Operation::Get { queue, acknowledge, credit };
        self.ask(operation, Expected::Got { acknowledge }, (60, 70), connection);
        Ok(())
    }

    pub(super) fn got(&mut self, got: Option<Got>, acknowledge: bool, connection: &mut Connection) {
        let Some(got) = got else {
            return self.send(Some(BasicGetEmpty::default().into()), connection);
        };
        let delivery_tag = if acknowledge {
            let tag = self.unacked.record(got.queue, got.position);
            self.heed(got.queue, got.timeout, connection);
            tag
        } else {
            self.unacked.skip()
        };
        if !self.is_open() {
            return;
        }
        let method = BasicGetOk {
            delivery_tag,
            redelivered: got.redelivered,
            exchange: exchange_of(&got.message),
            routing_key: routing_key_of(&got.message),
            message_count: got.remaining,
        };
        connection.outgoing.with_content(self.number, method.into(), &got.message);
    }

    /// Hands a message to the client. On a channel that ends it is only recorded, to go back with
    /// the rest.
    #[inline]
    pub(in crate::session) fn deliver(&mut self, delivery: &Delivery, connection: &mut Connection) {
        let is_open = self.is_open();
        let Some(consumer) = connection.consumers.find(delivery.consumer) else {
            return;
        };
        if consumer.queue.is_none() {
            return self.deliver_early(delivery, connection);
        }
        let tag = if consumer.acknowledge {
            self.unacked.record(delivery.queue, delivery.position)
        } else {
            self.unacked.skip()
        };
        if !is_open {
            return;
        }
        let Delivery { redelivered, message, .. } = delivery;
        connection.outgoing.delivery(self.number, &consumer.prefix, tag, *redelivered, message);
        let octets = message.size() + DELIVERY_OVERHEAD;
        connection.count_written(delivery.consumer, octets);
    }

    /// A delivery that overtakes the answer to its `basic.consume` proves what that would say.
    #[cold]
    fn deliver_early(&mut self, delivery: &Delivery, connection: &mut Connection) {
        self.start_early(delivery.consumer, delivery.queue, connection);
        let consumer = connection.consumers.find(delivery.consumer);
        if consumer.is_some_and(|consumer| consumer.queue.is_some()) {
            self.deliver(delivery, connection);
        }
    }

    /// Says that the consumer has started before the broker's answer does.
    fn start_early(&mut self, id: ConsumerId, queue: QueueId, connection: &mut Connection) {
        let pending = self.pending.as_mut().map(|pending| &mut pending.expected);
        if let Some(Expected::Consuming { consumer, no_wait }) = pending
            && *consumer == id
        {
            let was_told = std::mem::replace(no_wait, true);
            self.started(id, queue, was_told, connection);
        }
    }

    /// The broker has ended a consumer; a client that knows of such a thing is told, after the
    /// answer to what may have ended it.
    pub(in crate::session) fn cancelled(&mut self, id: ConsumerId, connection: &mut Connection) {
        self.start_early(id, QueueId::default(), connection);
        let Some(consumer) = self.forget(id, connection) else {
            return;
        };
        let is_deleting = |pending: &Pending| matches!(pending.expected, Expected::Counted(_));
        if self.pending.as_ref().is_some_and(is_deleting) {
            self.cancelled_meanwhile.push(consumer.tag);
        } else {
            self.tell_cancelled(consumer.tag, connection);
        }
    }

    /// Tells the client that a consumer of its has ended.
    pub(super) fn tell_cancelled(&self, consumer_tag: ConsumerTag, connection: &mut Connection) {
        if connection.notify_cancel {
            self.send(Some(BasicCancel { consumer_tag, no_wait: true }.into()), connection);
        }
    }

    pub(super) fn forget(
        &mut self,
        id: ConsumerId,
        connection: &mut Connection,
    ) -> Option<Consumer> {
        let consumer = connection.consumers.remove(id)?;
        self.consuming.remove(&consumer.tag);
        Some(consumer)
    }
}
