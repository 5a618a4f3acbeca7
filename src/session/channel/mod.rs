//! One channel: which ledger handles which method, and nothing more.

mod confirms;
mod consuming;
pub(super) mod content;
mod declaring;
mod ending;
mod marks;
mod prefetch;
mod publishing;
pub(super) mod settling;
mod timeouts;
mod transaction;
mod unacked;

use std::collections::BTreeMap;

pub(super) use self::ending::Attitude;
use self::{
    confirms::Confirms, content::Content, ending::Standing, prefetch::Prefetch, timeouts::Timeouts,
    transaction::Transaction, unacked::Unacked,
};
use super::{
    connection::Connection,
    exception::{Exception, Fault, MethodId},
    request::{Operation, Reply},
};
use crate::{
    model::{ConsumerId, ConsumerTag, QueueName, Refusal},
    wire::method::{AccessRequestOk, ChannelFlowOk, ChannelOpenOk, Method},
};

/// A channel and its ledgers.
#[derive(Debug)]
pub(super) struct Channel {
    number: u16,
    standing: Standing,
    /// The broker has let go of the consumers; only after the channel has ended.
    is_detached: bool,
    /// The operation that the broker has yet to answer; until then, later frames are held back.
    pending: Option<Pending>,
    content: Content,
    confirms: Option<Confirms>,
    transaction: Option<Transaction>,
    unacked: Unacked,
    timeouts: Timeouts,
    prefetch: Prefetch,
    consuming: BTreeMap<ConsumerTag, ConsumerId>,
    /// Consumers that ended while a deletion was under way: told after its answer.
    cancelled_meanwhile: Vec<ConsumerTag>,
    /// What an empty queue name stands for.
    last_queue: Option<QueueName>,
}

/// An operation under way: what its reply will lead to, and the method that asked for it.
#[derive(Debug)]
struct Pending {
    expected: Expected,
    origin: MethodId,
}

/// What a reply leads to. Where the method is optional, there is none if the client does not wait.
#[derive(Debug)]
enum Expected {
    Done(Option<Method>),
    Declared { no_wait: bool },
    Counted(Option<fn(u32) -> Method>),
    Consuming { consumer: ConsumerId, no_wait: bool },
    Cancelled { consumer: ConsumerId, reply: Option<Method> },
    Got { acknowledge: bool },
    Committed,
    Closed,
}

impl Channel {
    /// A channel that the client opens; the broker is asked whether it may.
    pub(super) fn open(number: u16, connection: &mut Connection) -> Self {
        let mut channel = Self::new(number);
        let opened = Expected::Done(Some(ChannelOpenOk::default().into()));
        channel.ask(Operation::Open, opened, (20, 10), connection);
        channel
    }

    fn new(number: u16) -> Self {
        Self {
            number,
            standing: Standing::Open,
            is_detached: false,
            pending: None,
            content: Content::default(),
            confirms: None,
            transaction: None,
            unacked: Unacked::default(),
            timeouts: Timeouts::default(),
            prefetch: Prefetch::default(),
            consuming: BTreeMap::new(),
            cancelled_meanwhile: Vec::new(),
            last_queue: None,
        }
    }

    pub(super) fn number(&self) -> u16 {
        self.number
    }

    /// Handles any method but those of [`Self::begin_publication`], [`Self::settle`] and the
    /// channel's end.
    pub(super) fn handle(
        &mut self,
        method: Method,
        connection: &mut Connection,
    ) -> Result<(), Exception> {
        let origin = method.id();
        let handled = match method {
            Method::ChannelOpen(_) => Err(Fault::ChannelAlreadyOpen),
            Method::ChannelFlow(flow) if flow.active => {
                connection.outgoing.method(self.number, ChannelFlowOk { active: true });
                Ok(())
            }
            Method::ChannelFlow(_) => Err(Fault::FlowOff),
            Method::AccessRequest(_) => {
                connection.outgoing.method(self.number, AccessRequestOk { ticket: 1 });
                Ok(())
            }
            Method::ExchangeDeclare(_)
            | Method::ExchangeDelete(_)
            | Method::ExchangeBind(_)
            | Method::ExchangeUnbind(_)
            | Method::QueueDeclare(_)
            | Method::QueueBind(_)
            | Method::QueueUnbind(_)
            | Method::QueuePurge(_)
            | Method::QueueDelete(_) => self.declare(method, connection),
            Method::BasicQos(qos) => self.limit(&qos, connection),
            Method::BasicConsume(consume) => self.consume(consume, connection),
            Method::BasicCancel(cancel) => {
                self.cancel(cancel, connection);
                Ok(())
            }
            Method::BasicGet(get) => self.get(get, connection),
            Method::BasicRecover(recover) => self.recover(recover.requeue, true, connection),
            Method::BasicRecoverAsync(recover) => self.recover(recover.requeue, false, connection),
            Method::ConfirmSelect(select) => self.select_confirms(select.no_wait, connection),
            Method::TxSelect(_) => self.select_transaction(connection),
            Method::TxCommit(_) => self.commit(connection),
            Method::TxRollback(_) => self.roll_back(connection),
            // RabbitMQ 4.3 takes it: a client that answers every cancel answers the server's too.
            Method::BasicCancelOk(_) => Ok(()),
            // What is left are the server's own methods, and those of the connection.
            _ => Err(Fault::Unimplemented),
        };
        handled.map_err(|fault| fault.by(origin))
    }

