//! Queues and their consumers, as operators see them at one moment.

use std::sync::Arc;

use super::{
    Broker,
    routing::{Binding, Destination},
    topology::{ExchangeRecord, QueueRecord},
    virtual_host::VirtualHost,
};
use crate::model::{
    ChannelNumber, ConsumerId, ConsumerTag, ExchangeName, FieldTable, Moment, QueueId, QueueName,
    VirtualHostName,
};

/// A queue at one moment.
#[derive(Clone, Debug)]
pub struct QueueView {
    pub record: Arc<QueueRecord>,
    /// Messages that wait.
    pub ready: u64,
    /// Messages that were delivered and are not settled.
    pub unacknowledged: u64,
    /// Octets of the bodies of those that wait. What a restart found on disk counts once it has
    /// been read.
    pub ready_octets: u64,
    pub unacknowledged_octets: u64,
    /// By connection, those that came first first.
    pub consumers: Vec<ConsumerView>,
}

/// A consumer at one moment.
#[derive(Clone, Debug)]
pub struct ConsumerView {
    pub subscriber: Arc<Subscriber>,
    /// Does not stand by for a single active consumer.
    pub is_active: bool,
}

/// A consumer, as it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscriber {
    pub id: ConsumerId,
    pub channel: ChannelNumber,
    pub tag: ConsumerTag,
    pub acknowledge: bool,
    pub exclusive: bool,
    /// Messages that it may hold; 0 is no limit.
    pub prefetch: u16,
    pub arguments: FieldTable,
}

impl Broker {
    /// The exchange of that name. The default exchange has no record.
    pub fn exchange(
        &self,
        home: &VirtualHostName,
        name: &ExchangeName,
    ) -> Option<Arc<ExchangeRecord>> {
        self.virtual_host(home)?.topology().exchange(name).map(Arc::clone)
    }

    /// The queue of that name, whoever may use it.
    pub fn queue_record(
        &self,
        home: &VirtualHostName,
        name: &QueueName,
    ) -> Option<Arc<QueueRecord>> {
        self.virtual_host(home)?.topology().queue_named(name).map(Arc::clone)
    }

    /// The bindings that lead away from an exchange; the default one has none that is written down.
    pub fn bindings_from(
        &self,
        home: &VirtualHostName,
        source: &ExchangeName,
    ) -> Vec<Arc<Binding>> {
        let home = self.virtual_host(home);
        home.map(|home| home.topology().bindings_from(source).cloned().collect())
            .unwrap_or_default()
    }

    /// The bindings that lead to a queue or an exchange, but for that of the default exchange.
    pub fn bindings_to(
        &self,
        home: &VirtualHostName,
        destination: &Destination,
    ) -> Vec<Arc<Binding>> {
        let home = self.virtual_host(home);
        home.map(|home| home.topology().bindings_to(destination).cloned().collect())
            .unwrap_or_default()
    }

    /// A queue at this moment: what has expired is not in it any more. `None` when there is none.
    pub fn queue_view(
        &self,
        home: &VirtualHostName,
        name: &QueueName,
        now: Moment,
    ) -> Option<QueueView> {
        let home = self.virtual_host(home)?;
        let id = home.topology().queue_named(name)?.id;
        self.view(id, now)
    }

    /// The queues of a virtual host, the oldest first, each at a moment of its own. `None` when
    /// there is no such virtual host.
    pub fn queue_views(&self, home: &VirtualHostName, now: Moment) -> Option<Vec<QueueView>> {
        let home = self.virtual_host(home)?;
        let ids = queue_ids(&home);
        Some(ids.into_iter().filter_map(|id| self.view(id, now)).collect())
    }

    fn view(&self, queue: QueueId, now: Moment) -> Option<QueueView> {
        let hosted = self.queue(queue)?;
        let (view, aftermath) = hosted.view(self.around(now));
        self.see_to(&hosted, aftermath, now);
        view
    }
}

fn queue_ids(home: &VirtualHost) -> Vec<QueueId> {
    home.topology().queues().map(|queue| queue.id).collect()
}
