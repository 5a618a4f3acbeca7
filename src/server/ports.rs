//! Joins each port of the broker to what implements it.

use std::{fmt, sync::Arc};

use crate::{
    broker,
    model::{ConsumerId, Delivery},
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

    fn close(&self, reason: String) {
        self.0.extend([Event::Close(reason)]);
    }
}

impl fmt::Debug for ConnectionOutbox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ConnectionOutbox")
    }
}
