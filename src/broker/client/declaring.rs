//! Exchanges, queues and bindings, as one connection declares and deletes them.

use std::sync::Arc;

use super::{Client, Place, replies};
use crate::{
    broker::{
        hosted::{Configuration, Counts, Hosted},
        queue::Restored,
        routing::Binding,
        topology::{self, Change, Declared, ExchangeDeclaration, QueueDeclaration, Topology},
    },
    model::{ExchangeName, LogPosition, Moment, QueueKind, QueueName, Refusal, Right},
};

/// What a declaration answers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredQueue {
    pub name: QueueName,
    /// Ready messages.
    pub messages: u64,
    pub consumers: u64,
}

impl DeclaredQueue {
    fn new(name: QueueName, counts: Counts) -> Self {
        Self { name, messages: counts.ready, consumers: counts.consumers }
    }
}

impl Client {
    /// Declares an exchange, or finds that it is there.
    ///
    /// # Errors
    /// When it exists with other attributes, or cannot exist (RabbitMQ 4.x, `exchange.declare`).
    pub fn declare_exchange(&mut self, declaration: &ExchangeDeclaration) -> Result<(), Refusal> {
        Topology::check_exchange_name(declaration)?;
        self.may_with_exchange(Right::Configure, &declaration.name)?;
        let may_be_new = self.may_have_alternate(declaration);
        self.change(|topology| {
            if topology.exchange(&declaration.name).is_none() {
                may_be_new.clone()?;
            }
            topology.declare_exchange(declaration).map(one)
        })
    }

    /// # Errors
    /// When there is no such exchange.
    pub fn check_exchange(&mut self, exchange: &ExchangeName) -> Result<(), Refusal> {
        self.home().topology().check_exchange(exchange).map(|_| ())
    }

    /// Deletes an exchange and its bindings; one that is not there counts as deleted.
    ///
    /// # Errors
    /// When it may not be deleted, or is used and should not be.
    pub fn delete_exchange(
        &mut self,
        exchange: &ExchangeName,
        if_unused: bool,
    ) -> Result<(), Refusal> {
        self.home().topology().check_deletable(exchange)?;
        self.may_with_exchange(Right::Configure, exchange)?;
        self.change(|topology| Ok(((), topology.delete_exchange(exchange, if_unused)?)))
    }

    /// Declares a queue, or finds that it is there.
    ///
    /// # Errors
    /// When it exists with other attributes or for another connection, or cannot exist.
    pub fn declare_queue(
        &mut self,
        declaration: &QueueDeclaration,
        now: Moment,
    ) -> Result<DeclaredQueue, Refusal> {
        if let Some(declared) = self.declare_reply_queue(&declaration.name) {
            return declared;
        }
        let home = Arc::clone(self.home());
        home.topology().check_queue_name(declaration)?;
        self.may_with_queue(Right::Configure, &declaration.name)?;
        let may_be_new = self.may_have_dead_letters(declaration);
        if let Some(cluster) = &self.broker.cluster {
            let home = (&*home, self.id);
            let declared = self.broker.agree_on_queue(cluster, home, declaration, &may_be_new, now);
            return declared
                .map(|(record, counts)| DeclaredQueue::new(record.name.clone(), counts));
        }
        loop {
            let id_if_new = self.broker.next_queue_id();
            let (hosted, position) =
                home.change(|topology| match topology.declare_queue(declaration, id_if_new)? {
                    Declared::Present(record) => Ok((self.broker.queue(record.id), Vec::new())),
                    Declared::New(record) => {
                        may_be_new.clone()?;
                        let change = Change::QueueDeclared(Arc::clone(&record));
                        let configuration = Configuration::of(&record, topology);
                        let hosted = Hosted::new(record, Arc::clone(&home), configuration, now);
                        let journal = self.broker.journal.clone();
                        let hosted = Arc::new(hosted.kept_in(journal, Restored::default()));
                        self.broker.host(&hosted);
                        Ok((Some(hosted), vec![change]))
                    }
                })?;
            self.await_position(position);
            if let Some(hosted) = hosted
                && let Some(counts) = self.broker.counts(&hosted, true, now)
            {
                return Ok(DeclaredQueue::new(hosted.record.name.clone(), counts));
            }
            // It was there and its life ended meanwhile; the thread that ends it takes it out of
            // the topology, or this does.
            self.broker.remove_ended(&home, &declaration.name, now);
        }
    }

