//! Queues and where they live: hosted here, or somewhere else in the cluster.

mod asking;
mod attachments;
mod balancing;
mod codec;
mod company;
mod group_log;
mod intake;
mod lead;
mod listening;
mod mirroring;
mod moving;
mod parcel;
mod place;
mod replica;
mod sender;
mod sight;
mod succession;
mod ways;

use std::sync::Arc;

use bytes::Bytes;

use self::intake::Producers;
pub use self::{company::QueueCopy, parcel::Parcel};
pub(in crate::broker) use self::{
    company::{Fellowship, Verdict, read_replica_key},
    parcel::{Answer, Question},
    place::Place,
    replica::contents_of,
    sender::Ticket,
    sight::Remote,
};

use super::{
    Broker, hosted::Hosted, origins::RestoredQueue, queue::Restored, topology::QueueRecord,
};
use crate::model::{Batch, Moment};

impl Broker {
    /// Gives a queue its place when its declaration is applied, when the node starts again, or when
    /// another node's state is installed: hosts it when its one copy is here. What an exchange
    /// keeps has a place on every node.
    ///
    /// Its topology may be locked, and does not have the queue yet: this must not wait.
    pub(super) fn place(&self, queue: RestoredQueue, contents: Restored, now: Moment) {
        self.place_again(queue, contents, None, now);
    }

    /// The same of a queue of which a restart has found a replica, with its fact.
    pub(super) fn place_again(
        &self,
        queue: RestoredQueue,
        contents: Restored,
        fact: Option<Bytes>,
        now: Moment,
    ) {
        let RestoredQueue { record, home, configuration } = queue;
        if record.annex.is_none() && !self.is_home_of(&record) {
            let kept = fact.map(|fact| (fact, contents));
            return self.place_remote(Remote::new(record, home, &configuration.options), kept, now);
        }
        // What an exchange keeps in memory only is not written to save memory either.
        let is_written = record.durable || record.annex.is_none();
        let journal = self.journal.clone().filter(|_| is_written);
        let hosted = Hosted::new(record, home, configuration, now);
        self.host(&Arc::new(hosted.kept_in(journal, contents)));
    }

    /// Whether the queue's one copy is on this node.
    pub(super) fn is_home_of(&self, record: &QueueRecord) -> bool {
        !record.placement.is_mirrored() && record.placement.home == self.node()
    }

    /// Takes a queue's place away once it has left its topology, which is not locked.
    pub(super) fn displace(&self, record: &QueueRecord, now: Moment) {
        self.displace_remote(record.id, now);
        let Some(hosted) = self.queue(record.id) else { return };
        let (_, aftermath) = hosted.end(|_| Ok(()), self.around(now));
        if aftermath.deaths {
            self.courier.carry(self, now);
        }
        self.take_place(&hosted);
    }

    /// Nothing is left of a queue whose life is over.
    pub(super) fn take_place(&self, hosted: &Hosted) {
        let id = hosted.record.id;
        if let Some(journal) = &self.journal
            && hosted.has_spilled()
        {
            let mut batch = Batch::default();
            batch.forget(id.spilled());
            journal.append(&mut batch);
        }
        self.queues.remove(&id);
        self.timer.forget(id);
    }
}
