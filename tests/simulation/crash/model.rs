//! What the broker must hold while it lives: every message in its place, obviously right and slow.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use leveret::model::{
    ConsumerId, DeathReason, Delivery, FieldValue, LogPosition, Message, Outcome, Properties,
};

use super::universe::{DEAD, EXCHANGES, Grave, QUEUES, Sent, Universe, takes};

/// A queue's number and a position in it.
pub(super) type Place = (u64, u64);

/// The record that was the last one when something had been done; none: it is not done yet.
pub(super) type Done = Option<LogPosition>;

/// A queue that is there.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub(super) index: usize,
    pub(super) next: u64,
    /// By priority, then by position.
    pub(super) ready: BTreeSet<(Reverse<u8>, u64)>,
    /// With whom; what `basic.get` took has a consumer of serial number 0.
    pub(super) out: BTreeMap<u64, ConsumerId>,
}

/// A message in its queue, now or before.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) sent: Arc<Sent>,
    pub(super) level: u8,
    pub(super) deadline: Option<u64>,
    pub(super) durable: bool,
    pub(super) deaths: Vec<(usize, DeathReason, u64)>,
    /// A client has seen it here.
    pub(super) seen: bool,
    /// It must say that it may have been seen.
    pub(super) redelivered: bool,
    pub(super) times: u32,
    /// Its publisher was told that it is safe.
    pub(super) confirmed: bool,
    pub(super) arrived: Done,
    pub(super) left: Option<Done>,
}

/// What a consumer asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) queue: u64,
    pub(super) acknowledge: bool,
    pub(super) prefetch: u16,
}

/// A dead letter, and where it went to.
#[derive(Clone, Debug)]
pub(super) struct Move {
    pub(super) from: Place,
    pub(super) to: Vec<Place>,
}

#[derive(Clone, Debug)]
struct Letter {
    from: Place,
    grave: Grave,
    deaths: Vec<(usize, DeathReason, u64)>,
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) universe: Arc<Universe>,
    pub(super) lines: BTreeMap<u64, Line>,
    pub(super) exchanges: BTreeSet<usize>,
    pub(super) bindings: BTreeSet<(usize, usize, &'static str)>,
    pub(super) consumers: BTreeMap<ConsumerId, Wish>,
    pub(super) placed: BTreeMap<Place, Placed>,
    pub(super) moves: Vec<Move>,
    /// In milliseconds since the epoch.
    pub(super) now: u64,
    /// How many messages were delivered, and found to be what they must be.
    pub(super) checked: u64,
    letters: VecDeque<Letter>,
    observed: BTreeMap<u64, VecDeque<Delivery>>,
}

impl Model {
    pub(super) fn new(universe: Arc<Universe>, now: u64) -> Self {
        Self {
            universe,
            lines: BTreeMap::new(),
            exchanges: BTreeSet::new(),
            bindings: BTreeSet::new(),
            consumers: BTreeMap::new(),
            placed: BTreeMap::new(),
            moves: Vec::new(),
            now,
            checked: 0,
            letters: VecDeque::new(),
            observed: BTreeMap::new(),
        }
    }

