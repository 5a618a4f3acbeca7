//! What one connection publishes: checked, routed, and enqueued in runs that share a route.

use std::{mem, sync::Arc, time::Duration};

use super::{
    Client,
    far::Far,
    replies,
    routes::{Route, RouteVersion},
};
use crate::{
    broker::{
        Broker, PERSISTENT,
        annexes::Chances,
        expiration::parse_expiration,
        hosted::{Fate, Hosted, Together},
        queue::Arrival,
        routing::{Basis, Recipients},
    },
    model::{
        ChannelNumber, LogPosition, LongString, Message, Moment, PropertyView, Publication,
        Published, Refusal, Right, Settlement, ShortString,
    },
};

/// The publications of a channel's open transaction, routed already.
pub(super) type Transaction = Vec<Routed>;

/// A publication that passed every check, and where it goes.
#[derive(Debug)]
pub(super) struct Routed {
    channel: ChannelNumber,
    mandatory: bool,
    confirm: Option<u64>,
    arrival: Arrival,
    route: Arc<Route>,
}

/// Publications in a row that go few ways, so that each queue's lock is taken once for all, and
/// what must be written is one record.
#[derive(Debug, Default)]
pub(super) struct Run {
    routes: Vec<Arc<Route>>,
    /// Each with the place of its route.
    arrivals: Vec<(usize, Arrival)>,
    /// Of each arrival: who awaits a confirm, and whether some queue refused it.
    senders: Vec<Sender>,
    /// What goes to queues that are not simply here.
    pub(super) far: Vec<Far>,
}

/// How many queues all ways of a run may lead to, if there are several ways. There are only if it
/// is written.
const QUEUES_AT_ONCE: usize = 16;

#[derive(Debug)]
struct Sender {
    channel: ChannelNumber,
    confirm: Option<u64>,
    fate: Fate,
}

impl Broker {
    /// Enqueues messages, each with the place of its route in `routes`, as [`Broker::enqueue`] does
    /// those that have one route.
    fn enqueue_along(
        &self,
        routes: &[Arc<Route>],
        arrivals: impl Iterator<Item = (usize, Arrival)>,
        mut note: impl FnMut(usize, Fate),
        now: Moment,
    ) -> LogPosition {
        let queues = in_order(routes.iter().flat_map(|route| &route.queues).map(Arc::clone));
        let mut together = Together::lock(&queues, self.journal.as_ref(), self.around(now));
        for (index, (place, arrival)) in arrivals.enumerate() {
            let joins = |id| routes[place].queues.iter().any(|hosted| hosted.record.id == id);
            note(index, together.enqueue(arrival, joins, now));
        }
        self.finish(together, now)
    }

    /// The queues that a transaction concerns, in the order of their numbers.
    fn all_of(&self, publications: &[Routed], settlements: &[Settlement]) -> Vec<Arc<Hosted>> {
        let joined = publications.iter().flat_map(|routed| &routed.route.queues).map(Arc::clone);
        let settled = settlements.iter().filter_map(|settlement| self.queue(settlement.queue));
        in_order(joined.chain(settled))
    }
}

/// The queues in the order of their numbers, each once.
fn in_order(queues: impl Iterator<Item = Arc<Hosted>>) -> Vec<Arc<Hosted>> {
    let mut queues: Vec<_> = queues.collect();
    queues.sort_unstable_by_key(|hosted| hosted.record.id);
    queues.dedup_by_key(|hosted| hosted.record.id);
    queues
}

impl Client {
    /// Publishes what the connection sent in a row, and returns what must be said of it, in order.
    ///
    /// A publication that is refused ends its channel: what follows on the same channel is dropped.
    pub fn publish(&mut self, publications: Vec<Publication>, now: Moment) -> Vec<Published> {
        let mut said = Vec::new();
        let mut ended: Vec<ChannelNumber> = Vec::new();
        let mut run = Run::default();
        for publication in publications {
            let channel = publication.channel;
            if ended.contains(&channel) {
                continue;
            }
            let transactional = publication.transactional;
            match self.routed(publication, now) {
                Ok(routed) if transactional => {
                    self.transactions.entry(channel).or_default().push(routed);
                }
                Ok(routed) => self.add(routed, &mut run, &mut said, now),
                Err(refusal) => {
                    self.finish(&mut run, &mut said, now);
                    said.push(Published::Refused { channel, refusal });
                    ended.push(channel);
                }
            }
        }
        self.finish(&mut run, &mut said, now);
        said
    }

