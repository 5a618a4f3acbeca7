//! What the broker asks of the world: a way into each connection, a clock that wakes queues, a
//! journal of what must survive a crash, and the other nodes' agreement.

use std::fmt::Debug;

use bytes::Bytes;

use super::{remote::Parcel, topology::Nodes};
use crate::model::{
    Batch, ConsumerId, Decided, Delivery, LogPosition, Moment, NodeNumber, Placement, Position,
    PositionRange, QueueId, Refusal, VirtualHostName,
};

/// The way into one connection, from anywhere. Called under a queue's lock, so it must not block.
pub trait Outbox: Debug + Send + Sync {
    /// Hands over deliveries in this order and leaves `deliveries` empty.
    fn deliver(&self, deliveries: &mut Vec<Delivery>);

    /// Tells that a consumer is gone because its queue is.
    fn consumer_cancelled(&self, consumer: ConsumerId);

    /// Tells what became of publications, and leaves `decided` empty. If it is empty already, only
    /// less is on its way now.
    fn decided(&self, decided: &mut Vec<Decided>);

    /// The connection must end, for this reason.
    fn close(&self, reason: String);
}

/// The clock that wakes queues.
pub trait Timer: Debug + Send + Sync {
    /// Asks for [`super::Broker::wake`] to be called for `queue` at `moment`, or soon after, and
    /// not at the moment it asked for before.
    fn wake_at(&self, moment: Moment, queue: QueueId);

    /// The queue is gone: it is woken no more.
    fn forget(&self, queue: QueueId);
}

/// Where that is written which must survive a crash, and from where long queues read.
///
/// Called under queues' locks and topologies' locks, so it must not wait: [`Self::append`] is a
/// copy into memory, and only [`Self::read`] may touch the disk.
pub trait Journal: Debug + Send + Sync {
    /// Appends the batch as one record and empties it: all of it survives a crash, or nothing. It
    /// does once [`Self::durable`] has reached the position that is returned.
    ///
    /// After a failed write nothing is appended any more, and the position is one that is never
    /// reached.
    fn append(&self, batch: &mut Batch) -> LogPosition;

    /// Everything up to this position survives a crash.
    fn durable(&self) -> LogPosition;

    /// Asks for [`super::Broker::wake`] to be called for `queue` once `position` is durable.
    fn wake_when_durable(&self, position: LogPosition, queue: QueueId);

    /// Messages of a queue that have moved out of the journal, from `from` on, in order: some, but
    /// not all of them. Empty when there are no more; `None` when they cannot be read.
    fn read(&self, queue: QueueId, from: Position) -> Option<Vec<(Position, Bytes)>>;

    /// All messages of a range that have moved out of the journal, in order; `None` when they
    /// cannot be read.
    fn read_range(&self, queue: QueueId, range: PositionRange) -> Option<Vec<(Position, Bytes)>> {
        let mut found = Vec::new();
        let mut from = range.first;
        while from <= range.last {
            let read = self.read(queue, from)?;
            let Some((last, _)) = read.last() else { break };
            from = Position(last.0 + 1);
            found.extend(read.into_iter().filter(|(position, _)| *position <= range.last));
        }
        Some(found)
    }
}

/// How the nodes of a cluster agree on what all of them must know.
pub trait Agreement: Debug + Send + Sync {
    /// Has every node apply the command ([`super::Broker::apply_agreed`]), and says what came of it
    /// once this one has. Blocks its thread; never called under a lock.
    ///
    /// # Errors
    /// [`Refusal::NoQuorum`] when no majority has agreed in time. The command may be applied later
    /// for all that.
    fn agree(&self, command: Vec<u8>) -> Result<Agreed, Refusal>;

    /// Has [`super::Broker::perform`] called with the job soon, on a thread that may block, until
    /// it succeeds. Must not block: it is called from timers, and with connections that end.
    fn later(&self, job: Job);

    /// The nodes that are there, for a queue to be placed on. Must not block.
    fn nodes(&self) -> Nodes;
}

/// What came of a command that was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreed {
    Done,
    /// It was decided on what has changed since: nothing has happened, on any node.
    Void,
}

/// What is to be agreed on by and by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// A queue's life is over: it is to leave the topology.
    RemoveQueue { home: VirtualHostName, id: QueueId },
    /// A queue's group has the members that its placement of this generation names.
    SettleQueue { home: VirtualHostName, id: QueueId, generation: u64 },
    /// A node is gone for good, and with it the queues of which it had the one copy.
    ForgetNode(NodeNumber),
}

/// The other nodes, as a queue's replicas and its far clients need them. Called under queues'
/// locks but for [`Self::wait`], so nothing else may block.
pub trait Fellows: Debug + Send + Sync {
    /// Sends to another node, in order; after something was lost the node is said to be down.
    fn send(&self, to: NodeNumber, parcel: Parcel);

    /// This node keeps a replica of a queue's group from now on, if it does not yet. May be called
    /// under a topology's lock.
    fn keep(&self, group: QueueId, placement: &Placement);

    /// The group is gone with its queue.
    fn drop_group(&self, group: QueueId);

    /// Another member should lead a group that is led here.
    fn transfer(&self, group: QueueId, to: NodeNumber);

    /// Whether other nodes are to lead all that is led here, as far as they are there, from now on.
    fn step_aside(&self, aside: bool);

    /// The leader of a group here has something that its group must agree on; soon if it can wait.
    fn has_work(&self, group: QueueId, can_wait: bool);

    /// Blocks until `is_done`, which is asked again after every [`Self::notify`]. False: that took
    /// too long.
    fn wait(&self, is_done: &mut dyn FnMut() -> bool) -> bool;

    /// The same for what can be done without: a second at most.
    fn wait_briefly(&self, is_done: &mut dyn FnMut() -> bool) -> bool;

    /// What a node is called, wherever it is.
    fn name_of(&self, node: NodeNumber) -> String;

    /// Something has come that somebody may wait for.
    fn notify(&self);
}
