//! Whose turn it is: credit, priority, single active consumer.

use std::collections::{BTreeMap, VecDeque};

use super::{command::Subscription, unacked::Holder};
use crate::{
    broker::routing::Draws,
    model::{ChannelCredit, ConsumerId, DELIVERY_OVERHEAD, QueueKind, QueueOptions, Selection},
};

/// The consumers of a queue.
///
/// Those that may have room take turns in a ring, one for each priority. One that is found without
/// room leaves its ring, and joins at the end when it has room again:
///
/// ```text
///            no prefetch or window left             channel's credit used up
///   Full ◄──────────────────────────── InRing ────────────────────────────► Held
///        ────────────────────────────►        ◄────────────────────────────
///            settled or replenished                       resumed
/// ```
///
/// With a single active consumer, the others stand by, whatever their room.
#[derive(Debug)]
pub(super) struct Consumers {
    election: Election,
    selection: Selection,
    /// Chance for [`Selection::Random`]: the same in every run, since nobody has to foresee it.
    draws: Draws,
    slots: Vec<Option<Consumer>>,
    vacant: Vec<u32>,
    by_id: BTreeMap<ConsumerId, u32>,
    /// Highest priority first; one for each priority among the consumers.
    rings: Vec<Ring>,
    /// Those that the credit of their channel holds back, in the order in which it did.
    held: Vec<u32>,
    /// The single active consumer.
    active: Option<u32>,
    next_serial: u64,
}

/// Who may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Election {
    Everybody,
    /// One, until it leaves (classic queues).
    UntilItLeaves,
    /// One, until one of a higher priority comes and it holds nothing (quorum queues, RabbitMQ
    /// 4.0).
    UntilOutranked,
}

#[derive(Debug)]
struct Consumer {
    id: ConsumerId,
    serial: u64,
    acknowledge: bool,
    exclusive: bool,
    priority: i64,
    /// 0 is no limit.
    prefetch: u32,
    /// Messages that it holds.
    holds: u32,
    window: i64,
    /// Octets of its window that are left; overdrawn by the last message that went through it.
    room: i64,
    credit: ChannelCredit,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    InRing,
    Full,
    Held,
    StandBy,
}

#[derive(Debug)]
struct Ring {
    priority: i64,
    /// Consumers of this priority, in the ring or not.
    members: u32,
    turns: VecDeque<u32>,
}

/// A consumer that is being served.
pub(super) struct Served {
    pub(super) consumer: ConsumerId,
    pub(super) acknowledge: bool,
    pub(super) holder: Holder,
}

impl Consumers {
    pub(super) fn new(options: &QueueOptions) -> Self {
        let election = match (options.single_active_consumer, options.kind) {
            (false, _) => Election::Everybody,
            (true, QueueKind::Classic) => Election::UntilItLeaves,
            (true, QueueKind::Quorum) => Election::UntilOutranked,
        };
        Self {
            election,
            selection: options.selection,
            draws: Draws::new(0),
            slots: Vec::new(),
            vacant: Vec::new(),
            by_id: BTreeMap::new(),
            rings: Vec::new(),
            held: Vec::new(),
            active: None,
            next_serial: 0,
        }
    }

