//! Parcels as octets, for the way between two nodes.
//!
//! Numbers are written seven bits at a time. What comes in is read without trust: octets that mean
//! nothing are no parcel.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::parcel::{Answer, Claims, Content, Denial, Got, Parcel, Question, Seen, Shipment};
use crate::{
    broker::{
        queue::{Arrival, Stored, Subscription},
        views::Subscriber,
    },
    model::{
        ChannelCredit, ChannelNumber, ConnectionId, ConsumerId, ConsumerTag, Delivery, FieldTable,
        Message, NodeNumber, Outcome, Position, PositionRange, QueueId, ShortString,
        compact::{Reader, put_octets, put_varint},
        octets::{Field, Writer},
    },
};

const PUBLISH: u8 = 1;
const CLAIMS: u8 = 2;
const DETACH: u8 = 3;
const SETTLE: u8 = 4;
const REPLENISH: u8 = 5;
const ASK: u8 = 6;
const LEADS: u8 = 7;
const DECIDED: u8 = 8;
const RESEND: u8 = 9;
const DELIVER: u8 = 10;
const CANCELLED: u8 = 11;
const ANSWER: u8 = 12;
const HAND_OVER: u8 = 13;
const WHO_LEADS: u8 = 14;

/// The octets before a table that tell its length.
const TABLE_LENGTH: usize = 4;

impl Parcel {
    /// The parcel as octets.
    pub fn octets(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.queue.0);
        put_varint(&mut out, self.term);
        put_content(&mut out, &self.content);
        out
    }

    /// Reads a parcel; `None` when the octets are none. Never panics.
    pub fn read(octets: &Bytes) -> Option<Self> {
        let mut from = Source { reader: Reader::new(octets), arena: BytesMut::new() };
        let (queue, term) = (QueueId(from.number()?), from.number()?);
        let content = from.content()?;
        from.reader.is_empty().then_some(Self { queue, term, content })
    }
}

fn put_content(out: &mut Vec<u8>, content: &Content) {
    match content {
        Content::Publish(shipment) => {
            out.push(PUBLISH);
            put_numbers(out, &[shipment.sender, shipment.first, shipment.heard]);
            put_list(out, &shipment.arrivals, |out, arrival| {
                out.push(arrival.is_some().into());
                arrival.iter().for_each(|arrival| put_arrival(out, arrival));
            });
        }
        Content::Claims(claims) => {
            out.push(CLAIMS);
            put_list(out, &claims.consumers, |out, (subscription, subscriber)| {
                put_consumer(out, subscription, subscriber);
            });
            put_list(out, &claims.held, |out, (consumer, ranges)| {
                put_id(out, *consumer);
                put_list(out, ranges, put_range);
            });
        }
        Content::Detach(consumer) => {
            out.push(DETACH);
            put_id(out, *consumer);
        }
        Content::Settle { positions, outcome } => {
            out.push(SETTLE);
            out.push(outcome_octet(*outcome));
            put_list(out, positions, put_range);
        }
        Content::Replenish { consumer, octets } => {
            out.push(REPLENISH);
            put_id(out, *consumer);
            put_varint(out, *octets);
        }
        Content::Ask { number, question } => {
            out.push(ASK);
            put_varint(out, *number);
            put_question(out, question);
        }
        Content::HandOver(to) => {
            out.push(HAND_OVER);
            put_varint(out, to.0.into());
        }
        Content::WhoLeads => out.push(WHO_LEADS),
        Content::Leads => out.push(LEADS),
        Content::Decided { sender, below, refused } => {
            out.push(DECIDED);
            put_numbers(out, &[*sender, *below]);
            put_list(out, refused, |out, number| put_varint(out, *number));
        }
        Content::Resend { sender, from } => {
            out.push(RESEND);
            put_numbers(out, &[*sender, *from]);
        }
        Content::Deliver(deliveries) => {
            out.push(DELIVER);
            put_list(out, deliveries, put_delivery);
        }
        Content::Cancelled(consumer) => {
            out.push(CANCELLED);
            put_id(out, *consumer);
        }
        Content::Answer { number, answer } => {
            out.push(ANSWER);
            put_varint(out, *number);
            put_answer(out, answer);
        }
    }
}

fn outcome_octet(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Acknowledge => 0,
        Outcome::Requeue => 1,
        Outcome::Reject => 2,
    }
}

fn put_question(out: &mut Vec<u8>, question: &Question) {
    match question {
        Question::Get { acknowledge } => out.extend([0, u8::from(*acknowledge)]),
        Question::Purge => out.push(1),
        Question::Counts { touch } => out.extend([2, u8::from(*touch)]),
        Question::End { if_unused, if_empty } => {
            out.extend([3, u8::from(*if_unused), u8::from(*if_empty)]);
        }
        Question::Subscribe(consumer) => {
            out.push(4);
            put_consumer(out, &consumer.0, &consumer.1);
        }
        Question::View => out.push(5),
    }
}

