//! The replica of a queue on this node: what its group agrees on comes in here, and a copy goes out
//! to a node that lags behind.

use bytes::Bytes;

use super::{
    replica::{Copy, Replica},
    sight::{Leadership, Remote},
};
use crate::{
    broker::queue::Kept,
    model::{Batch, Meaningless, Position, QueueId},
};

impl Remote {
    /// This node mirrors the queue.
    pub(super) fn mirror(&self, replica: Replica) {
        self.lock().replica = Some(replica);
    }

    /// This node mirrors the queue no longer. Gives where the store had the messages.
    pub(super) fn give_up(&self) -> Option<QueueId> {
        let mut state = self.lock();
        if !matches!(state.leadership, Leadership::There { .. }) {
            self.step_down(&mut state);
        }
        state.incoming = None;
        state.replica.take().map(|replica| replica.contents)
    }

    /// Where this node's store has the messages, if it mirrors them.
    pub(super) fn contents(&self) -> Option<QueueId> {
        self.lock().replica.as_ref().map(|replica| replica.contents)
    }

    /// The last command that the replica here has applied; `None` when there is none.
    pub(super) fn applied(&self) -> Option<u64> {
        self.lock().replica.as_ref().map(|replica| replica.applied)
    }

    /// Applies what the group has agreed on; what must be written is added to `batch`. The fact of
    /// the replica is returned.
    pub(super) fn apply(
        &self,
        index: u64,
        command: &Bytes,
        batch: &mut Batch,
    ) -> Result<Option<Vec<u8>>, Meaningless> {
        let mut state = self.lock();
        // What this node had of the group before may be ahead of its log.
        let is_new = |replica: &&mut Replica| index > replica.applied;
        let Some(replica) = state.replica.as_mut().filter(is_new) else { return Ok(None) };
        replica.apply(index, command, batch)?;
        Ok(Some(replica.fact()))
    }

    /// Messages that the store has under a number and below a position can be read from disk now.
    pub(super) fn moved(&self, contents: QueueId, below: Position) {
        let mut state = self.lock();
        let is_of = |replica: &&mut Replica| replica.contents == contents;
        if let Some(incoming) = state.incoming.as_mut().filter(is_of) {
            incoming.moved(below);
        }
        let Some(replica) = state.replica.as_mut().filter(is_of) else { return };
        replica.moved(below);
        if let Leadership::Here(lead) = &state.leadership {
            lead.hosted.moved(Kept::Durable, below);
        }
    }

    /// The replica as it is now, for a node that lags behind.
    pub(super) fn copy(&self) -> Option<Copy> {
        self.lock().replica.as_ref().map(Replica::copy)
    }

    /// A part of a copy has come: messages in the order of their positions, the first ones first.
    /// Gives where the store is to have them.
    pub(super) fn take_part(
        &self,
        is_first: bool,
        messages: &[(Position, Bytes)],
        batch: &mut Batch,
    ) -> Option<QueueId> {
        let mut state = self.lock();
        let current = state.replica.as_ref()?.contents;
        if is_first {
            let contents = current.other_copy();
            batch.forget(contents);
            state.incoming = Some(Replica::new(contents));
        }
        let incoming = state.incoming.as_mut()?;
        incoming.take(messages, batch);
        Some(incoming.contents)
    }

    /// The copy is complete, and takes the place of the replica; what must be written is added to
    /// `batch`. Gives the fact of the new replica, and where the store had the old one's messages.
    /// `None` when it is not the copy that has come.
    pub(super) fn install(&self, head: &[u8], batch: &mut Batch) -> Option<(Vec<u8>, QueueId)> {
        let mut state = self.lock();
        let installed = state.incoming.take()?.completed(head, batch)?;
        let fact = installed.fact();
        let old = state.replica.replace(installed)?;
        batch.forget(old.contents);
        Some((fact, old.contents))
    }
}