    /// Publishes what the channel's transaction holds and settles what it settled, all as one
    /// record; returns the mandatory messages that no queue took.
    ///
    /// # Errors
    /// [`Refusal::PartialTransaction`] when a queue refused a message; the rest is done.
    pub fn commit(
        &mut self,
        channel: ChannelNumber,
        settlements: Vec<Settlement>,
        now: Moment,
    ) -> Result<Vec<Message>, Refusal> {
        let broker = Arc::clone(&self.broker);
        let publications = self.transactions.remove(&channel).unwrap_or_default();
        let queues = broker.all_of(&publications, &settlements);
        let mut together = Together::lock(&queues, broker.journal.as_ref(), broker.around(now));
        let (mut unroutable, mut refused) = (Vec::new(), false);
        let mut far = Vec::new();
        for Routed { mandatory, arrival, route, .. } in publications {
            let taken = route.is_routed || broker.replies.deliver(&arrival.message);
            if mandatory && !taken {
                unroutable.push(arrival.message.clone());
            }
            if !route.remotes.is_empty() {
                far.push((arrival, route));
            } else if !route.queues.is_empty() {
                let joins = |id| route.queues.iter().any(|hosted| hosted.record.id == id);
                refused |= together.enqueue(arrival, joins, now).refused;
            }
        }
        let mut elsewhere = Vec::new();
        for Settlement { queue, positions, outcome } in settlements {
            if together.has(queue) {
                together.settle(queue, positions, outcome, now);
            } else {
                elsewhere.push(Settlement { queue, positions, outcome });
            }
        }
        self.awaited = self.awaited.max(broker.finish(together, now));
        refused |= self.commit_far(far, elsewhere, now)?;
        if refused { Err(Refusal::PartialTransaction) } else { Ok(unroutable) }
    }

    /// Forgets what the channel's transaction holds.
    pub fn roll_back(&mut self, channel: ChannelNumber) {
        self.transactions.remove(&channel);
    }

    /// Checks a publication, in the order in which RabbitMQ 4.x checks, and finds its route.
    fn routed(&mut self, publication: Publication, now: Moment) -> Result<Routed, Refusal> {
        let Publication { channel, message, mandatory, confirm, .. } = publication;
        let view = PropertyView::of(message.properties());
        let is_plain = view.is_ok_and(|view| view.headers.is_none());
        let version = RouteVersion::now(self.home(), &self.broker);
        let cached = if is_plain { self.routes.find(&message, version) } else { None };
        if cached.is_none() {
            self.may_with_exchange(Right::Write, message.exchange())?;
            self.home().topology().admit(message.exchange())?;
        }
        let view = view.map_err(|_| Refusal::InvalidProperties)?;
        let wants_reply = view.reply_to == Some(replies::BASE.as_bytes());
        if wants_reply && !self.reply_names.contains_key(&channel) {
            return Err(Refusal::NoReplyConsumer);
        }
        let time_to_live = view.expiration.map(time_to_live).transpose()?;
        let (priority, persistent) = (view.priority.unwrap_or(0), view.delivery_mode);
        let recipients = if is_plain { None } else { Some(Recipients::separate(message.clone())?) };
        let user_id = view.user_id.filter(|claimed| !claimed.is_empty());
        let user_id = user_id.map(|claimed| self.check_user(claimed));
        let (mut message, further_keys) = match recipients {
            None => (message, Vec::new()),
            Some((rewritten, recipients)) => (rewritten, recipients.into_keys()),
        };
        if cached.is_none() {
            self.may_use_keys(&message, &further_keys)?;
        }
        user_id.unwrap_or(Ok(()))?;
        let route = match cached {
            Some(route) => route,
            None => self.find_route(&message, &further_keys, version, now),
        };
        if wants_reply {
            message = self.with_reply_name(channel, &message);
        }
        let persistent = persistent == Some(PERSISTENT);
        let arrival = Arrival { message, priority, time_to_live, persistent };
        Ok(Routed { channel, mandatory, confirm, arrival, route })
    }