    /// The passive declaration.
    ///
    /// # Errors
    /// When there is no such queue, or it is exclusive to another connection.
    pub fn check_queue(
        &mut self,
        queue: &QueueName,
        now: Moment,
    ) -> Result<DeclaredQueue, Refusal> {
        if let Some(declared) = self.declare_reply_queue(queue) {
            return declared;
        }
        let place = self.place_of(queue)?;
        let counts = match &place {
            Place::Here(hosted) => {
                let counts = self.broker.counts(hosted, true, now);
                counts.ok_or_else(|| self.no_queue(queue))?
            }
            Place::Elsewhere(remote) => self.broker.counts_far(remote, true, now)?,
        };
        Ok(DeclaredQueue::new(place.record().name.clone(), counts))
    }

    /// Deletes a queue and says how many messages it held; one that is not there counts as empty.
    ///
    /// # Errors
    /// When a condition does not hold, or it is exclusive to another connection.
    pub fn delete_queue(
        &mut self,
        queue: &QueueName,
        if_unused: bool,
        if_empty: bool,
        now: Moment,
    ) -> Result<u64, Refusal> {
        if replies::is_reply_queue(queue) {
            return Ok(0);
        }
        self.may_with_queue(Right::Configure, queue)?;
        let found = self.home().topology().check_queue(queue, self.id).cloned();
        let record = match found {
            Err(Refusal::NotFound(_)) => {
                self.await_position(self.home().written());
                return Ok(0);
            }
            found => found?,
        };
        let home = Arc::clone(self.home());
        let resource = || topology::queue_resource(&home.name, queue);
        if record.options.kind == QueueKind::Quorum && (if_unused || if_empty) {
            let flag = if if_unused { "if-unused" } else { "if-empty" };
            return Err(Refusal::ConditionalDeleteUnsupported { resource: resource(), flag });
        }
        let condition = |counts: Counts| {
            if if_empty && counts.ready > 0 {
                return Err(Refusal::NotEmpty(resource()));
            }
            if if_unused && counts.consumers > 0 {
                return Err(Refusal::InUse(resource()));
            }
            Ok(())
        };
        let Some(hosted) = self.broker.queue(record.id) else {
            self.await_position(home.written());
            let flags = (if_unused, if_empty);
            return self.broker.end_elsewhere(&home, record.id, flags, now);
        };
        let (messages, position) = self.broker.end_queue(&hosted, condition, now)?;
        self.await_position(position);
        Ok(messages)
    }

    /// Drops a queue's ready messages and says how many they were.
    ///
    /// # Errors
    /// When there is no such queue, or it is exclusive to another connection.
    pub fn purge_queue(&mut self, queue: &QueueName, now: Moment) -> Result<u64, Refusal> {
        self.may_with_queue(Right::Read, queue)?;
        let hosted = match self.place_of(queue)? {
            Place::Here(hosted) => hosted,
            Place::Elsewhere(remote) => return self.broker.purge_far(&remote, now),
        };
        let (purged, written) = self.broker.purge(&hosted, now)?;
        self.awaited = self.awaited.max(written);
        Ok(purged)
    }

    /// Binds a queue or an exchange to an exchange.
    ///
    /// # Errors
    /// When one of the two is not there, or may not be used so.
    pub fn bind(&mut self, binding: Binding, now: Moment) -> Result<(), Refusal> {
        self.may_bind(&binding)?;
        let (id, broker) = (self.id, Arc::clone(&self.broker));
        let replay = self.change(|topology| {
            let change = topology.bind(binding.clone(), id)?;
            // Every node of a cluster has some to replay, when it applies the change.
            let replays = change.is_some() && broker.cluster.is_none();
            let replay = replays.then(|| broker.replay(topology, &binding, now));
            Ok((replay.unwrap_or_default(), change.into_iter().collect()))
        })?;
        self.await_position(broker.finish_replay(replay, now));
        Ok(())
    }

    /// Removes a binding; one that is not there counts as removed.
    ///
    /// # Errors
    /// When it concerns the default exchange, or a queue that is exclusive to another connection.
    pub fn unbind(&mut self, binding: &Binding) -> Result<(), Refusal> {
        self.may_bind(binding)?;
        let id = self.id;
        self.change(|topology| Ok(((), topology.unbind(binding, id)?)))
    }

    fn change<T>(
        &mut self,
        decide: impl FnMut(&Topology) -> Result<(T, Vec<Change>), Refusal>,
    ) -> Result<T, Refusal> {
        let (result, position) = self.broker.change((self.home(), self.id), decide)?;
        self.await_position(position);
        Ok(result)
    }

    fn await_position(&mut self, position: LogPosition) {
        self.awaited = self.awaited.max(position);
    }

    pub(super) fn no_queue(&self, queue: &QueueName) -> Refusal {
        Refusal::NotFound(topology::queue_resource(&self.home().name, queue))
    }
}

/// A decision that has no answer of its own and changes one thing at most.
fn one(change: Option<Change>) -> ((), Vec<Change>) {
    ((), change.into_iter().collect())
}
