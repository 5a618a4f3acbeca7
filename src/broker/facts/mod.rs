//! What must survive a restart of virtual hosts, exchanges, queues, bindings and users: one fact
//! each, under a key.
//!
//! In the order of their keys, everything comes after what it stands on: a virtual host, its
//! exchanges and queues, its bindings. The octets are drawn in `docs/storage-format.md`.

mod access;
mod fault;
mod key;
mod mark;
mod node;
mod policy;
mod rebuilt;
#[cfg(test)]
pub(super) mod tests;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

pub use self::fault::BadFact;
use self::fault::Fault;
pub(super) use self::{key::Key, mark::Mark, rebuilt::Rebuilt};
use super::{
    access::{Permission, TopicPermission, User},
    policy::{Policy, PolicyKind},
    ports::Journal,
    routing::{Binding, ExchangeKind, Plan},
    topology::{self, ExchangeRecord, QueueRecord},
};
use crate::model::{
    Batch, ConnectionId, ExchangeName, ExchangeOptions, FieldTable, FieldValue, LogPosition,
    NodeNumber, NodeRecord, Placement, QueueId, QueueName, QueueOptions, ShortString,
    VirtualHostName, VirtualHostOptions,
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
    /// How far the nodes have agreed. Only in a cluster.
    Mark(Mark, u64),
    /// A node of the cluster, or one that was.
    Node(NodeNumber, NodeRecord),
}

/// The first octet of every value.
const VERSION: u8 = 1;

/// The name of what a table of one pair holds.
const VALUE: &str = "value";

const AUTO_DELETE: u8 = 1;
const INTERNAL: u8 = 2;
const ANNEXED: u8 = 4;
/// Not durable: written in a cluster only, where every node must know it.
const TRANSIENT: u8 = 8;
/// Exclusive to a connection.
const OWNED: u8 = 16;
/// It lives on a node of a cluster.
const PLACED: u8 = 32;

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
            Self::Mark(mark, _) => Key::Mark(mark.clone()),
            Self::Node(number, _) => Key::Node(*number),
        }
    }

    pub(super) fn value(&self) -> Vec<u8> {
        let mut value = vec![VERSION];
        match self {
            Self::Binding(..) => {}
            Self::VirtualHost(_, options) => access::put_options(&mut value, options),
            Self::Exchange(_, exchange) => {
                put_octets(&mut value, exchange.kind.as_str().as_bytes());
                let internal = if exchange.internal { INTERNAL } else { 0 };
                let annexed = if exchange.annexes.is_empty() { 0 } else { ANNEXED };
                let transient = if exchange.durable { 0 } else { TRANSIENT };
                value.push(auto_delete(exchange.auto_delete) | internal | annexed | transient);
                if annexed != 0 {
                    put_varint(&mut value, exchange.annexes.len() as u64);
                    exchange.annexes.iter().for_each(|annex| put_varint(&mut value, annex.0));
                }
                put_table(&mut value, &exchange.arguments);
            }
            Self::Queue(_, queue) => {
                put_varint(&mut value, queue.id.0);
                put_queue(&mut value, queue);
                put_table(&mut value, &queue.arguments);
            }
            Self::Mark(_, number) => put_varint(&mut value, *number),
            Self::Node(_, node) => node::put(&mut value, node),
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

/// The flags, and what they announce.
fn put_queue(value: &mut Vec<u8>, queue: &QueueRecord) {
    let is_placed = queue.placement != Placement::default();
    let transient = if queue.durable { 0 } else { TRANSIENT };
    let owned = if queue.owner.is_some() { OWNED } else { 0 };
    let placed = if is_placed { PLACED } else { 0 };
    value.push(auto_delete(queue.auto_delete) | transient | owned | placed);
    if let Some(owner) = queue.owner {
        put_varint(value, owner.0);
    }
    if is_placed {
        put_placement(value, &queue.placement);
    }
}

pub(super) fn put_placement(octets: &mut Vec<u8>, placement: &Placement) {
    let Placement { home, replicas, generation, moving } = placement;
    put_varint(octets, home.0.into());
    put_varint(octets, replicas.len() as u64);
    replicas.iter().for_each(|replica| put_varint(octets, *replica));
    put_varint(octets, generation << 1 | u64::from(*moving));
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
        Key::Mark(mark) => {
            let mut reader = Reader::new(&rest);
            let number = reader.varint().ok_or(Fault::Meaningless)?;
            nothing(&Bytes::copy_from_slice(reader.rest()))?;
            mark.check(number).ok_or(Fault::Meaningless)?;
            Ok(Fact::Mark(mark, number))
        }
        Key::Node(number) => {
            let node = node::read(&rest).ok_or(Fault::Meaningless)?;
            Ok(Fact::Node(number, node))
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
    let flags = read_flags(&mut reader, AUTO_DELETE | INTERNAL | ANNEXED | TRANSIENT)?;
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
        durable: flags & TRANSIENT == 0,
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
    let flags = read_flags(&mut reader, AUTO_DELETE | TRANSIENT | OWNED | PLACED)?;
    let durable = flags & TRANSIENT == 0;
    let owner = if flags & OWNED != 0 { Some(read_owner(&mut reader, durable)?) } else { None };
    let is_placed = flags & PLACED != 0;
    let placement = match is_placed {
        true => read_placement(&mut reader).ok_or(Fault::Meaningless)?,
        false => Placement::default(),
    };
    let arguments = read_table(value, reader)?;
    let resource = topology::queue_resource(home, &name);
    let options = QueueOptions::parse(&resource, &arguments).map_err(Fault::Refused)?;
    Ok(QueueRecord {
        id,
        name,
        durable,
        auto_delete: flags & AUTO_DELETE != 0,
        owner,
        arguments,
        options,
        annex: None,
        placement,
    })
}

fn read_owner(reader: &mut Reader<'_>, durable: bool) -> Result<ConnectionId, Fault> {
    let owner = reader.varint().filter(|_| !durable).ok_or(Fault::Meaningless)?;
    Ok(ConnectionId(owner))
}

/// What [`put_placement`] wrote; `None` when nothing of ours did.
pub(super) fn read_placement(reader: &mut Reader<'_>) -> Option<Placement> {
    let home = NodeNumber(u32::try_from(reader.varint()?).ok()?);
    let count = reader.varint()?;
    let replicas = (0..count).map(|_| reader.varint()).collect::<Option<_>>()?;
    let changes = reader.varint()?;
    Some(Placement { home, replicas, generation: changes >> 1, moving: changes & 1 == 1 })
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
