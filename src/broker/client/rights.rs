//! What one connection's user may do (RabbitMQ 4.x, access control).

use super::Client;
use crate::{
    broker::{
        access::as_permitted,
        routing::{Binding, Destination, ExchangeKind},
        topology::{self, ExchangeDeclaration, ExchangeRecord, QueueDeclaration, Topology},
    },
    model::{ExchangeName, FieldTable, LongString, Message, Refusal, Resource, Right, RoutingKey},
};

impl Client {
    /// Refuses what the user has no right to do with an exchange; the default exchange counts as
    /// `amq.default`.
    pub(super) fn may_with_exchange(&mut self, right: Right, name: &[u8]) -> Result<(), Refusal> {
        let resource = topology::exchange_resource(&self.home().name, name);
        self.may(right, as_permitted(resource))
    }

    /// Refuses what the user has no right to do with a queue.
    pub(super) fn may_with_queue(&mut self, right: Right, name: &[u8]) -> Result<(), Refusal> {
        let resource = topology::queue_resource(&self.home().name, name);
        self.may(right, resource)
    }

    /// Whether a new exchange may send what it cannot route to the exchange that it names for that.
    pub(super) fn may_have_alternate(
        &mut self,
        declaration: &ExchangeDeclaration,
    ) -> Result<(), Refusal> {
        match named(&declaration.arguments, "alternate-exchange") {
            None => Ok(()),
            Some(alternate) => {
                self.may_with_exchange(Right::Read, &declaration.name)?;
                self.may_with_exchange(Right::Write, &alternate)
            }
        }
    }

    /// Whether a new queue may send its dead letters to the exchange that it names for them.
    pub(super) fn may_have_dead_letters(
        &mut self,
        declaration: &QueueDeclaration,
    ) -> Result<(), Refusal> {
        match named(&declaration.arguments, "x-dead-letter-exchange") {
            None => Ok(()),
            Some(exchange) => {
                self.may_with_queue(Right::Read, &declaration.name)?;
                self.may_with_exchange(Right::Write, &exchange)
            }
        }
    }

    /// Whether the user may make, or undo, a binding; the default exchange has none.
    pub(super) fn may_bind(&mut self, binding: &Binding) -> Result<(), Refusal> {
        match &binding.destination {
            Destination::Queue(name) => self.may_with_queue(Right::Write, name)?,
            Destination::Exchange(name) => self.may_with_exchange(Right::Write, name)?,
        }
        Topology::check_bindable(binding)?;
        self.may_with_exchange(Right::Read, &binding.source)?;
        self.may_use_key(Right::Read, &binding.source, &binding.routing_key)
    }

    /// Whether the user may publish with the message's routing keys, if its exchange is a topic.
    pub(super) fn may_use_keys(
        &self,
        message: &Message,
        further_keys: &[LongString],
    ) -> Result<(), Refusal> {
        let exchange = message.exchange();
        self.may_use_key(Right::Write, exchange, message.routing_key())?;
        further_keys.iter().try_for_each(|key| self.may_use_key(Right::Write, exchange, key))
    }

    fn may_use_key(&self, right: Right, exchange: &[u8], key: &[u8]) -> Result<(), Refusal> {
        let home = self.home();
        let is_topic = home.topology().exchange(exchange).is_some_and(|record| is_topic(record));
        if !is_topic || self.is_unrestricted {
            return Ok(());
        }
        let resource = topology::exchange_resource(&home.name, exchange);
        if self.broker.authority.permits_key(&self.user, right, &resource, key) {
            return Ok(());
        }
        let key = RoutingKey::new(key[..key.len().min(255)].to_vec().into());
        Err(Refusal::TopicDenied {
            right,
            key: key.expect("cut to 255 octets"),
            exchange: resource,
            user: self.user.clone(),
        })
    }

    fn may(&mut self, right: Right, resource: Resource) -> Result<(), Refusal> {
        let Self { grants, broker, user, is_unrestricted, .. } = self;
        if *is_unrestricted {
            return Ok(());
        }
        grants.check(&*broker.authority, user, right, resource)
    }
}

fn is_topic(record: &ExchangeRecord) -> bool {
    record.kind == ExchangeKind::Topic
}

/// The exchange that an argument names; what is no text is refused when it is read.
fn named(arguments: &FieldTable, argument: &str) -> Option<ExchangeName> {
    let name = arguments.lookup(argument)?.as_text()?;
    ExchangeName::new(name.to_vec().into()).ok()
}
