//! Consumers and settlements of one connection.

use std::sync::Arc;

use super::{Client, Place, replies};
use crate::{
    broker::{
        queue::{Command, Subscription},
        views::Subscriber,
    },
    model::{
        AcknowledgementTimeout, ChannelCredit, ChannelNumber, ConsumerId, ConsumerOptions,
        ConsumerTag, FieldTable, Message, Moment, Position, QueueId, QueueKind, QueueName, Refusal,
        Right, Settlement,
    },
};

/// What a consumer wants.
#[derive(Clone, Debug)]
pub struct Purpose {
    pub queue: QueueName,
    pub consumer: ConsumerId,
    /// What the client calls it; only shown.
    pub tag: ConsumerTag,
    pub acknowledge: bool,
    pub exclusive: bool,
    /// Messages that may be unacknowledged at a time; 0 is no limit.
    pub prefetch: u16,
    /// Octets that may be on their way.
    pub window: usize,
    pub credit: ChannelCredit,
    pub arguments: FieldTable,
}

/// A message that `basic.get` took.
#[derive(Clone, Debug, PartialEq)]
pub struct TakenMessage {
    pub queue: QueueId,
    pub position: Position,
    pub redelivered: bool,
    pub message: Message,
    /// Ready messages that remain.
    pub remaining: u64,
    pub timeout: AcknowledgementTimeout,
}

impl Client {
    /// Attaches a consumer; deliveries come through the connection's outbox. Says from which queue,
    /// and for how long they may be unacknowledged.
    ///
    /// # Errors
    /// When there is no such queue, it may not be used, or an argument is wrong.
    pub fn consume(
        &mut self,
        channel: ChannelNumber,
        purpose: Purpose,
        now: Moment,
    ) -> Result<(QueueId, AcknowledgementTimeout), Refusal> {
        if replies::is_reply_queue(&purpose.queue) {
            self.consume_replies(channel, &purpose)?;
            return Ok((replies::REPLY_QUEUE, AcknowledgementTimeout::default()));
        }
        self.may_with_queue(Right::Read, &purpose.queue)?;
        let place = self.place_of(&purpose.queue)?;
        let kind = place.record().options.kind;
        let options = ConsumerOptions::parse(&place.resource(), kind, &purpose.arguments)?;
        if kind == QueueKind::Quorum && purpose.credit.is_limited() {
            return Err(Refusal::GlobalPrefetchUnsupported(place.resource()));
        }
        let subscription = Subscription {
            consumer: purpose.consumer,
            prefetch: purpose.prefetch,
            acknowledge: purpose.acknowledge,
            priority: options.priority,
            exclusive: purpose.exclusive,
            window: purpose.window,
            credit: purpose.credit,
        };
        let subscriber = Subscriber {
            id: purpose.consumer,
            channel,
            tag: purpose.tag.detached(),
            acknowledge: purpose.acknowledge,
            exclusive: purpose.exclusive,
            prefetch: purpose.prefetch,
            arguments: purpose.arguments.detached(),
        };
        let way = (subscriber, Arc::clone(&self.outbox));
        match &place {
            Place::Here(hosted) => self.broker.subscribe(hosted, subscription, way, now)?,
            Place::Elsewhere(remote) => {
                self.broker.subscribe_far(remote, subscription, way, now)?;
            }
        }
        Ok((place.record().id, place.timeout().clone()))
    }

    /// Detaches a consumer; one that is not there counts as detached.
    pub fn cancel(
        &mut self,
        channel: ChannelNumber,
        queue: QueueId,
        consumer: ConsumerId,
        now: Moment,
    ) {
        if queue == replies::REPLY_QUEUE {
            self.forget_reply_consumer(channel);
        } else if let Some(hosted) = self.broker.queue(queue) {
            self.broker.unsubscribe(&hosted, consumer, now);
        } else {
            self.broker.command(queue, Command::Unsubscribe { consumer }, now);
        }
    }

    /// Takes one message out of a queue, as `basic.get` does.
    ///
    /// # Errors
    /// When there is no such queue, or it may not be used so.
    pub fn take(
        &mut self,
        queue: &QueueName,
        acknowledge: bool,
        credit: ChannelCredit,
        now: Moment,
    ) -> Result<Option<TakenMessage>, Refusal> {
        self.may_with_queue(Right::Read, queue)?;
        let place = self.place_of(queue)?;
        let options = &place.record().options;
        if options.kind == QueueKind::Quorum && options.single_active_consumer {
            return Err(Refusal::GetUnsupported(place.resource()));
        }
        let hosted = match place {
            Place::Here(hosted) => hosted,
            Place::Elsewhere(remote) => {
                return self.broker.take_far(&remote, acknowledge, &credit, now);
            }
        };
        let taken = self.broker.take(&hosted, Command::Get { acknowledge, credit }, now)?;
        let awaited = taken.as_ref().map(|taken| taken.awaited).unwrap_or_default();
        self.awaited = self.awaited.max(awaited);
        Ok(taken.map(|taken| TakenMessage {
            queue: hosted.record.id,
            position: taken.position,
            redelivered: taken.redelivered,
            message: taken.message,
            remaining: taken.remaining,
            timeout: hosted.timeout.clone(),
        }))
    }

    /// Ends or gives back deliveries; those of a queue that is gone are gone with it.
    pub fn settle(&mut self, settlements: Vec<Settlement>, now: Moment) {
        self.broker.settle_all(settlements, now);
    }

    /// Octets have left for the client's socket: its consumer has room for as many more.
    pub fn replenish(&mut self, queue: QueueId, consumer: ConsumerId, octets: usize, now: Moment) {
        if queue == replies::REPLY_QUEUE {
            return self.replies_left(consumer, octets);
        }
        self.broker.command(queue, Command::Replenish { consumer, octets }, now);
    }

    /// A channel's shared credit has room again.
    pub fn resume(&mut self, queues: &[QueueId], now: Moment) {
        for &queue in queues {
            self.broker.command(queue, Command::Resume, now);
        }
    }
}
