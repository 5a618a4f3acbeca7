//! `basic.ack`, `nack`, `reject` and `recover`: deliveries that end or come back.

use super::{Channel, unacked::Taken};
use crate::{
    model::Outcome,
    session::{
        connection::Connection,
        exception::{Exception, Fault, MethodId},
    },
    wire::method::BasicRecoverOk,
};

/// What one of the three methods asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) struct Settle {
    origin: MethodId,
    tag: u64,
    multiple: bool,
    outcome: Outcome,
}

impl Settle {
    /// Reads the payload of a method frame if it is one of the three, and sound.
    #[inline]
    pub(in crate::session) fn read(payload: &[u8]) -> Option<Self> {
        let ([0, 60, 0, method, arguments @ ..], 13) = (payload, payload.len()) else {
            return None;
        };
        let (tag, bits) = arguments.split_first_chunk::<8>()?;
        let [bits] = *bits else {
            return None;
        };
        let requeue = |bit: u8| if bits & bit != 0 { Outcome::Requeue } else { Outcome::Reject };
        let (multiple, outcome) = match method {
            80 => (bits & 1 != 0, Outcome::Acknowledge),
            90 => (false, requeue(1)),
            120 => (bits & 1 != 0, requeue(2)),
            _ => return None,
        };
        let tag = u64::from_be_bytes(*tag);
        Some(Self { origin: (60, u16::from(*method)), tag, multiple, outcome })
    }
}

impl Channel {
    /// Settles one delivery, or all up to one.
    #[inline]
    pub(in crate::session) fn settle(
        &mut self,
        settle: Settle,
        connection: &mut Connection,
    ) -> Result<(), Exception> {
        let unknown = || Fault::UnknownDeliveryTag(settle.tag).by(settle.origin);
        if let Some(transaction) = &mut self.transaction {
            let known =
                transaction.settle(settle.tag, settle.multiple, settle.outcome, &mut self.unacked);
            return if known { Ok(()) } else { Err(unknown()) };
        }
        let mut settled = 0;
        let mut each = |Taken { queue, position, .. }| {
            settled += 1;
            connection.batch.settle(queue, position, settle.outcome);
        };
        if settle.multiple {
            if !self.unacked.take_through(settle.tag, each) {
                return Err(unknown());
            }
        } else {
            each(self.unacked.take(settle.tag).ok_or_else(unknown)?);
        }
        self.give_back(settled, connection);
        Ok(())
    }

    /// All that is out comes back, under new tags, after `recover-ok`.
    pub(super) fn recover(
        &mut self,
        requeue: bool,
        reply: bool,
        connection: &mut Connection,
    ) -> Result<(), Fault> {
        if !requeue {
            return Err(Fault::RecoverWithoutRequeue);
        }
        if reply {
            connection.outgoing.method(self.number, BasicRecoverOk {});
        }
        let mut returned = 0;
        self.unacked.take_through(0, |Taken { queue, position, .. }| {
            returned += 1;
            connection.batch.settle(queue, position, Outcome::Requeue);
        });
        self.give_back(returned, connection);
        Ok(())
    }
}