    fn check_user(&self, claimed: &[u8]) -> Result<(), Refusal> {
        if *claimed == *self.user || self.broker.authority.may_impersonate(&self.user) {
            return Ok(());
        }
        let claimed = ShortString::new(claimed.to_vec().into());
        Err(Refusal::WrongUserId {
            claimed: claimed.expect("it came as a short string"),
            user: self.user.clone(),
        })
    }

    /// Looks the route up in the topology, and remembers it if it depends on the address alone.
    fn find_route(
        &mut self,
        message: &Message,
        further_keys: &[LongString],
        version: RouteVersion,
        now: Moment,
    ) -> Arc<Route> {
        let mut ids = Vec::new();
        let home = Arc::clone(self.home());
        let mut present = Chances { broker: &self.broker, draws: &mut self.draws, now };
        let routing = home.topology().route(message, further_keys, &mut present, &mut ids);
        let repeats = routing.and_then(|routing| routing.repeats);
        let (queues, remotes) = self.broker.find_all(&ids);
        let is_lost = !ids.is_empty() && queues.is_empty() && remotes.is_empty();
        let is_routed = routing.is_some_and(|routing| routing.is_routed) && !is_lost;
        let route = Arc::new(Route { queues, remotes, is_routed, repeats });
        if routing.is_some_and(|routing| routing.basis == Basis::Address) {
            self.routes.remember(message, version, &route);
        }
        route
    }

    /// Adds a publication to the run, which is enqueued first if it would go too many ways.
    fn add(&mut self, routed: Routed, run: &mut Run, said: &mut Vec<Published>, now: Moment) {
        let Routed { channel, mandatory, confirm, arrival, route } = routed;
        if !route.is_routed {
            self.finish(run, said, now);
            let taken = self.broker.replies.deliver(&arrival.message);
            if mandatory && !taken {
                let message = arrival.message.clone();
                said.push(Published::Unroutable { channel, message });
            }
        }
        let is_far = !route.remotes.is_empty();
        // Of what goes one way and what goes the other, nothing overtakes.
        if is_far && !run.routes.is_empty() || !is_far && !run.far.is_empty() {
            self.finish(run, said, now);
        }
        if is_far {
            let ticket = confirm.map(|number| (channel, number));
            return self.add_far(arrival, &route.remotes, ticket, run);
        }
        if route.queues.is_empty() {
            if let Some(number) = confirm {
                self.confirm_dropped(&route, channel, number, said);
            }
            return;
        }
        let known = run.routes.iter().rposition(|known| Arc::ptr_eq(known, &route));
        let place = known.unwrap_or_else(|| {
            let limit = if self.broker.journal.is_some() { QUEUES_AT_ONCE } else { 0 };
            let queues: usize = run.routes.iter().map(|route| route.queues.len()).sum();
            if queues + route.queues.len() > limit {
                self.finish(run, said, now);
            }
            run.routes.push(route);
            run.routes.len() - 1
        });
        run.arrivals.push((place, arrival));
        run.senders.push(Sender { channel, confirm, fate: Fate::default() });
    }

    /// Enqueues the run, and tells who awaits a confirm, or keeps it until that is true.
    fn finish(&mut self, run: &mut Run, said: &mut Vec<Published>, now: Moment) {
        if !run.far.is_empty() {
            self.ship(mem::take(&mut run.far), now);
        }
        let Run { routes, arrivals, senders, .. } = run;
        let note = |index: usize, fate| senders[index].fate = fate;
        let written = match &routes[..] {
            [] => return,
            [route] => {
                let arrivals = arrivals.drain(..).map(|(_, arrival)| arrival);
                self.broker.enqueue(&route.queues, arrivals, note, now)
            }
            routes => self.broker.enqueue_along(routes, arrivals.drain(..), note, now),
        };
        routes.clear();
        for Sender { channel, confirm, fate } in senders.drain(..) {
            let Some(number) = confirm else { continue };
            let is_lost = fate.awaited && written == LogPosition::NEVER;
            if fate.refused || is_lost {
                said.push(Published::Rejected { channel, number });
            } else if fate.awaited {
                self.confirming.wait(written, channel, number);
            } else {
                said.push(Published::Confirmed { channel, number });
            }
        }
    }
}

fn time_to_live(expiration: &[u8]) -> Result<Duration, Refusal> {
    parse_expiration(expiration).map_err(|fault| Refusal::InvalidExpiration {
        value: ShortString::new(expiration.to_vec().into()).expect("it came as a short string"),
        fault,
    })
}
