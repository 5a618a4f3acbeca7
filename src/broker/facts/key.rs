//! What a fact is about, and where it stands among the others.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use super::{
    mark::{MARK, Mark},
    put_table,
};
use crate::{
    broker::{
        policy::PolicyKind,
        routing::{Binding, Destination},
    },
    model::{
        Batch, ExchangeName, FieldTable, NodeNumber, QueueName, RoutingKey, ShortString,
        VirtualHostName,
        compact::{Reader, put_octets, put_varint},
    },
};

/// Names a fact. A binding is all name.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::broker) enum Key {
    VirtualHost(VirtualHostName),
    Exchange(VirtualHostName, ExchangeName),
    Queue(VirtualHostName, QueueName),
    Binding(VirtualHostName, Arc<Binding>),
    User(ShortString),
    Permission(ShortString, VirtualHostName),
    TopicPermission(ShortString, VirtualHostName, ExchangeName),
    GlobalParameter(ShortString),
    Policy(VirtualHostName, PolicyKind, ShortString),
    Mark(Mark),
    Node(NodeNumber),
}

const VIRTUAL_HOST: u8 = 1;
const EXCHANGE: u8 = 2;
const QUEUE: u8 = 3;
const BINDING: u8 = 4;
const USER: u8 = 5;
const PERMISSION: u8 = 6;
const TOPIC_PERMISSION: u8 = 7;
const GLOBAL_PARAMETER: u8 = 8;
const POLICY: u8 = 9;
const OPERATOR_POLICY: u8 = 10;
const NODE: u8 = 12;

const TO_QUEUE: u8 = 1;
const TO_EXCHANGE: u8 = 2;

impl Key {
    /// Writes that the fact holds no longer.
    pub(in crate::broker) fn delete(&self, batch: &mut Batch) {
        batch.delete(&self.octets());
    }

    pub(in crate::broker) fn octets(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        match self {
            Self::VirtualHost(name) => put_parts(&mut octets, VIRTUAL_HOST, [name]),
            Self::Exchange(home, name) => put_parts(&mut octets, EXCHANGE, [home, name]),
            Self::Queue(home, name) => put_parts(&mut octets, QUEUE, [home, name]),
            Self::User(name) => put_parts(&mut octets, USER, [name]),
            Self::Permission(user, home) => put_parts(&mut octets, PERMISSION, [user, home]),
            Self::TopicPermission(user, home, exchange) => {
                put_parts(&mut octets, TOPIC_PERMISSION, [user, home, exchange]);
            }
            Self::GlobalParameter(name) => put_parts(&mut octets, GLOBAL_PARAMETER, [name]),
            Self::Policy(home, PolicyKind::User, name) => {
                put_parts(&mut octets, POLICY, [home, name]);
            }
            Self::Policy(home, PolicyKind::Operator, name) => {
                put_parts(&mut octets, OPERATOR_POLICY, [home, name]);
            }
            Self::Mark(mark) => mark.put(&mut octets),
            Self::Node(node) => {
                octets.push(NODE);
                put_varint(&mut octets, node.0.into());
            }
            Self::Binding(home, binding) => {
                put_parts(&mut octets, BINDING, [home, &binding.source]);
                let (kind, destination): (_, &ShortString) = match &binding.destination {
                    Destination::Queue(name) => (TO_QUEUE, name),
                    Destination::Exchange(name) => (TO_EXCHANGE, name),
                };
                put_parts(&mut octets, kind, [destination, &binding.routing_key]);
                put_table(&mut octets, binding.arguments.table());
            }
        }
        octets
    }

