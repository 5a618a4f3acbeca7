//! One connection, as the broker knows it: who it is, where it is at home, what it left unfinished.

mod confirming;
mod consuming;
mod declaring;
mod far;
mod pacing;
mod publishing;
mod replies;
mod rights;
mod routes;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

#[cfg(test)]
pub(super) use self::replies::REPLY_QUEUE;
pub use self::{
    consuming::{Purpose, TakenMessage},
    declaring::DeclaredQueue,
};
pub(super) use self::{pacing::Meters, replies::ReplyRegistry};

use self::{confirming::Confirming, pacing::Pacing, publishing::Transaction, routes::RouteCache};
use super::{
    Broker,
    access::Grants,
    ports::Outbox,
    presence::{Present, Room},
    remote::{Place, Remote},
    routing::Draws,
    virtual_host::VirtualHost,
};
use crate::model::{
    ChannelNumber, ConnectionId, ConsumerId, Limit, LogPosition, Moment, Names, QueueId, QueueName,
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
    grants: Grants,
    /// Acts for the node's operator: there is no right that it needs.
    is_unrestricted: bool,
    /// Those that were counted.
    channels: BTreeSet<ChannelNumber>,
    home: Option<Arc<VirtualHost>>,
    routes: RouteCache,
    /// Queues to which too much is on its way.
    crowded: Vec<Arc<Remote>>,
    /// Absent before a virtual host is open.
    pacing: Option<Pacing>,
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
            grants: Grants::default(),
            is_unrestricted: false,
            channels: BTreeSet::new(),
            home: None,
            routes: RouteCache::default(),
            crowded: Vec::new(),
            pacing: None,
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

    /// Lets the user in. Without a password the way here has proven who it is, as a certificate
    /// does.
    ///
    /// # Errors
    /// [`Refusal::LoginRefused`], whatever the reason: it tells an attacker nothing.
    pub fn login(&mut self, user: &[u8], password: Option<&[u8]>) -> Result<(), Refusal> {
        let name = ShortString::new(user.to_vec().into()).map_err(|_| Refusal::LoginRefused)?;
        let may_be_there = self.from_here || self.broker.may_be_elsewhere(user);
        if !self.broker.authority.admits(user, password) || !may_be_there {
            return Err(Refusal::LoginRefused);
        }
        self.user = name;
        Ok(())
    }

    /// Takes up the work of a user who has logged in elsewhere, as an operator does who asks for
    /// something to be declared: it counts as no connection.
    ///
    /// # Errors
    /// [`Refusal::VirtualHostNotFound`], [`Refusal::VirtualHostDenied`].
    pub fn act_as(&mut self, user: ShortString, home: &VirtualHostName) -> Result<(), Refusal> {
        self.user = user;
        self.home = Some(self.find_home(home)?);
        Ok(())
    }

    /// Takes up work in a virtual host that nobody's permissions restrict: what the node's own
    /// operator asks for, or its definitions.
    ///
    /// # Errors
    /// [`Refusal::VirtualHostNotFound`].
    pub fn act_for_operator(&mut self, home: &VirtualHostName) -> Result<(), Refusal> {
        self.is_unrestricted = true;
        self.home = Some(self.find_home(home)?);
        Ok(())
    }

    /// Makes `name` this connection's virtual host.
    ///
    /// # Errors
    /// [`Refusal::VirtualHostNotFound`]; when it or the user has too many connections; when the
    /// user has no permission there.
    pub fn open(&mut self, name: &VirtualHostName) -> Result<(), Refusal> {
        let home = self.broker.virtual_host(name);
        let home = home.ok_or_else(|| Refusal::VirtualHostNotFound(name.clone()))?;
        let room = Room {
            in_node: self.broker.connection_max,
            in_home: home.topology().options().limits.most(Limit::Connections),
            of_user: self.broker.authority.limit(&self.user, Limit::Connections),
        };
        let present = Present {
            user: self.user.clone(),
            home: home.name.clone(),
            outbox: Arc::clone(&self.outbox),
            channels: 0,
        };
        let (of_user, of_home) = self.broker.presence.enter(self.id, present, room)?;
        // Looked for again: who deletes it, or the user, closes those who are present by then.
        let entered = self.find_home(name);
        if entered.is_err() {
            self.broker.presence.leave(self.id);
        }
        self.home = Some(entered?);
        self.pacing = Some(Pacing::new(of_user, of_home));
        Ok(())
    }

    /// The virtual host, if it is there and the user has a permission in it.
    fn find_home(&self, name: &VirtualHostName) -> Result<Arc<VirtualHost>, Refusal> {
        let home = self.broker.virtual_host(name);
        let home = home.ok_or_else(|| Refusal::VirtualHostNotFound(name.clone()))?;
        if self.is_unrestricted || self.broker.authority.may_enter(&self.user, name) {
            return Ok(home);
        }
        Err(Refusal::VirtualHostDenied { virtual_host: name.clone(), user: self.user.clone() })
    }

    /// Counts a new channel.
    ///
    /// # Errors
    /// When the user has as many as may be.
    pub fn open_channel(&mut self, channel: ChannelNumber) -> Result<(), Refusal> {
        let limit = self.broker.authority.limit(&self.user, Limit::Channels);
        self.broker.presence.open_channel(self.id, limit)?;
        self.channels.insert(channel);
        Ok(())
    }

    /// Ends the channel's stay: its consumers are detached, what its transaction holds is dropped.
    pub fn close_channel(
        &mut self,
        channel: ChannelNumber,
        consumers: &[(QueueId, ConsumerId)],
        now: Moment,
    ) {
        if self.channels.remove(&channel) {
            self.broker.presence.close_channel(self.id);
        }
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
        self.broker.presence.leave(self.id);
        let own: Vec<_> =
            self.home_now(home).topology().queues_of(self.id).map(|queue| queue.id).collect();
        for queue in own {
            self.broker.delete_queue(queue, now);
        }
        self.transactions.clear();
        while let Some((channel, _)) = self.reply_names.first_key_value() {
            self.forget_reply_consumer(*channel);
        }
    }

    /// A virtual host may have been deleted and made again while all nodes agreed to a queue of
    /// this connection's.
    fn home_now(&self, home: Arc<VirtualHost>) -> Arc<VirtualHost> {
        let of_cluster = self.broker.cluster.as_ref();
        of_cluster.and_then(|_| self.broker.virtual_host(&home.name)).unwrap_or(home)
    }

    fn home(&self) -> &Arc<VirtualHost> {
        self.home.as_ref().expect("the session opens a virtual host before anything else")
    }

    /// Where the queue of this name is, if this connection may use it.
    fn place_of(&self, name: &QueueName) -> Result<Place, Refusal> {
        let id = self.home().topology().check_queue(name, self.id)?.id;
        self.broker.place_of(id).ok_or_else(|| self.no_queue(name))
    }
}