    /// What consumers were handed during a call, of which the model is told next.
    pub(super) fn observe(&mut self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            self.observed.entry(delivery.queue.0).or_default().push_back(delivery);
        }
    }

    /// The call is over; `last` is the last record that it can have written.
    pub(super) fn conclude(&mut self, last: LogPosition) {
        self.carry();
        self.observed.retain(|_, deliveries| !deliveries.is_empty());
        if let Some(deliveries) = self.observed.values().next() {
            let Delivery { consumer, queue, position, .. } = &deliveries[0];
            panic!("{consumer:?} is handed {position} of {queue}, whose turn it is not");
        }
        for placed in self.placed.values_mut() {
            placed.arrived.get_or_insert(last);
            placed.left.iter_mut().for_each(|left| _ = left.get_or_insert(last));
        }
    }

    pub(super) fn queue_named(&self, index: usize) -> Option<u64> {
        self.lines.iter().find(|(_, line)| line.index == index).map(|(id, _)| *id)
    }

    /// The queues that a message goes to, by their numbers.
    pub(super) fn route(&self, exchange: Option<usize>, key: &str) -> Vec<u64> {
        let bound = |index: usize| match exchange {
            None => QUEUES[index] == key,
            Some(exchange) => self.bindings.iter().any(|(source, queue, pattern)| {
                *source == exchange && *queue == index && takes(exchange, pattern, key)
            }),
        };
        self.lines.iter().filter(|(_, line)| bound(line.index)).map(|(id, _)| *id).collect()
    }

    /// A message enters the queues that are still there; says where it is.
    pub(super) fn enqueue(&mut self, sent: &Arc<Sent>, queues: &[u64]) -> Vec<Place> {
        self.enter(sent, queues, &[])
    }

    fn enter(
        &mut self,
        sent: &Arc<Sent>,
        queues: &[u64],
        deaths: &[(usize, DeathReason, u64)],
    ) -> Vec<Place> {
        let mut places = Vec::new();
        for &queue in queues {
            self.expire(queue);
            let now = self.now;
            let Some(line) = self.lines.get_mut(&queue) else { continue };
            let kind = &self.universe.kinds[line.index];
            let level = sent.priority.min(kind.max_priority.unwrap_or(0));
            // What has died does not expire by itself again.
            let own = sent.expiration.filter(|_| deaths.is_empty());
            let span = own.into_iter().chain(kind.ttl).min();
            let place = (queue, line.next);
            line.next += 1;
            line.ready.insert((Reverse(level), place.1));
            let placed = Placed {
                sent: Arc::clone(sent),
                level,
                deadline: span.map(|span| now + span),
                durable: kind.keeps(sent.persistent),
                deaths: deaths.to_vec(),
                seen: false,
                redelivered: false,
                times: 0,
                confirmed: false,
                arrived: None,
                left: None,
            };
            self.placed.insert(place, placed);
            places.push(place);
            self.trim(queue);
            self.serve(queue);
        }
        places
    }

    /// Anything that makes a queue look at its head and its consumers.
    pub(super) fn look(&mut self, queue: u64) {
        self.serve(queue);
    }

    pub(super) fn settle(&mut self, queue: u64, positions: &[u64], outcome: Outcome) {
        self.expire(queue);
        for &position in positions {
            let Some(line) = self.lines.get_mut(&queue) else { return };
            if line.out.remove(&position).is_none() {
                continue;
            }
            match outcome {
                Outcome::Acknowledge => self.leave((queue, position)),
                Outcome::Requeue => self.put_back((queue, position)),
                Outcome::Reject => self.die((queue, position), DeathReason::Rejected),
            }
        }
        if outcome == Outcome::Requeue {
            self.trim(queue);
        }
        self.serve(queue);
    }

    /// Returns how many messages there were.
    pub(super) fn purge(&mut self, queue: u64) -> u64 {
        self.expire(queue);
        let ready = std::mem::take(&mut self.line(queue).ready);
        ready.iter().for_each(|(_, position)| self.leave((queue, *position)));
        self.serve(queue);
        ready.len() as u64
    }

    /// `basic.get`: the message whose turn it is, which is as it must be.
    pub(super) fn get(
        &mut self,
        queue: u64,
        taken: Option<(u64, bool, &Message)>,
        holder: Option<ConsumerId>,
    ) {
        self.expire(queue);
        let head = self.line(queue).ready.pop_first();
        let head = head.map(|(_, position)| position);
        assert_eq!(taken.map(|(position, ..)| position), head, "basic.get from queue {queue}");
        if let Some((position, redelivered, message)) = taken {
            self.check((queue, position), redelivered, message);
            match holder {
                Some(holder) => _ = self.line(queue).out.insert(position, holder),
                None => self.leave((queue, position)),
            }
        }
        self.serve(queue);
    }

    /// The queue is deleted with all that is in it.
    pub(super) fn delete(&mut self, queue: u64) {
        self.serve(queue);
        let line = self.lines.remove(&queue).expect("the queue is there");
        let ready = line.ready.iter().map(|(_, position)| *position);
        for position in ready.chain(line.out.keys().copied()) {
            self.leave((queue, position));
        }
        self.consumers.retain(|_, wish| wish.queue != queue);
        self.bindings.retain(|(_, bound, _)| *bound != line.index);
    }

    /// Dead letters go on, and what dies of that.
    pub(super) fn carry(&mut self) {
        // What dies in several queues at once is handed on queue by queue.
        self.letters.make_contiguous().sort_by_key(|letter| letter.from.0);
        while let Some(Letter { from, grave, deaths }) = self.letters.pop_front() {
            let sent = Arc::clone(&self.placed[&from].sent);
            let queues = match grave {
                Grave::Queue(target) => self.route(None, QUEUES[target]),
                Grave::Exchange if self.exchanges.contains(&DEAD) => {
                    self.route(Some(DEAD), EXCHANGES[DEAD].0)
                }
                Grave::Exchange => Vec::new(),
            };
            let to = self.enter(&sent, &queues, &deaths);
            self.leave(from);
            self.moves.push(Move { from, to });
        }
    }

    /// Whether a consumer may hold one more message.
    pub(super) fn has_room(&self, line: &Line, consumer: &ConsumerId) -> bool {
        let Wish { prefetch, acknowledge, .. } = self.consumers[consumer];
        let held = line.out.values().filter(|holder| *holder == consumer).count();
        !acknowledge || prefetch == 0 || held < usize::from(prefetch)
    }

    fn line(&mut self, queue: u64) -> &mut Line {
        self.lines.get_mut(&queue).expect("the queue is there")
    }

    /// Heads that have expired go, and heads that were seen to be handed out do.
    fn serve(&mut self, queue: u64) {
        loop {
            self.expire(queue);
            let Some(line) = self.lines.get(&queue) else { return };
            let Some(observed) = self.observed.get(&queue) else { return };
            let Some(&(level, position)) = line.ready.first() else { return };
            let Some(next) = next_of(observed, position) else { return };
            let consumer = observed[next].consumer;
            if !self.has_room(&self.lines[&queue], &consumer) {
                return;
            }
            let next = self.observed.get_mut(&queue).and_then(|observed| observed.remove(next));
            let (next, line) = (next.expect("it was found"), self.line(queue));
            line.ready.remove(&(level, position));
            let wish = self.consumers[&consumer];
            assert_eq!(wish.queue, queue, "a consumer is handed another queue's message");
            if wish.acknowledge {
                self.line(queue).out.insert(position, consumer);
            }
            self.check((queue, position), next.redelivered, &next.message);
            self.placed.get_mut(&(queue, position)).unwrap().seen = true;
            if !wish.acknowledge {
                self.leave((queue, position));
            }
        }
    }

    fn expire(&mut self, queue: u64) {
        while let Some(line) = self.lines.get_mut(&queue)
            && let Some(&(level, position)) = line.ready.first()
            && self.placed[&(queue, position)].deadline.is_some_and(|deadline| deadline <= self.now)
        {
            line.ready.remove(&(level, position));
            self.die((queue, position), DeathReason::Expired);
        }
    }

    fn trim(&mut self, queue: u64) {
        let limit = self.universe.kinds[self.lines[&queue].index].max_length;
        while limit.is_some_and(|limit| self.lines[&queue].ready.len() as u64 > limit) {
            let (_, position) = self.line(queue).ready.pop_first().unwrap();
            self.die((queue, position), DeathReason::MaxLength);
        }
    }

    fn put_back(&mut self, place: Place) {
        let index = self.line(place.0).index;
        let kind = &self.universe.kinds[index];
        let placed = self.placed.get_mut(&place).unwrap();
        placed.redelivered = true;
        if kind.quorum {
            placed.times += 1;
            if kind.delivery_limit.is_some_and(|limit| placed.times > limit) {
                return self.die(place, DeathReason::DeliveryLimit);
            }
        }
        let level = placed.level;
        self.line(place.0).ready.insert((Reverse(level), place.1));
    }

    fn die(&mut self, place: Place, reason: DeathReason) {
        let index = self.line(place.0).index;
        let Some(grave) = self.universe.kinds[index].dead_letter else {
            return self.leave(place);
        };
        let mut deaths = vec![(index, reason, self.now / 1000)];
        deaths.extend(&self.placed[&place].deaths);
        self.letters.push_back(Letter { from: place, grave, deaths });
    }

    fn leave(&mut self, place: Place) {
        self.placed.get_mut(&place).unwrap().left.get_or_insert(None);
    }

    /// A message that a client is handed is what was published, and says what happened to it.
    fn check(&mut self, place: Place, redelivered: bool, message: &Message) {
        let placed = &self.placed[&place];
        let sent = &placed.sent;
        assert!(*message.body() == sent.body(), "message {} is not what it was", sent.number);
        assert_eq!(redelivered, placed.redelivered, "redelivered: {} at {place:?}", sent.number);
        let history = message.history().map_or(&[][..], |history| &history.deaths);
        let deaths: Vec<_> = history
            .iter()
            .map(|death| (death.place.queue.text(), death.place.reason, death.time.unix_seconds()))
            .collect();
        let expected: Vec<_> = placed
            .deaths
            .iter()
            .map(|(queue, reason, time)| (QUEUES[*queue].into(), *reason, *time))
            .collect();
        assert_eq!(deaths, expected, "the history of {}", sent.number);
        let headers = Properties::decode(&message.shared_properties()).unwrap().headers;
        let header = |name: &str| headers.as_ref().and_then(|headers| headers.lookup(name));
        let told = match header("x-death") {
            Some(FieldValue::Array(told)) => told.len(),
            _ => 0,
        };
        assert_eq!(told, deaths.len(), "x-death of message {}", sent.number);
        let times = match header("x-delivery-count") {
            Some(FieldValue::Int64(times)) => *times,
            _ => 0,
        };
        assert_eq!(times, i64::from(placed.times), "x-delivery-count of {}", sent.number);
        self.checked += 1;
    }
}

/// The delivery of the message whose turn it is. Each connection is handed its own in order, and
/// one connection's all at once.
fn next_of(observed: &VecDeque<Delivery>, position: u64) -> Option<usize> {
    let index = observed.iter().position(|next| next.position.0 == position)?;
    let connection = observed[index].consumer.connection;
    let mut earlier = observed.iter().take(index);
    (!earlier.any(|earlier| earlier.consumer.connection == connection)).then_some(index)
}
