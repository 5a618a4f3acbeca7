//! What exchanges keep: hosted as queues that no client sees, from declaration to deletion.

use std::{
    iter,
    sync::{Arc, atomic::Ordering},
};

use super::{
    Broker, PERSISTENT,
    expiration::parse_expiration,
    hosted::{Aftermath, Configuration, Hosted, Together},
    queue::{Arrival, Restored},
    remote::{Remote, Ticket},
    routing::{self, Binding, Circumstances, Claim, Destination, Draws},
    topology::{Change, ExchangeRecord, Topology},
    virtual_host::VirtualHost,
};
use crate::model::{
    ConnectionId, ExchangeName, LogPosition, LongString, Message, Moment, PropertyView, QueueId,
    Refusal, VirtualHostName,
};

/// Chance and memory for one way through the exchanges.
pub(super) struct Chances<'a> {
    pub(super) broker: &'a Broker,
    pub(super) draws: &'a mut Draws,
    pub(super) now: Moment,
}

impl Circumstances for Chances<'_> {
    fn draw(&mut self) -> u64 {
        self.draws.draw()
    }

    fn is_first(&mut self, annex: QueueId, claim: Claim) -> bool {
        self.broker.queue(annex).is_none_or(|hosted| hosted.claim(claim, self.now))
    }
}

/// What a new binding has brought to queues, and what is still to be done for it.
#[derive(Debug, Default)]
pub(super) struct Replay {
    written: LogPosition,
    aftermaths: Vec<(QueueId, Aftermath)>,
    /// What goes to queues that are not simply here.
    far: Vec<(Arc<Remote>, Arrival)>,
}

impl Broker {
    /// How many messages wait in an exchange until they are due (`messages_delayed` of the plugin);
    /// nothing when it is none that delays.
    pub fn messages_delayed(&self, home: &VirtualHostName, exchange: &[u8]) -> Option<u64> {
        let home = self.virtual_host(home)?;
        let record = home.topology().exchange(exchange).map(Arc::clone)?;
        if record.kind != routing::ExchangeKind::Delayed {
            return None;
        }
        self.queue(*record.annexes.first()?).map(|hosted| hosted.annexed_count())
    }

    /// Decides on a topology and applies what was decided, as [`VirtualHost::change`]; what new
    /// exchanges keep gets a place, and what deleted ones kept is dropped.
    ///
    /// In a cluster `by` decides, again and again until all agree to it, and nothing is to be
    /// awaited then.
    pub(super) fn change<T>(
        &self,
        (home, by): (&Arc<VirtualHost>, ConnectionId),
        mut decide: impl FnMut(&Topology) -> Result<(T, Vec<Change>), Refusal>,
    ) -> Result<(T, LogPosition), Refusal> {
        if let Some(cluster) = &self.cluster {
            let result = self.agree_on_change(cluster, (home, by), decide)?;
            return Ok((result, LogPosition::default()));
        }
        home.change(|topology| {
            let (result, mut changes) = decide(topology)?;
            changes.iter_mut().for_each(|change| self.see_to_annexes(home, topology, change));
            Ok((result, changes))
        })
    }

    /// The topology is locked: what is closed here is forgotten by the record of the change, and
    /// nothing is written of it after that.
    fn see_to_annexes(&self, home: &Arc<VirtualHost>, topology: &Topology, change: &mut Change) {
        match change {
            Change::ExchangeDeclared(record) if record.lacks_annexes() => {
                let numbers = iter::repeat_with(|| self.next_queue_id());
                *record = Arc::new(record.with_annexes(numbers));
                self.host_annexes(home, record);
            }
            Change::ExchangeDeleted(name) => self.close_annexes(topology, name),
            Change::ExchangeDeclared(_) | Change::QueueDeclared(_) | Change::QueueDeleted(_) => {}
            Change::QueuePlaced(..) | Change::Bound(_) | Change::Unbound(_) => {}
            Change::Described(_) => {}
            Change::PolicySet(..) | Change::PolicyCleared(..) => {}
        }
    }

