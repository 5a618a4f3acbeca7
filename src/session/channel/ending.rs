//! How a channel ends: its consumers are detached, then what it holds is given back, then it is
//! said to be closed, or its number is free once the client has agreed.

use super::{Channel, Expected};
use crate::{
    model::{Outcome, Settlement},
    session::{
        batch,
        connection::Connection,
        exception::{Exception, NO_METHOD},
        request::Operation,
    },
    wire::method::ChannelCloseOk,
};

/// Whether a channel lives, and who ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Open,
    /// The client has closed it, and is told when all is given back.
    Closed,
    /// It broke a rule; `channel.close` is out, and frames are discarded until the client agrees.
    Failed {
        has_agreed: bool,
        is_clean: bool,
    },
    /// The connection ends.
    Abandoned,
}

/// How a channel takes its next frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Attitude {
    Ready,
    /// An answer is awaited: hold the frame back.
    Waits,
    /// A commit is awaited: a frame is a fault.
    Commits,
    /// Only `channel.close` and `channel.close-ok` are looked at.
    Discards,
}

impl Channel {
    #[inline]
    pub(in crate::session) fn attitude(&self) -> Attitude {
        match (&self.standing, &self.pending) {
            (Standing::Open, None) => Attitude::Ready,
            (Standing::Open, Some(pending)) => match pending.expected {
                Expected::Committed => Attitude::Commits,
                _ => Attitude::Waits,
            },
            (Standing::Failed { has_agreed: false, .. }, _) => Attitude::Discards,
            (Standing::Failed { .. } | Standing::Closed | Standing::Abandoned, _) => {
                Attitude::Waits
            }
        }
    }

    /// The client closes the channel.
    pub(in crate::session) fn close(&mut self, connection: &mut Connection) {
        self.end(Standing::Closed, connection);
    }

    /// A fault closes the channel.
    pub(in crate::session) fn fail(&mut self, exception: &Exception, connection: &mut Connection) {
        if !self.is_open() {
            return;
        }
        connection.outgoing.method(self.number, exception.channel_close());
        self.end(Standing::Failed { has_agreed: false, is_clean: false }, connection);
    }

    /// The connection ends; whether nothing is left to be done.
    pub(in crate::session) fn abandon(&mut self, connection: &mut Connection) -> bool {
        match self.standing {
            Standing::Failed { is_clean: true, .. } => return true,
            Standing::Open => self.end(Standing::Abandoned, connection),
            Standing::Closed | Standing::Failed { .. } | Standing::Abandoned => {
                self.standing = Standing::Abandoned;
            }
        }
        false
    }

    /// The client agrees that a failed channel has ended; whether its number is free.
    pub(in crate::session) fn agreed(&mut self) -> bool {
        let Standing::Failed { has_agreed, is_clean } = &mut self.standing else {
            return false;
        };
        *has_agreed = true;
        *is_clean
    }

    /// The client's own close crossed the server's: it is answered, and changes nothing.
    pub(in crate::session) fn close_crossed(&self, connection: &mut Connection) {
        connection.outgoing.method(self.number, ChannelCloseOk {});
    }

    /// What the channel held has been given back; whether its number is free.
    pub(in crate::session) fn cleaned(&mut self, connection: &mut Connection) -> bool {
        match &mut self.standing {
            Standing::Closed => {
                connection.outgoing.method(self.number, ChannelCloseOk {});
                true
            }
            Standing::Failed { has_agreed, is_clean } => {
                *is_clean = true;
                *has_agreed
            }
            Standing::Abandoned => true,
            Standing::Open => false,
        }
    }

    /// An operation that was under way when the channel ended has been answered.
    pub(super) fn go_on_ending(&mut self, connection: &mut Connection) {
        if self.pending.is_none() && !self.is_detached {
            self.detach(connection);
        }
    }

    /// The consumers are gone: what the channel holds goes back.
    pub(super) fn detached(&mut self, connection: &mut Connection) {
        self.is_detached = true;
        for (_, consumer) in std::mem::take(&mut self.consuming) {
            connection.consumers.remove(consumer);
        }
        if let Some(transaction) = self.transaction.take() {
            self.unacked.restore(transaction.into_taken());
        }
        let mut settlements: Vec<Settlement> = Vec::new();
        self.unacked.take_through(0, |taken| {
            batch::group(&mut settlements, taken.queue, taken.position, Outcome::Requeue);
        });
        connection.give_back_all(self.number, settlements);
    }

    fn end(&mut self, standing: Standing, connection: &mut Connection) {
        self.standing = standing;
        if self.pending.is_none() {
            self.detach(connection);
        }
    }

    fn detach(&mut self, connection: &mut Connection) {
        let consumers = self.consuming.values().filter_map(|id| {
            let queue = connection.consumers.find(*id)?.queue?;
            Some((queue, *id))
        });
        let consumers = consumers.collect();
        self.ask(Operation::Close { consumers }, Expected::Closed, NO_METHOD, connection);
    }
}