    /// The broker has answered the operation under way.
    pub(super) fn answered(
        &mut self,
        result: Result<Reply, Refusal>,
        connection: &mut Connection,
    ) -> Result<(), Exception> {
        let Some(Pending { expected, origin }) = self.pending.take() else {
            return Ok(());
        };
        let refused = match result {
            Ok(reply) => {
                self.replied(expected, reply, connection);
                None
            }
            Err(refusal) => {
                self.undo(&expected, connection);
                Some(refusal)
            }
        };
        for tag in std::mem::take(&mut self.cancelled_meanwhile) {
            self.tell_cancelled(tag, connection);
        }
        if !self.is_open() {
            self.go_on_ending(connection);
            return Ok(());
        }
        refused.map_or(Ok(()), |refusal| Err(Fault::refused(refusal).by(origin)))
    }

    /// Asks the broker, and holds back what follows until it has answered.
    fn ask(
        &mut self,
        operation: Operation,
        expected: Expected,
        origin: MethodId,
        connection: &mut Connection,
    ) {
        self.pending = Some(Pending { expected, origin });
        connection.operate(self.number, operation);
    }

    fn replied(&mut self, expected: Expected, reply: Reply, connection: &mut Connection) {
        match (expected, reply) {
            (Expected::Done(method), Reply::Done) => self.send(method, connection),
            (
                Expected::Declared { no_wait },
                Reply::QueueDeclared { queue, messages, consumers },
            ) => {
                self.declared(queue, (messages, consumers), no_wait, connection);
            }
            (Expected::Counted(method), Reply::Counted(count)) => {
                self.send(method.map(|method| method(count)), connection);
            }
            (Expected::Consuming { consumer, no_wait }, Reply::Consuming(queue, timeout)) => {
                self.started(consumer, queue, no_wait, connection);
                self.heed(queue, timeout, connection);
            }
            (Expected::Cancelled { consumer, reply }, Reply::Done) => {
                self.forget(consumer, connection);
                self.send(reply, connection);
            }
            (Expected::Got { acknowledge }, Reply::Got(got)) => {
                self.got(got, acknowledge, connection);
            }
            (Expected::Committed, Reply::Committed { unroutable }) => {
                self.committed(&unroutable, connection);
            }
            (Expected::Closed, Reply::Done) => self.detached(connection),
            (expected, reply) => {
                debug_assert!(false, "expected {expected:?}, and the broker replied {reply:?}");
            }
        }
    }

    /// The broker refused: what was prepared for its consent is taken back.
    fn undo(&mut self, expected: &Expected, connection: &mut Connection) {
        match expected {
            Expected::Consuming { consumer, .. } | Expected::Cancelled { consumer, .. } => {
                self.forget(*consumer, connection);
            }
            Expected::Closed => self.detached(connection),
            Expected::Done(_)
            | Expected::Declared { .. }
            | Expected::Counted(_)
            | Expected::Got { .. }
            | Expected::Committed => {}
        }
    }

    fn send(&self, method: Option<Method>, connection: &mut Connection) {
        if let Some(method) = method
            && self.is_open()
        {
            connection.outgoing.method(self.number, method);
        }
    }

    fn is_open(&self) -> bool {
        self.standing == Standing::Open
    }
}