fn put_answer(out: &mut Vec<u8>, answer: &Answer) {
    match answer {
        Answer::Got(None) => out.push(0),
        Answer::Got(Some(got)) => {
            out.push(1);
            put_numbers(out, &[got.position.0, got.redelivered.into(), got.remaining]);
            put_message(out, &got.message, 0);
        }
        Answer::Purged(messages) => {
            out.push(2);
            put_varint(out, *messages);
        }
        Answer::Counts { ready, unacknowledged, consumers } => {
            out.push(3);
            put_numbers(out, &[*ready, *unacknowledged, *consumers]);
        }
        Answer::Ended(messages) => {
            out.push(4);
            put_varint(out, *messages);
        }
        Answer::Subscribed => out.push(5),
        Answer::View(seen) => {
            out.push(6);
            put_numbers(
                out,
                &[seen.ready, seen.unacknowledged, seen.ready_octets, seen.unacknowledged_octets],
            );
            put_list(out, &seen.consumers, |out, (subscriber, is_active)| {
                put_subscriber(out, subscriber);
                out.push((*is_active).into());
            });
        }
        Answer::Denied(denial) => out.extend([
            7,
            match denial {
                Denial::Gone => 0,
                Denial::InExclusiveUse => 1,
                Denial::NotEmpty => 2,
                Denial::InUse => 3,
            },
        ]),
    }
}

fn put_numbers(out: &mut Vec<u8>, numbers: &[u64]) {
    numbers.iter().for_each(|number| put_varint(out, *number));
}

fn put_list<T>(out: &mut Vec<u8>, list: &[T], mut put: impl FnMut(&mut Vec<u8>, &T)) {
    put_varint(out, list.len() as u64);
    list.iter().for_each(|item| put(out, item));
}

fn put_range(out: &mut Vec<u8>, range: &PositionRange) {
    put_numbers(out, &[range.first.0, range.last.0 - range.first.0]);
}

fn put_id(out: &mut Vec<u8>, consumer: ConsumerId) {
    put_numbers(out, &[consumer.connection.0, consumer.serial]);
}

fn put_message(out: &mut Vec<u8>, message: &Message, priority: u8) {
    let mut head = Vec::with_capacity(64);
    Stored::put_head(&mut head, message, priority, None);
    put_varint(out, (head.len() + message.body().len()) as u64);
    out.extend_from_slice(&head);
    out.extend_from_slice(message.body());
}

fn put_arrival(out: &mut Vec<u8>, arrival: &Arrival) {
    out.push(arrival.persistent.into());
    let nanoseconds = arrival.time_to_live.map(|time| time.as_millis());
    let milliseconds = nanoseconds.map(|time| u64::try_from(time).unwrap_or(u64::MAX));
    put_varint(out, milliseconds.map_or(0, |time| time.saturating_add(1)));
    put_message(out, &arrival.message, arrival.priority);
}

fn put_delivery(out: &mut Vec<u8>, delivery: &Delivery) {
    put_id(out, delivery.consumer);
    put_numbers(out, &[delivery.position.0, delivery.redelivered.into()]);
    put_message(out, &delivery.message, 0);
}

fn put_consumer(out: &mut Vec<u8>, subscription: &Subscription, subscriber: &Subscriber) {
    put_numbers(out, &[subscription.priority.cast_unsigned(), subscription.window as u64]);
    put_subscriber(out, subscriber);
}

fn put_subscriber(out: &mut Vec<u8>, subscriber: &Subscriber) {
    put_id(out, subscriber.id);
    put_numbers(
        out,
        &[
            subscriber.channel.0.into(),
            subscriber.acknowledge.into(),
            subscriber.exclusive.into(),
            subscriber.prefetch.into(),
        ],
    );
    put_octets(out, &subscriber.tag);
    let mut table = BytesMut::new();
    subscriber.arguments.write(&mut Writer::new(&mut table));
    put_octets(out, &table[TABLE_LENGTH..]);
}

/// What is being read.
struct Source<'a> {
    reader: Reader<'a>,
    /// Where small messages are packed.
    arena: BytesMut,
}

