//! Joins each port of the broker to what implements it.

use std::{fmt, mem, sync::Arc};

use crate::{
    broker,
    model::{ConsumerId, Decided, Delivery},
    net,
    session::request::Event,
};

/// A connection's outbox, as the broker sees it.
pub(super) struct ConnectionOutbox(pub(super) Arc<net::Outbox>);

impl broker::Outbox for ConnectionOutbox {
    fn deliver(&self, deliveries: &mut Vec<Delivery>) {
        self.0.extend(deliveries.drain(..).map(Event::Deliver));
    }

    fn consumer_cancelled(&self, consumer: ConsumerId) {
        self.0.extend([Event::ConsumerCancelled(consumer)]);
    }

    fn decided(&self, decided: &mut Vec<Decided>) {
        if decided.is_empty() {
            self.0.notify();
        } else {
            self.0.extend([Event::Decided(mem::take(decided))]);
        }
    }

    fn close(&self, reason: String) {
        self.0.extend([Event::Close(reason)]);
    }
}

impl fmt::Debug for ConnectionOutbox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ConnectionOutbox")
    }
}
