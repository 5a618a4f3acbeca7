//! A whole session on any octets: it never panics, keeps little, and always ends properly.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use leveret::{
    model::{
        AcknowledgementTimeout, ConnectionId, ConsumerId, Delivery, Message, Moment, Position,
        Publication, Published, QueueId, Refusal,
    },
    session::{
        Disposition, Session, Settings,
        request::{Answer, Event, Got, Operation, Reply, Request},
    },
    wire::{
        frame::{self, FrameKind},
        method::{
            BasicConsume, ChannelOpen, ConfirmSelect, ConnectionOpen, ConnectionStartOk,
            ConnectionTuneOk, Method, TxSelect, peek,
        },
    },
};

/// What a session may keep of its input when nobody reads for it, and some to spare.
const INPUT_LIMIT: usize = 64 * 1024;

/// Octets of input between two looks at what the session wants.
const STEP: usize = 1000;

/// Plays `octets` as all that a client sends. The first octet chooses how far the client has come
/// before, and how the broker behaves.
pub(crate) fn drive(octets: &[u8]) {
    let (mood, octets) = octets.split_first().unwrap_or((&0, &[]));
    let mut world = World::new(*mood);
    if mood & 1 == 0 {
        world.prepare();
    }
    for part in octets.chunks(STEP) {
        if world.session.disposition() != Disposition::Keep {
            break;
        }
        world.receive(part);
    }
    world.end();
}

struct World {
    session: Session,
    now: Moment,
    /// Bits that say how the broker behaves.
    mood: u8,
    turns: u32,
    late: VecDeque<Answer>,
    consumers: Vec<ConsumerId>,
    is_admitted: bool,
    has_left: bool,
    out: BytesMut,
}

impl World {
    fn new(mood: u8) -> Self {
        let now = Moment::from_unix(Duration::from_secs(1));
        let settings = Settings { max_message_size: 10_000, ..Settings::default() };
        Self {
            session: Session::new(Arc::new(settings), ConnectionId(1), 1, now),
            now,
            mood,
            turns: 0,
            late: VecDeque::new(),
            consumers: Vec::new(),
            is_admitted: false,
            has_left: false,
            out: BytesMut::new(),
        }
    }

    /// Shakes hands, opens three channels, one with confirms and one with transactions, consumes.
    fn prepare(&mut self) {
        self.receive(b"AMQP\0\0\x09\x01");
        let mechanism = "ANONYMOUS".try_into().expect("short");
        self.send(0, ConnectionStartOk { mechanism, ..ConnectionStartOk::default() });
        self.send(0, ConnectionTuneOk { channel_max: 8, frame_max: 4096, heartbeat: 0 });
        self.send(0, ConnectionOpen::default());
        for channel in 1..=3 {
            self.send(channel, ChannelOpen::default());
            let queue = "q".try_into().expect("short");
            self.send(channel, BasicConsume { queue, ..BasicConsume::default() });
        }
        self.send(2, ConfirmSelect::default());
        self.send(3, TxSelect {});
    }

    fn send(&mut self, channel: u16, method: impl Into<Method>) {
        let mut octets = BytesMut::new();
        frame::write_method(&mut octets, channel, &method.into());
        self.receive(&octets);
    }

    fn receive(&mut self, octets: &[u8]) {
        if self.session.wants_input() {
            self.session.input().extend_from_slice(octets);
            self.session.received(self.now);
        }
        self.work();
        let kept = self.session.input().len();
        assert!(kept <= INPUT_LIMIT, "{kept} octets of input are kept");
        if self.turns.is_multiple_of(3) {
            self.answer_late();
        }
    }

    /// The client goes; whatever is still owed to the broker is paid.
    fn end(&mut self) {
        self.session.disconnected(self.now);
        self.work();
        self.answer_late();
        assert!(self.session.is_finished());
        assert_eq!(self.has_left, self.is_admitted);
        self.check_output();
    }

    fn work(&mut self) {
        while let Some(request) = self.session.next_request(self.now) {
            assert!(!self.has_left, "{request:?} after the connection has left");
            let is_operation = matches!(request, Request::Operate { .. });
            match self.execute(request) {
                Some(answer) if is_operation && self.mood & 2 != 0 => self.late.push_back(answer),
                Some(answer) => self.session.answer(answer, self.now),
                None => {}
            }
        }
        let mut runs: VecDeque<Bytes> = VecDeque::new();
        self.session.transmit(&mut runs);
        runs.iter().for_each(|run| self.out.extend_from_slice(run));
        self.session.flushed(self.now);
    }

    fn answer_late(&mut self) {
        while let Some(answer) = self.late.pop_front() {
            self.session.answer(answer, self.now);
            self.work();
        }
    }

