//! One connection, as the broker knows it: who it is, where it is at home, what it left unfinished.

mod confirming;
mod consuming;
mod declaring;
mod publishing;
mod replies;
mod routes;

use std::{collections::BTreeMap, mem, sync::Arc};

#[cfg(test)]
pub(super) use self::replies::REPLY_QUEUE;
pub(super) use self::replies::ReplyRegistry;
pub use self::{
    consuming::{Purpose, TakenMessage},
    declaring::DeclaredQueue,
};

use self::{confirming::Confirming, publishing::Transaction, routes::RouteCache};
use super::{Broker, hosted::Hosted, ports::Outbox, routing::Draws, virtual_host::VirtualHost};
use crate::model::{
    ChannelNumber, ConnectionId, ConsumerId, LogPosition, Moment, Names, QueueId, QueueName,
    Refusal, ShortString, VirtualHostName,
};

/// A connection's way into the broker.
#[derive(Debug)]
pub struct Client {
    broker: Arc<Broker>,
    id: ConnectionId,
    outbox: Arc<dyn Outbox>,
    /// Connected from the machine that the broker runs on.
    from_here: bool,
    /// Draws the names that nobody may guess.
    names: Names,
    /// Chance for the exchanges that choose by it.
    draws: Draws,
    user: ShortString,
    home: Option<Arc<VirtualHost>>,
    routes: RouteCache,
    transactions: BTreeMap<ChannelNumber, Transaction>,
    /// The names under which the channels' consumers of direct replies are reached.
    reply_names: BTreeMap<ChannelNumber, ShortString>,
    /// The last record that the operation under way has written.
    awaited: LogPosition,
    confirming: Confirming,
}

impl Client {
    pub(super) fn new(
        broker: Arc<Broker>,
        id: ConnectionId,
        outbox: Arc<dyn Outbox>,
        from_here: bool,
        entropy: u128,
    ) -> Self {
        Self {
            broker,
            id,
            outbox,
            from_here,
            names: Names::new(entropy),
            draws: Draws::of_secret(entropy),
            user: ShortString::default(),
            home: None,
            routes: RouteCache::default(),
            transactions: BTreeMap::new(),
            reply_names: BTreeMap::new(),
            awaited: LogPosition::default(),
            confirming: Confirming::default(),
        }
    }

    /// Whose connection this is.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// What must be durable before the last operation is answered: its records. Asked once.
    pub fn take_awaited(&mut self) -> LogPosition {
        mem::take(&mut self.awaited)
    }

    /// Lets the user in.
    ///
    /// # Errors
    /// [`Refusal::LoginRefused`], whatever the reason: it tells an attacker nothing.
    pub fn login(&mut self, user: &[u8], password: &[u8]) -> Result<(), Refusal> {
        let name = ShortString::new(user.to_vec().into()).map_err(|_| Refusal::LoginRefused)?;
        if !self.broker.users.admits(user, password, self.from_here) {
            return Err(Refusal::LoginRefused);
        }
        self.user = name;
        Ok(())
    }

    /// Makes `name` this connection's virtual host.
    ///
    /// # Errors
    /// [`Refusal::VirtualHostNotFound`].
    pub fn open(&mut self, name: &VirtualHostName) -> Result<(), Refusal> {
        let home = self.broker.virtual_host(name);
        self.home = Some(home.ok_or_else(|| Refusal::VirtualHostNotFound(name.clone()))?);
        Ok(())
    }

    /// Ends the channel's stay: its consumers are detached, what its transaction holds is dropped.
    pub fn close_channel(
        &mut self,
        channel: ChannelNumber,
        consumers: &[(QueueId, ConsumerId)],
        now: Moment,
    ) {
        self.roll_back(channel);
        self.confirming.forget(channel);
        for &(queue, consumer) in consumers {
            self.cancel(channel, queue, consumer, now);
        }
        self.forget_reply_consumer(channel);
    }

    /// Ends the connection's stay: its exclusive queues are deleted.
    pub fn leave(&mut self, now: Moment) {
        let Some(home) = self.home.take() else { return };
        let own: Vec<_> = home.topology().queues_of(self.id).map(|queue| queue.id).collect();
        for queue in own {
            self.broker.delete_queue(queue, now);
        }
        self.transactions.clear();
        while let Some((channel, _)) = self.reply_names.first_key_value() {
            self.forget_reply_consumer(*channel);
        }
    }

    fn home(&self) -> &Arc<VirtualHost> {
        self.home.as_ref().expect("the session opens a virtual host before anything else")
    }

    /// The queue of this name, if this connection may use it.
    fn queue(&self, name: &QueueName) -> Result<Arc<Hosted>, Refusal> {
        let id = self.home().topology().check_queue(name, self.id)?.id;
        self.broker.queue(id).ok_or_else(|| self.no_queue(name))
    }
}
