//! What must survive a restart of virtual hosts, exchanges, queues, bindings and users: one fact
//! each, under a key.
//!
//! In the order of their keys, everything comes after what it stands on: a virtual host, its
//! exchanges and queues, its bindings. The octets are drawn in `docs/storage-format.md`.

mod access;
mod fault;
mod key;
mod policy;
mod rebuilt;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

pub use self::fault::BadFact;
use self::fault::Fault;
pub(super) use self::{key::Key, rebuilt::Rebuilt};
use super::{
    access::{Permission, TopicPermission, User},
    policy::{Policy, PolicyKind},
    ports::Journal,
    routing::{Binding, ExchangeKind, Plan},
    topology::{self, ExchangeRecord, QueueRecord},
};
use crate::model::{
    Batch, ExchangeName, ExchangeOptions, FieldTable, FieldValue, LogPosition, Placement, QueueId,
    QueueName, QueueOptions, ShortString, VirtualHostName, VirtualHostOptions,
    compact::{Reader, put_octets, put_varint},
    octets::{Field, Writer},
};

/// One thing that is there until it is replaced or deleted.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fact {
    VirtualHost(VirtualHostName, Arc<VirtualHostOptions>),
    Exchange(VirtualHostName, Arc<ExchangeRecord>),
    Queue(VirtualHostName, Arc<QueueRecord>),
    Binding(VirtualHostName, Arc<Binding>),
    User(ShortString, User),
    Permission(ShortString, VirtualHostName, Permission),
    TopicPermission(ShortString, VirtualHostName, ExchangeName, TopicPermission),
    /// Something that tools keep here for the whole cluster.
    GlobalParameter(ShortString, FieldValue),
    Policy(VirtualHostName, PolicyKind, Arc<Policy>),
}

/// The first octet of every value.
const VERSION: u8 = 1;

/// The name of what a table of one pair holds.
const VALUE: &str = "value";

const AUTO_DELETE: u8 = 1;
const INTERNAL: u8 = 2;
const ANNEXED: u8 = 4;

/// Appends what was gathered, if there is a journal and anything to append.
pub(super) fn append(journal: Option<&dyn Journal>, batch: &mut Batch) -> LogPosition {
    match journal {
        Some(journal) if !batch.is_empty() => journal.append(batch),
        _ => LogPosition::default(),
    }
}

impl Fact {
    /// Writes the fact, in place of the one under its key.
    pub(super) fn put(&self, batch: &mut Batch) {
        batch.put(&self.key().octets(), &self.value());
    }

    /// Reads a fact. Never panics, whatever the octets.
    pub(super) fn read(key: &[u8], value: &Bytes) -> Result<Self, BadFact> {
        let unreadable = || BadFact::unreadable(key);
        let named = Key::read(key).ok_or_else(unreadable)?;
        let fact = read_value(named.clone(), value).map_err(|fault| BadFact::new(&named, fault))?;
        // What is written otherwise than it is here would never be deleted.
        if *fact.key().octets() == *key { Ok(fact) } else { Err(unreadable()) }
    }

    pub(super) fn key(&self) -> Key {
        match self {
            Self::VirtualHost(name, _) => Key::VirtualHost(name.clone()),
            Self::Exchange(home, exchange) => Key::Exchange(home.clone(), exchange.name.clone()),
            Self::Queue(home, queue) => Key::Queue(home.clone(), queue.name.clone()),
            Self::Binding(home, binding) => Key::Binding(home.clone(), Arc::clone(binding)),
            Self::User(name, _) => Key::User(name.clone()),
            Self::Permission(user, home, _) => Key::Permission(user.clone(), home.clone()),
            Self::TopicPermission(user, home, exchange, _) => {
                Key::TopicPermission(user.clone(), home.clone(), exchange.clone())
            }
            Self::GlobalParameter(name, _) => Key::GlobalParameter(name.clone()),
            Self::Policy(home, kind, policy) => {
                Key::Policy(home.clone(), *kind, policy.name.clone())
            }
        }
    }

    fn value(&self) -> Vec<u8> {
        let mut value = vec![VERSION];
        match self {
            Self::Binding(..) => {}
            Self::VirtualHost(_, options) => access::put_options(&mut value, options),
            Self::Exchange(_, exchange) => {
                put_octets(&mut value, exchange.kind.as_str().as_bytes());
                let internal = if exchange.internal { INTERNAL } else { 0 };
                let annexed = if exchange.annexes.is_empty() { 0 } else { ANNEXED };
                value.push(auto_delete(exchange.auto_delete) | internal | annexed);
                if annexed != 0 {
                    put_varint(&mut value, exchange.annexes.len() as u64);
                    exchange.annexes.iter().for_each(|annex| put_varint(&mut value, annex.0));
                }
                put_table(&mut value, &exchange.arguments);
            }
            Self::Queue(_, queue) => {
                put_varint(&mut value, queue.id.0);
                value.push(auto_delete(queue.auto_delete));
                put_table(&mut value, &queue.arguments);
            }
            Self::User(_, user) => access::put_user(&mut value, user),
            Self::Permission(.., permission) => access::put_permission(&mut value, permission),
            Self::TopicPermission(.., held) => access::put_topic_permission(&mut value, held),
            Self::GlobalParameter(_, parameter) => put_value(&mut value, parameter),
            Self::Policy(.., policy) => policy::put(&mut value, policy),
        }
        value
    }
}

fn auto_delete(flag: bool) -> u8 {
    if flag { AUTO_DELETE } else { 0 }
}

/// Appends a table's pairs in their AMQP encoding, without the length before them.
fn put_table(octets: &mut Vec<u8>, table: &FieldTable) {
    let mut encoded = BytesMut::new();
    table.write(&mut Writer::new(&mut encoded));
    octets.extend_from_slice(&encoded[4..]);
}