    /// Reads a key; `None` when the octets are none.
    pub(in crate::broker) fn read(octets: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(octets);
        let key = match reader.u8()? {
            VIRTUAL_HOST => Self::VirtualHost(name(&mut reader)?),
            EXCHANGE => Self::Exchange(name(&mut reader)?, name(&mut reader)?),
            QUEUE => Self::Queue(name(&mut reader)?, name(&mut reader)?),
            USER => Self::User(name(&mut reader)?),
            PERMISSION => Self::Permission(name(&mut reader)?, name(&mut reader)?),
            TOPIC_PERMISSION => {
                let (user, home) = (name(&mut reader)?, name(&mut reader)?);
                Self::TopicPermission(user, home, name(&mut reader)?)
            }
            GLOBAL_PARAMETER => Self::GlobalParameter(name(&mut reader)?),
            POLICY => Self::Policy(name(&mut reader)?, PolicyKind::User, name(&mut reader)?),
            OPERATOR_POLICY => {
                Self::Policy(name(&mut reader)?, PolicyKind::Operator, name(&mut reader)?)
            }
            MARK => Self::Mark(Mark::read(&mut reader)?),
            NODE => Self::Node(NodeNumber(u32::try_from(reader.varint()?).ok()?)),
            BINDING => {
                let home = name(&mut reader)?;
                let source = name(&mut reader)?;
                let destination = match reader.u8()? {
                    TO_QUEUE => Destination::Queue(name(&mut reader)?),
                    TO_EXCHANGE => Destination::Exchange(name(&mut reader)?),
                    _ => return None,
                };
                let routing_key: RoutingKey = name(&mut reader)?;
                let arguments = FieldTable::decode(&own(reader.rest())).ok()?;
                let binding = Binding::new(&source, &destination, &routing_key, &arguments);
                return Some(Self::Binding(home, Arc::new(binding)));
            }
            _ => return None,
        };
        reader.is_empty().then_some(key)
    }
}

/// In words, for whoever must find out what is wrong with it.
impl fmt::Display for Key {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VirtualHost(name) => write!(to, "vhost '{name}'"),
            Self::Exchange(home, name) => write!(to, "exchange '{name}' in vhost '{home}'"),
            Self::Queue(home, name) => write!(to, "queue '{name}' in vhost '{home}'"),
            Self::User(name) => write!(to, "user '{name}'"),
            Self::Permission(user, home) => {
                write!(to, "permission of user '{user}' in vhost '{home}'")
            }
            Self::TopicPermission(user, home, exchange) => {
                write!(to, "topic permission of user '{user}' for exchange '{exchange}' ")?;
                write!(to, "in vhost '{home}'")
            }
            Self::GlobalParameter(name) => write!(to, "global parameter '{name}'"),
            Self::Policy(home, PolicyKind::User, name) => {
                write!(to, "policy '{name}' in vhost '{home}'")
            }
            Self::Policy(home, PolicyKind::Operator, name) => {
                write!(to, "operator policy '{name}' in vhost '{home}'")
            }
            Self::Node(node) => write!(to, "node {node} of the cluster"),
            Self::Mark(Mark::Index) => write!(to, "index of the last command"),
            Self::Mark(Mark::Registry) => write!(to, "index of the last change of the registry"),
            Self::Mark(Mark::Home(name)) => {
                write!(to, "index of the last change in vhost '{name}'")
            }
            Self::Mark(Mark::Numbers(node)) => write!(to, "last number of a queue of node {node}"),
            Self::Binding(home, binding) => {
                let Binding { source, destination, routing_key, .. } = &**binding;
                let (kind, destination): (_, &ShortString) = match destination {
                    Destination::Queue(name) => ("queue", name),
                    Destination::Exchange(name) => ("exchange", name),
                };
                write!(to, "binding from exchange '{source}' to {kind} '{destination}' ")?;
                write!(to, "with routing key '{routing_key}' in vhost '{home}'")
            }
        }
    }
}

fn put_parts<const N: usize>(octets: &mut Vec<u8>, kind: u8, parts: [&ShortString; N]) {
    octets.push(kind);
    parts.iter().for_each(|part| put_octets(octets, part));
}

fn name<Name: From<ShortString>>(reader: &mut Reader<'_>) -> Option<Name> {
    ShortString::new(own(reader.octets()?)).ok().map(Name::from)
}

/// A copy, so that a small fact does not keep the file in memory that it was read from.
pub(super) fn own(octets: &[u8]) -> Bytes {
    Bytes::copy_from_slice(octets)
}