    /// Drops what an exchange keeps that is about to be deleted.
    pub(super) fn close_annexes(&self, topology: &Topology, exchange: &ExchangeName) {
        let annexes = topology.exchange(exchange).map(|record| &record.annexes[..]);
        annexes.unwrap_or_default().iter().for_each(|annex| self.close_annex(*annex));
    }

    pub(super) fn close_annex(&self, annex: QueueId) {
        if let Some((_, hosted)) = self.queues.remove(&annex) {
            hosted.close();
        }
        self.timer.forget(annex);
    }

    pub(super) fn host_annexes(&self, home: &Arc<VirtualHost>, record: &ExchangeRecord) {
        for annex in record.annex_records() {
            let journal = self.journal.clone().filter(|_| annex.durable);
            // It begins to count time with its first message.
            let begun = Moment::default();
            let configuration = Configuration { options: annex.options.clone(), version: 0 };
            let hosted = Hosted::new(annex, Arc::clone(home), configuration, begun);
            self.host(&Arc::new(hosted.kept_in(journal, Restored::default())));
        }
    }

    /// Brings to the destination of a new binding what its source has kept for new ones. The
    /// topology is locked: nothing passes the source meanwhile.
    pub(super) fn replay(&self, topology: &Topology, binding: &Binding, now: Moment) -> Replay {
        let mut replay = Replay::default();
        let history = topology.exchange(&binding.source).and_then(|source| source.history());
        let Some(history) = history.and_then(|annex| self.queue(annex)) else { return replay };
        let mut ids = Vec::new();
        for message in history.recent() {
            match &binding.destination {
                Destination::Queue(name) => {
                    ids = topology.queue_named(name).map(|queue| queue.id).into_iter().collect();
                }
                Destination::Exchange(name) => {
                    let keys = routing::further_keys(&message, true);
                    self.find_way(topology, (name, &message), &keys, now, &mut ids);
                }
            }
            let far = ids.iter().filter(|id| self.queue(**id).is_none());
            let far = far.filter_map(|id| self.remote(*id));
            replay.far.extend(far.map(|remote| (remote, anew(message.clone()))));
            let queues = self.queues(&ids);
            let mut together = Together::lock(&queues, self.journal.as_ref(), self.around(now));
            together.enqueue(anew(message), |_| true, now);
            let (written, aftermaths) = together.finish(self.around(now));
            replay.written = replay.written.max(written);
            let aftermaths = aftermaths.into_iter();
            replay.aftermaths.extend(aftermaths.map(|(hosted, it)| (hosted.record.id, it)));
        }
        replay
    }

    /// Does what follows from a replay, once the topology is free again.
    pub(super) fn finish_replay(&self, replay: Replay, now: Moment) -> LogPosition {
        for (queue, aftermath) in replay.aftermaths {
            if let Some(hosted) = self.queue(queue) {
                self.see_to(&hosted, aftermath, now);
            }
        }
        for (remote, arrival) in replay.far {
            self.publish_to(&remote, vec![(arrival, Ticket::Nobody)], now);
        }
        replay.written
    }

    /// Seeds chance for what no client sends.
    pub(super) fn draw(&self) -> u64 {
        self.next_draw.fetch_add(1, Ordering::Relaxed)
    }

    /// The queues that a message reaches from an exchange, when nobody waits for the answer.
    pub(super) fn find_way(
        &self,
        topology: &Topology,
        (start, message): (&[u8], &Message),
        further_keys: &[LongString],
        now: Moment,
        out: &mut Vec<QueueId>,
    ) {
        let mut draws = Draws::new(self.draw());
        let mut present = Chances { broker: self, draws: &mut draws, now };
        topology.route_from(start, message, further_keys, &mut present, out);
    }
}

/// A message as it was published, on its way into queues.
pub(super) fn anew(message: Message) -> Arrival {
    let view = PropertyView::of(message.properties()).unwrap_or_default();
    let priority = view.priority.unwrap_or(0);
    let persistent = view.delivery_mode == Some(PERSISTENT);
    let time_to_live = view.expiration.and_then(|text| parse_expiration(text).ok());
    Arrival { message, priority, time_to_live, persistent }
}