/// Appends a value as a table of one pair.
fn put_value(octets: &mut Vec<u8>, value: &FieldValue) {
    let name = ShortString::from_static(VALUE);
    put_table(octets, &FieldTable::from_pairs([(name, value.clone())]));
}

fn read_value(key: Key, value: &Bytes) -> Result<Fact, Fault> {
    let mut reader = Reader::new(value);
    match reader.u8().ok_or(Fault::Meaningless)? {
        VERSION => {}
        other => return Err(Fault::Version(other)),
    }
    let rest = value.slice_ref(reader.rest());
    match key {
        Key::VirtualHost(name) => {
            let options = access::read_options(&rest).ok_or(Fault::Meaningless)?;
            Ok(Fact::VirtualHost(name, Arc::new(options)))
        }
        Key::Binding(home, binding) => nothing(&rest).map(|()| Fact::Binding(home, binding)),
        Key::Exchange(home, name) => {
            let exchange = read_exchange(&home, name, &rest)?;
            Ok(Fact::Exchange(home, Arc::new(exchange)))
        }
        Key::Queue(home, name) => {
            let queue = read_queue(&home, name, &rest)?;
            Ok(Fact::Queue(home, Arc::new(queue)))
        }
        Key::Policy(home, kind, name) => {
            let policy = policy::read(kind, name, &rest)?;
            Ok(Fact::Policy(home, kind, Arc::new(policy)))
        }
        Key::User(name) => {
            let user = access::read_user(&rest).ok_or(Fault::Meaningless)?;
            Ok(Fact::User(name, user))
        }
        Key::Permission(user, home) => {
            let permission = access::read_permission(&rest).ok_or(Fault::Meaningless)?;
            Ok(Fact::Permission(user, home, permission))
        }
        Key::TopicPermission(user, home, exchange) => {
            let held = access::read_topic_permission(&user, &home, &rest);
            Ok(Fact::TopicPermission(user, home, exchange, held.ok_or(Fault::Meaningless)?))
        }
        Key::GlobalParameter(name) => {
            let table = read_table(value, Reader::new(&rest))?;
            let parameter = table.lookup(VALUE).ok_or(Fault::Meaningless)?.clone();
            Ok(Fact::GlobalParameter(name, parameter))
        }
    }
}

fn nothing(rest: &Bytes) -> Result<(), Fault> {
    if rest.is_empty() { Ok(()) } else { Err(Fault::Meaningless) }
}

fn read_exchange(
    home: &VirtualHostName,
    name: ExchangeName,
    value: &Bytes,
) -> Result<ExchangeRecord, Fault> {
    let mut reader = Reader::new(value);
    let kind = reader.octets().ok_or(Fault::Meaningless)?;
    let kind = ExchangeKind::parse(kind).ok_or(Fault::Meaningless)?;
    let flags = read_flags(&mut reader, AUTO_DELETE | INTERNAL | ANNEXED)?;
    let annexes = if flags & ANNEXED != 0 { read_annexes(&mut reader)? } else { Vec::new() };
    let arguments = read_table(value, reader)?;
    let resource = topology::exchange_resource(home, &name);
    let options = ExchangeOptions::parse(&resource, &arguments).map_err(Fault::Refused)?;
    let plan = Plan::parse(&resource, kind, &arguments).map_err(Fault::Refused)?;
    if plan.annexes().len() != annexes.len() {
        return Err(Fault::Meaningless);
    }
    Ok(ExchangeRecord {
        name,
        kind,
        durable: true,
        auto_delete: flags & AUTO_DELETE != 0,
        internal: flags & INTERNAL != 0,
        arguments,
        options,
        plan,
        annexes,
    })
}

fn read_queue(
    home: &VirtualHostName,
    name: QueueName,
    value: &Bytes,
) -> Result<QueueRecord, Fault> {
    let mut reader = Reader::new(value);
    let id = read_number(&mut reader)?;
    let flags = read_flags(&mut reader, AUTO_DELETE)?;
    let arguments = read_table(value, reader)?;
    let resource = topology::queue_resource(home, &name);
    let options = QueueOptions::parse(&resource, &arguments).map_err(Fault::Refused)?;
    Ok(QueueRecord {
        id,
        name,
        durable: true,
        auto_delete: flags & AUTO_DELETE != 0,
        owner: None,
        arguments,
        options,
        annex: None,
        placement: Placement::default(),
    })
}

/// More than two are never asked for.
fn read_annexes(reader: &mut Reader<'_>) -> Result<Vec<QueueId>, Fault> {
    let count = reader.varint().filter(|count| (1..=2).contains(count));
    (0..count.ok_or(Fault::Meaningless)?).map(|_| read_number(reader)).collect()
}

fn read_number(reader: &mut Reader<'_>) -> Result<QueueId, Fault> {
    let id = QueueId(reader.varint().ok_or(Fault::Meaningless)?);
    if id == QueueId(0) || id == id.spilled() {
        return Err(Fault::NoQueueHasNumber(id));
    }
    Ok(id)
}

fn read_flags(reader: &mut Reader<'_>, known: u8) -> Result<u8, Fault> {
    reader.u8().filter(|flags| flags & !known == 0).ok_or(Fault::Meaningless)
}

/// The table that fills the rest of a value, with memory of its own.
fn read_table(value: &Bytes, reader: Reader<'_>) -> Result<FieldTable, Fault> {
    let pairs = value.slice_ref(reader.rest());
    FieldTable::decode(&pairs).map(|table| table.detached()).map_err(Fault::Arguments)
}
