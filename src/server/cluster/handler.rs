//! Takes in what other nodes send, and notes which of them are there.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;

use super::{
    admitting, copying,
    driver::Order,
    frames,
    presence::{Presence, Turn},
    switchboard::Switchboard,
};
use crate::{
    broker::{Broker, Parcel},
    cluster::detector::Why,
    model::NodeNumber,
    net::{
        Clock,
        peers::{Answering, Class, Handler, Pulse, Question, Received},
    },
    server::journal::StoreJournal,
};

pub(super) struct Reception {
    pub(super) switchboard: Arc<Switchboard>,
    pub(super) broker: Arc<Broker>,
    pub(super) journal: Arc<StoreJournal>,
    pub(super) clock: Clock,
    pub(super) presence: Mutex<Presence>,
    /// Heartbeats of this node.
    pub(super) beats: AtomicU64,
}

/// Every so many heartbeats, nodes that are up and out of reach are greeted again.
const GREET_AGAIN: u64 = 8;

impl Reception {
    /// Tells the broker what a change of the ways means. Changes come one after the other.
    fn change(&self, node: NodeNumber, change: impl FnOnce(&mut Presence) -> Vec<Turn>) {
        let mut presence = self.presence.lock().unwrap_or_else(PoisonError::into_inner);
        for turn in change(&mut presence) {
            tracing::debug!(%node, ?turn, "the way to a node");
            match turn {
                Turn::Comes { incarnation } => {
                    self.broker.node_up(node, incarnation, self.clock.now());
                }
                Turn::Goes => self.broker.node_down(node, self.clock.now()),
            }
        }
    }
}

impl Reception {
    /// Says that what is sent arrives from here on, and wants to hear the same.
    fn greet(&self, node: NodeNumber) {
        let wish = [Bytes::from_static(b"?")];
        if self.switchboard.try_send(node, Class::Data, frames::GREETING, &wish) {
            self.change(node, |presence| presence.connected(node));
        }
    }

    /// Whatever was lost on the way: nodes that are up can be talked to after a while.
    fn greet_again(&self) {
        let beats = self.beats.fetch_add(1, Ordering::Relaxed);
        if beats.is_multiple_of(GREET_AGAIN) {
            let presence = self.presence.lock().unwrap_or_else(PoisonError::into_inner);
            let lost = presence.out_of_reach();
            drop(presence);
            lost.into_iter().for_each(|node| self.greet(node));
        }
    }
}

impl Handler for Reception {
    fn received(&self, frame: Received) {
        let Received { from, kind, payload, hold, .. } = frame;
        match kind {
            frames::GROUPS => {
                self.switchboard.order(Order::Messages(frames::messages(&payload)));
            }
            frames::PARCEL => match Parcel::read(&payload) {
                Some(parcel) => self.broker.receive(from, parcel, self.clock.now()),
                None => tracing::error!(node = %from, "a node says what makes no sense"),
            },
            frames::GREETING if payload.is_empty() => {
                self.change(from, |presence| presence.answered(from));
            }
            frames::GREETING => {
                // The answer goes before all that follows from it.
                self.switchboard.send_frame(from, Class::Data, frames::GREETING, &[]);
                self.change(from, |presence| presence.greeted(from));
            }
            frames::COMMAND => self.switchboard.order(Order::Command(payload)),
            frames::APPLIED => {
                if let Some(number) = frames::number(&payload) {
                    self.switchboard.applied_there(number, from);
                }
            }
            frames::BELIEFS => {
                self.switchboard.order(Order::Believed(frames::beliefs(&payload)));
            }
            frames::COPY => match copying::read_part(&payload) {
                Some(part) => self.switchboard.order(Order::Copied(part)),
                None => tracing::error!(node = %from, "a copy of a queue makes no sense"),
            },
            _ => tracing::debug!(node = %from, kind, "a frame of a later version"),
        }
        drop(hold);
    }

    fn connected(&self, to: NodeNumber, class: Class) {
        if class == Class::Data {
            self.greet(to);
        }
    }

    fn broken(&self, to: NodeNumber, class: Class) {
        if class == Class::Data {
            self.change(to, |presence| presence.broken(to));
        }
        self.switchboard.order(Order::Unreachable(to));
    }

    fn up(&self, node: NodeNumber, incarnation: u64) {
        tracing::info!(%node, name = self.switchboard.name(node), "a node is there");
        self.switchboard.order(Order::Up(node));
        // What follows from its being there must come after the greeting, which undoes it.
        self.greet(node);
        self.change(node, |presence| presence.up(node, incarnation));
    }

    fn down(&self, node: NodeNumber, why: Why) {
        tracing::warn!(%node, name = self.switchboard.name(node), "a node is down: {why}");
        self.switchboard.order(Order::Down(node));
        self.change(node, |presence| presence.down(node));
    }

    fn heartbeat(&self) -> Pulse {
        self.greet_again();
        let oldest_sync = self.journal.oldest_pending(self.clock.now());
        Pulse { oldest_sync, payload: self.switchboard.pulse() }
    }

    fn heard(&self, from: NodeNumber, payload: Bytes) {
        self.switchboard.hear(from, payload);
    }

    fn asked(&self, question: Question) -> Answering {
        let (switchboard, broker) = (Arc::clone(&self.switchboard), Arc::clone(&self.broker));
        Box::pin(admitting::answer(question, switchboard, broker))
    }
}