    /// Adds a consumer. One that is known already stays as it is.
    pub(super) fn subscribe(&mut self, subscription: Subscription) {
        let Subscription { consumer: id, prefetch, acknowledge, priority, .. } = subscription;
        if self.by_id.contains_key(&id) {
            return;
        }
        let window = as_room(subscription.window);
        let consumer = Consumer {
            id,
            serial: self.next_serial,
            acknowledge,
            exclusive: subscription.exclusive,
            priority,
            prefetch: prefetch.into(),
            holds: 0,
            window,
            room: window,
            credit: subscription.credit,
            place: Place::StandBy,
        };
        self.next_serial += 1;
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("fewer consumers than memory has words")
        });
        self.slots[slot as usize] = Some(consumer);
        self.by_id.insert(id, slot);
        self.ring(priority).members += 1;
        match self.election {
            Election::Everybody => self.enter_ring(slot),
            Election::UntilItLeaves | Election::UntilOutranked => self.elect(),
        }
    }

    /// Removes a consumer, and says whether it was here.
    pub(super) fn unsubscribe(&mut self, id: ConsumerId) -> bool {
        let Some(slot) = self.by_id.remove(&id) else { return false };
        self.leave_ring(slot);
        let priority = self.consumer(slot).priority;
        self.slots[slot as usize] = None;
        self.vacant.push(slot);
        let ring = self.ring(priority);
        ring.members -= 1;
        self.rings.retain(|ring| ring.members > 0);
        if self.active == Some(slot) {
            self.active = None;
        }
        self.elect();
        true
    }

    /// The consumer whose turn it is. A message must be there for it: its channel's credit is
    /// taken.
    #[inline]
    pub(super) fn next_turn(&mut self) -> Option<u32> {
        loop {
            let ring = self.rings.iter_mut().find(|ring| !ring.turns.is_empty())?;
            if self.selection != Selection::RoundRobin {
                ring.bring_forward(self.selection, &self.slots, &mut self.draws);
            }
            let slot = ring.turns.pop_front()?;
            let consumer = self.slots[slot as usize].as_mut().expect("rings hold consumers");
            match consumer.claim_turn() {
                Place::InRing => {
                    ring.turns.push_back(slot);
                    return Some(slot);
                }
                Place::Held => self.held.push(slot),
                Place::Full | Place::StandBy => {}
            }
        }
    }

    /// Gives a message of so many octets to the consumer of `slot`, whose turn it is.
    #[inline]
    pub(super) fn serve(&mut self, slot: u32, size: usize) -> Served {
        let consumer = self.consumer(slot);
        consumer.holds += u32::from(consumer.acknowledge);
        consumer.room -= as_room(size + DELIVERY_OVERHEAD);
        Served {
            consumer: consumer.id,
            acknowledge: consumer.acknowledge,
            holder: Holder { slot, serial: consumer.serial },
        }
    }

    /// The holder of a message that a consumer held already under another leader; nobody, if it is
    /// not here.
    pub(super) fn hold_again(&mut self, id: ConsumerId) -> Holder {
        let Some(&slot) = self.by_id.get(&id) else { return Holder::NOBODY };
        let consumer = self.consumer(slot);
        consumer.holds += 1;
        Holder { slot, serial: consumer.serial }
    }

    /// Who the consumer is as a holder.
    pub(super) fn holder(&self, id: ConsumerId) -> Option<Holder> {
        let slot = *self.by_id.get(&id)?;
        let serial = self.slots[slot as usize].as_ref()?.serial;
        Some(Holder { slot, serial })
    }

    /// A message comes back from its holder, who may have left.
    #[inline]
    pub(super) fn give_back(&mut self, holder: Holder) {
        let slots = self.slots.get_mut(holder.slot as usize);
        let Some(consumer) = slots.and_then(Option::as_mut) else { return };
        if consumer.serial != holder.serial {
            return;
        }
        consumer.holds -= 1;
        match consumer.place {
            Place::Full => self.retry(holder.slot),
            Place::StandBy if consumer.holds == 0 => self.elect(),
            Place::InRing | Place::Held | Place::StandBy => {}
        }
    }

    /// So many octets have left for the consumer's socket.
    pub(super) fn replenish(&mut self, id: ConsumerId, octets: usize) {
        let Some(&slot) = self.by_id.get(&id) else { return };
        let consumer = self.consumer(slot);
        consumer.room = consumer.room.saturating_add(as_room(octets));
        if consumer.place == Place::Full {
            self.retry(slot);
        }
    }

    /// Tries those again that their channel's credit held back.
    pub(super) fn resume(&mut self) {
        for slot in std::mem::take(&mut self.held) {
            self.retry(slot);
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.by_id.len() as u64
    }

    /// Whether a consumer of the queue is not made to stand by.
    pub(super) fn is_active(&self, id: ConsumerId) -> bool {
        self.election == Election::Everybody
            || self.by_id.get(&id).is_some_and(|slot| self.active == Some(*slot))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Whether somebody seems to have room.
    #[inline]
    pub(super) fn are_waiting(&self) -> bool {
        self.rings.iter().any(|ring| !ring.turns.is_empty())
    }

    pub(super) fn has_exclusive(&self) -> bool {
        self.slots.iter().flatten().any(|consumer| consumer.exclusive)
    }

    pub(super) fn is_single_active(&self) -> bool {
        self.election != Election::Everybody
    }

    /// Settles who is active: who came first among those of the highest priority, when nobody is.
    /// One who is outranked gets no more, and is relieved when it holds nothing.
    fn elect(&mut self) {
        if self.election == Election::Everybody {
            return;
        }
        let Some(best) = self.candidate() else { return };
        if let Some(active) = self.active {
            let rank = self.consumer(best).priority;
            if self.election == Election::UntilItLeaves || self.consumer(active).priority >= rank {
                self.enter_ring(active);
                return;
            }
            self.leave_ring(active);
            if self.consumer(active).holds > 0 {
                return;
            }
        }
        self.active = Some(best);
        self.enter_ring(best);
    }

    fn candidate(&self) -> Option<u32> {
        let consumers = self.slots.iter().zip(0..).filter_map(|(consumer, slot)| {
            consumer.as_ref().map(|consumer| (consumer.priority, !consumer.serial, slot))
        });
        consumers.max().map(|(_, _, slot)| slot)
    }

    /// Lets a consumer that stands by take turns.
    fn enter_ring(&mut self, slot: u32) {
        if self.consumer(slot).place == Place::StandBy {
            self.retry(slot);
        }
    }

    /// Makes a consumer stand by.
    fn leave_ring(&mut self, slot: u32) {
        let consumer = self.consumer(slot);
        let (place, priority) = (consumer.place, consumer.priority);
        consumer.place = Place::StandBy;
        match place {
            Place::InRing => self.ring(priority).turns.retain(|turn| *turn != slot),
            Place::Held => self.held.retain(|held| *held != slot),
            Place::Full | Place::StandBy => {}
        }
    }

    /// Lets a consumer outside the ring take turns, if it has room.
    fn retry(&mut self, slot: u32) {
        let consumer = self.consumer(slot);
        if !consumer.has_room() {
            consumer.place = Place::Full;
            return;
        }
        consumer.place = Place::InRing;
        let priority = consumer.priority;
        self.ring(priority).turns.push_back(slot);
    }

    #[inline]
    fn consumer(&mut self, slot: u32) -> &mut Consumer {
        self.slots[slot as usize].as_mut().expect("a slot in use has a consumer")
    }

    fn ring(&mut self, priority: i64) -> &mut Ring {
        let index = self.rings.partition_point(|ring| ring.priority > priority);
        if self.rings.get(index).is_none_or(|ring| ring.priority != priority) {
            self.rings.insert(index, Ring { priority, members: 0, turns: VecDeque::new() });
        }
        &mut self.rings[index]
    }
}

impl Ring {
    /// Has the one in front whose turn it is when they do not simply take turns.
    fn bring_forward(
        &mut self,
        selection: Selection,
        slots: &[Option<Consumer>],
        draws: &mut Draws,
    ) {
        let chosen = match selection {
            Selection::RoundRobin => 0,
            Selection::Random => draws.below(self.turns.len()),
            Selection::LeastLoaded => {
                let load = |slot: u32| slots[slot as usize].as_ref().map(Consumer::load);
                let loads = self.turns.iter().map(|slot| load(*slot));
                // The first of those with the least: they take turns.
                loads.enumerate().min_by_key(|(_, load)| *load).map_or(0, |(index, _)| index)
            }
        };
        if let Some(slot) = self.turns.remove(chosen) {
            self.turns.push_front(slot);
        }
    }
}

impl Consumer {
    /// Messages that it holds, then octets on their way to it. Among consumers that do not
    /// acknowledge the latter alone counts.
    fn load(&self) -> (u32, i64) {
        (self.holds, self.window - self.room)
    }

    /// Where the consumer belongs that is asked to take a message.
    #[inline]
    fn claim_turn(&mut self) -> Place {
        self.place = if !self.has_room() {
            Place::Full
        } else if self.acknowledge && !self.credit.take() {
            Place::Held
        } else {
            Place::InRing
        };
        self.place
    }

    #[inline]
    fn has_room(&self) -> bool {
        let may_hold = self.prefetch == 0 || !self.acknowledge || self.holds < self.prefetch;
        may_hold && self.room > 0
    }
}

#[inline]
fn as_room(octets: usize) -> i64 {
    i64::try_from(octets).unwrap_or(i64::MAX)
}
