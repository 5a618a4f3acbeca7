//! Queues and their consumers, as operators see them at one moment.

use std::sync::Arc;

use super::{
    Broker,
    routing::{Binding, Destination},
    topology::{ExchangeRecord, QueueRecord},
};
use crate::model::{
    ChannelNumber, ConsumerId, ConsumerTag, ExchangeName, FieldTable, Moment, QueueName,
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
    /// Absent: there is no cluster. While it is not running, nothing is known of what is in it.
    pub whereabouts: Option<Whereabouts>,
}

/// Where in a cluster a queue is, by the names of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    /// The node that leads it now, as far as is known here.
    pub leader: Option<String>,
    /// Those that have a copy, or should.
    pub members: Vec<String>,
    /// Those of the members that are there.
    pub online: Vec<String>,
    pub state: QueueState,
}

impl Whereabouts {
    /// Whether the queue could not go on without this node, one of several members that are there.
    pub fn needs(&self, node: &str) -> bool {
        let others = self.online.iter().filter(|online| *online != node).count();
        let is_member = self.members.iter().any(|member| member == node);
        is_member && self.members.len() > 1 && others * 2 <= self.members.len()
    }
}

/// Whether a queue can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueState {
    Running,
    /// Too few of its members are there.
    Minority,
    /// Nobody leads it, or its leader says nothing.
    Down,
}

impl QueueState {
    /// As RabbitMQ calls it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Minority => "minority",
            Self::Down => "down",
        }
    }
}

impl QueueView {
    /// A queue of which nothing is known but its record.
    pub(super) fn unseen(record: Arc<QueueRecord>) -> Self {
        let (ready, unacknowledged, ready_octets, unacknowledged_octets) = Default::default();
        let (consumers, whereabouts) = Default::default();
        Self {
            record,
            ready,
            unacknowledged,
            ready_octets,
            unacknowledged_octets,
            consumers,
            whereabouts,
        }
    }

    /// Whether its figures are known.
    pub fn is_seen(&self) -> bool {
        let state = self.whereabouts.as_ref().map(|it| it.state);
        state.is_none_or(|state| state == QueueState::Running)
    }
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
        let record = Arc::clone(home.topology().queue_named(name)?);
        self.views_of(vec![record], now).pop()
    }

    /// The queues of a virtual host, the oldest first, each at a moment of its own. `None` when
    /// there is no such virtual host.
    pub fn queue_views(&self, home: &VirtualHostName, now: Moment) -> Option<Vec<QueueView>> {
        let home = self.virtual_host(home)?;
        let records = home.topology().queues().cloned().collect();
        Some(self.views_of(records, now))
    }
}