    fn execute(&mut self, request: Request) -> Option<Answer> {
        self.turns += 1;
        Some(match request {
            Request::Login(_) => {
                self.is_admitted = true;
                Answer::Admitted(Ok(()))
            }
            Request::OpenVirtualHost(_) => Answer::Opened(Ok(())),
            Request::Publish(batch) => {
                assert!(!batch.is_empty());
                Answer::Published(batch.into_iter().filter_map(|one| self.published(one)).collect())
            }
            Request::Settle(settlements) => {
                assert!(settlements.iter().all(|part| !part.positions.is_empty()));
                Answer::Settled
            }
            Request::Replenish(_) | Request::Resume(_) => return None,
            Request::Operate { channel, operation } => {
                Answer::Done { channel, result: self.operate(operation) }
            }
            Request::Leave => {
                self.has_left = true;
                Answer::Left
            }
        })
    }

    /// Delivers what is published to every consumer.
    fn published(&mut self, publication: Publication) -> Option<Published> {
        let Publication { channel, message, confirm, .. } = publication;
        for consumer in self.consumers.clone() {
            self.deliver(consumer, message.clone());
        }
        match (confirm, message.body().len() % 7) {
            (_, 1) if self.mood & 4 != 0 => {
                Some(Published::Refused { channel, refusal: Refusal::PartialTransaction })
            }
            (_, 2) => Some(Published::Unroutable { channel, message }),
            (Some(number), 3) => Some(Published::Rejected { channel, number }),
            (Some(number), _) => Some(Published::Confirmed { channel, number }),
            (None, _) => None,
        }
    }

    fn deliver(&mut self, consumer: ConsumerId, message: Message) {
        self.turns += 1;
        let position = Position(self.turns.into());
        let queue = QueueId(1);
        let delivery = Delivery { consumer, queue, position, redelivered: false, message };
        self.session.notify(Event::Deliver(delivery), self.now);
    }

    fn operate(&mut self, operation: Operation) -> Result<Reply, Refusal> {
        match operation {
            Operation::Open => Ok(Reply::Done),
            Operation::Close { .. } => Ok(Reply::Done),
            _ if self.mood & 8 != 0 && self.turns.is_multiple_of(5) => {
                Err(Refusal::DefaultExchange)
            }
            Operation::DeclareQueue(declare) => {
                Ok(Reply::QueueDeclared { queue: declare.queue, messages: 1, consumers: 1 })
            }
            Operation::CheckQueue(queue) => {
                Ok(Reply::QueueDeclared { queue, messages: 1, consumers: 1 })
            }
            Operation::DeleteQueue { .. } => {
                for consumer in std::mem::take(&mut self.consumers) {
                    self.session.notify(Event::ConsumerCancelled(consumer), self.now);
                }
                Ok(Reply::Counted(1))
            }
            Operation::PurgeQueue(_) => Ok(Reply::Counted(1)),
            Operation::Consume(consume) => {
                self.consumers.push(consume.consumer);
                self.deliver(consume.consumer, Message::new(b"", b"q", &[0, 0], "hello".into()));
                Ok(Reply::Consuming(QueueId(1), AcknowledgementTimeout::default()))
            }
            Operation::Cancel { consumer, .. } => {
                self.consumers.retain(|other| *other != consumer);
                Ok(Reply::Done)
            }
            Operation::Get { .. } => Ok(Reply::Got(Some(Got {
                queue: QueueId(1),
                position: Position(self.turns.into()),
                redelivered: true,
                message: Message::new(b"", b"q", &[0, 0], "hello".into()),
                remaining: 0,
                timeout: AcknowledgementTimeout::default(),
            }))),
            Operation::Commit(_) => Ok(Reply::Committed { unroutable: Vec::new() }),
            Operation::DeclareExchange(_)
            | Operation::CheckExchange(_)
            | Operation::DeleteExchange { .. }
            | Operation::Bind(_)
            | Operation::Unbind(_)
            | Operation::Rollback => Ok(Reply::Done),
        }
    }

    /// All that was written is frames, and after `connection.close` there is only its answer.
    fn check_output(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        if out.starts_with(b"AMQP") {
            assert_eq!(out.len(), 8);
            return;
        }
        let mut is_closed = false;
        while let Some(found) = frame::split(&mut out, 0).expect("frames are sound") {
            if found.kind != FrameKind::Method {
                assert!(!is_closed);
                continue;
            }
            let (id, _) = peek(&found.payload).expect("a method has an id");
            Method::decode(&found.payload).expect("a method can be read");
            assert!(!is_closed || id == (10, 51), "{id:?} after the close");
            is_closed |= id == (10, 50);
        }
        assert!(out.is_empty());
    }
}
