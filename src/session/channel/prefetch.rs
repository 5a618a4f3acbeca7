//! `basic.qos`: how much may be out, per consumer and for all consumers of the channel.

use super::Channel;
use crate::{
    model::ChannelCredit,
    session::{connection::Connection, exception::Fault},
    wire::method::{BasicQos, BasicQosOk},
};

/// The limits of one channel.
#[derive(Debug, Default)]
pub(super) struct Prefetch {
    /// What each consumer started from now on may hold; 0 is no limit.
    pub(super) per_consumer: u16,
    /// What all may hold together; counts even without a limit.
    pub(super) credit: ChannelCredit,
}

impl Channel {
    /// RabbitMQ's meaning of `global`: without it, the limit is for each consumer started from now
    /// on, and the limit of the channel is lifted; with it, for all of the channel together.
    pub(super) fn limit(
        &mut self,
        qos: &BasicQos,
        connection: &mut Connection,
    ) -> Result<(), Fault> {
        if qos.prefetch_size != 0 {
            return Err(Fault::PrefetchSize(qos.prefetch_size));
        }
        let was_limited = self.prefetch.credit.is_limited();
        if qos.global {
            self.prefetch.credit.limit_to(qos.prefetch_count);
        } else {
            self.prefetch.per_consumer = qos.prefetch_count;
            self.prefetch.credit.limit_to(0);
        }
        if was_limited {
            self.resume(connection);
        }
        connection.outgoing.method(self.number, BasicQosOk {});
        Ok(())
    }

    /// So many deliveries count no longer against the channel's limit.
    #[inline]
    pub(super) fn give_back(&self, deliveries: usize, connection: &mut Connection) {
        self.prefetch.credit.give_back(u32::try_from(deliveries).unwrap_or(u32::MAX));
        if self.prefetch.credit.is_limited() {
            self.resume(connection);
        }
    }

    /// The queues that the channel consumes from may try it again.
    fn resume(&self, connection: &mut Connection) {
        for id in self.consuming.values() {
            if let Some(queue) = connection.consumers.find(*id).and_then(|found| found.queue) {
                connection.resume(queue);
            }
        }
    }
}