impl Source<'_> {
    fn number(&mut self) -> Option<u64> {
        self.reader.varint()
    }

    fn flag(&mut self) -> Option<bool> {
        match self.number()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.number()?;
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(read(self)?);
        }
        Some(list)
    }

    fn content(&mut self) -> Option<Content> {
        Some(match self.reader.u8()? {
            PUBLISH => Content::Publish(Shipment {
                sender: self.number()?,
                first: self.number().filter(|first| *first > 0)?,
                heard: self.number()?,
                arrivals: self.list(|from| match from.flag()? {
                    true => from.arrival().map(Some),
                    false => Some(None),
                })?,
            }),
            CLAIMS => Content::Claims(Claims {
                consumers: self.list(Self::consumer)?,
                held: self.list(|from| Some((from.id()?, from.list(Self::range)?)))?,
            }),
            DETACH => Content::Detach(self.id()?),
            SETTLE => {
                let outcome = match self.reader.u8()? {
                    0 => Outcome::Acknowledge,
                    1 => Outcome::Requeue,
                    2 => Outcome::Reject,
                    _ => return None,
                };
                Content::Settle { positions: self.list(Self::range)?, outcome }
            }
            REPLENISH => Content::Replenish { consumer: self.id()?, octets: self.number()? },
            ASK => Content::Ask { number: self.number()?, question: self.question()? },
            WHO_LEADS => Content::WhoLeads,
            HAND_OVER => Content::HandOver(NodeNumber(u32::try_from(self.number()?).ok()?)),
            LEADS => Content::Leads,
            DECIDED => Content::Decided {
                sender: self.number()?,
                below: self.number()?,
                refused: self.list(Self::number)?,
            },
            RESEND => Content::Resend { sender: self.number()?, from: self.number()? },
            DELIVER => Content::Deliver(self.list(Self::delivery)?),
            CANCELLED => Content::Cancelled(self.id()?),
            ANSWER => Content::Answer { number: self.number()?, answer: self.answer()? },
            _ => return None,
        })
    }

    fn question(&mut self) -> Option<Question> {
        Some(match self.reader.u8()? {
            0 => Question::Get { acknowledge: self.flag()? },
            1 => Question::Purge,
            2 => Question::Counts { touch: self.flag()? },
            3 => Question::End { if_unused: self.flag()?, if_empty: self.flag()? },
            4 => Question::Subscribe(Box::new(self.consumer()?)),
            5 => Question::View,
            _ => return None,
        })
    }

    fn answer(&mut self) -> Option<Answer> {
        Some(match self.reader.u8()? {
            0 => Answer::Got(None),
            1 => {
                let (position, redelivered) = (Position(self.number()?), self.flag()?);
                let remaining = self.number()?;
                let message = self.message()?.message;
                Answer::Got(Some(Box::new(Got { position, message, redelivered, remaining })))
            }
            2 => Answer::Purged(self.number()?),
            3 => Answer::Counts {
                ready: self.number()?,
                unacknowledged: self.number()?,
                consumers: self.number()?,
            },
            4 => Answer::Ended(self.number()?),
            5 => Answer::Subscribed,
            6 => Answer::View(Box::new(Seen {
                ready: self.number()?,
                unacknowledged: self.number()?,
                ready_octets: self.number()?,
                unacknowledged_octets: self.number()?,
                consumers: self.list(|from| Some((from.subscriber()?, from.flag()?)))?,
            })),
            7 => Answer::Denied(match self.reader.u8()? {
                0 => Denial::Gone,
                1 => Denial::InExclusiveUse,
                2 => Denial::NotEmpty,
                3 => Denial::InUse,
                _ => return None,
            }),
            _ => return None,
        })
    }

    fn range(&mut self) -> Option<PositionRange> {
        let (first, span) = (self.number()?, self.number()?);
        Some(PositionRange::new(first, first.checked_add(span)?))
    }

    fn id(&mut self) -> Option<ConsumerId> {
        let (connection, serial) = (ConnectionId(self.number()?), self.number()?);
        Some(ConsumerId { connection, serial })
    }

    fn message(&mut self) -> Option<Stored> {
        Stored::read(self.reader.octets()?, &mut self.arena)
    }

    fn arrival(&mut self) -> Option<Arrival> {
        let persistent = self.flag()?;
        let time_to_live = self.number()?.checked_sub(1).map(Duration::from_millis);
        let Stored { message, priority, .. } = self.message()?;
        Some(Arrival { message, priority, time_to_live, persistent })
    }

    fn delivery(&mut self) -> Option<Delivery> {
        let (consumer, position) = (self.id()?, Position(self.number()?));
        let redelivered = self.flag()?;
        let message = self.message()?.message;
        // The queue is the parcel's.
        Some(Delivery { consumer, queue: QueueId::default(), position, redelivered, message })
    }

    fn consumer(&mut self) -> Option<(Subscription, Subscriber)> {
        let priority = self.number()?.cast_signed();
        let window = usize::try_from(self.number()?).ok()?;
        let subscriber = self.subscriber()?;
        let subscription = Subscription {
            consumer: subscriber.id,
            prefetch: subscriber.prefetch,
            acknowledge: subscriber.acknowledge,
            priority,
            exclusive: subscriber.exclusive,
            window,
            credit: ChannelCredit::default(),
        };
        Some((subscription, subscriber))
    }

    fn subscriber(&mut self) -> Option<Subscriber> {
        let id = self.id()?;
        let channel = ChannelNumber(u16::try_from(self.number()?).ok()?);
        let (acknowledge, exclusive) = (self.flag()?, self.flag()?);
        let prefetch = u16::try_from(self.number()?).ok()?;
        let tag = Bytes::copy_from_slice(self.reader.octets()?);
        let tag: ConsumerTag = ShortString::new(tag).ok()?.into();
        let arguments = Bytes::copy_from_slice(self.reader.octets()?);
        let arguments = FieldTable::decode(&arguments).ok()?;
        Some(Subscriber { id, channel, tag, acknowledge, exclusive, prefetch, arguments })
    }
}
