//! The keys of messages that have passed, so many, each for its time.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;

use super::{Entry, Kept};
use crate::{
    broker::routing::{CachePlan, Claim, deduplication_key},
    model::{Moment, Position},
};

/// Keys, of which the oldest make room for new ones.
#[derive(Debug)]
pub(in crate::broker::queue) struct Keys {
    size: u64,
    time_to_live: Option<Duration>,
    known: BTreeMap<Bytes, Known>,
    by_age: BTreeMap<u64, Bytes>,
    next_serial: u64,
    /// What is written and has gone.
    left: VecDeque<Position>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    serial: u64,
    /// From then on the key counts no more.
    end: Option<Moment>,
    /// Where it is written, if it is.
    position: Option<Position>,
}

impl Keys {
    pub(super) fn new(plan: &CachePlan) -> Self {
        Self {
            size: plan.size,
            time_to_live: plan.time_to_live,
            known: BTreeMap::new(),
            by_age: BTreeMap::new(),
            next_serial: 0,
            left: VecDeque::new(),
        }
    }

    pub(super) fn claim(&mut self, claim: Claim, now: Moment) -> bool {
        let Claim { key, time_to_live } = claim;
        if let Some(known) = self.known.get(&key) {
            if known.end.is_none_or(|end| now < end) {
                return false;
            }
            self.forget(&key);
        }
        let end = time_to_live.or(self.time_to_live).map(|span| now + span);
        self.insert(key, end, None);
        true
    }

    /// The message that brought a key is written; says until when the key counts. Nothing when the
    /// key has had to make room meanwhile, or is written already.
    pub(super) fn receive(&mut self, entry: &Entry) -> Option<Option<Moment>> {
        let known = self.known.get_mut(&deduplication_key(&entry.message)?)?;
        if known.position.is_some() {
            return None;
        }
        known.position = Some(entry.position);
        Some(known.end)
    }

    pub(super) fn restore(&mut self, entry: &Entry) {
        match deduplication_key(&entry.message) {
            Some(key) => {
                self.forget(&key);
                self.insert(key, entry.deadline, Some(entry.position));
            }
            None => self.left.push_back(entry.position),
        }
    }

    pub(super) fn next_left(&mut self) -> Option<(Kept, Position)> {
        self.left.pop_front().map(|position| (Kept::Durable, position))
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    fn insert(&mut self, key: Bytes, end: Option<Moment>, position: Option<Position>) {
        while self.known.len() as u64 >= self.size
            && let Some((_, oldest)) = self.by_age.first_key_value()
        {
            let oldest = oldest.clone();
            self.forget(&oldest);
        }
        let serial = self.next_serial;
        self.next_serial += 1;
        self.by_age.insert(serial, key.clone());
        self.known.insert(key, Known { serial, end, position });
    }

    fn forget(&mut self, key: &Bytes) {
        if let Some(known) = self.known.remove(key) {
            self.by_age.remove(&known.serial);
            self.left.extend(known.position);
        }
    }
}
