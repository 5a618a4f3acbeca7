//! What must survive a restart of virtual hosts, exchanges, queues, bindings and users: one fact
//! each, under a key.
//!
//! In the order of their keys, everything comes after what it stands on: a virtual host, its
//! exchanges and queues, its bindings. The octets are drawn in `docs/storage-format.md`.

mod fault;
mod key;
mod rebuilt;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

pub use self::fault::BadFact;
use self::fault::Fault;
pub(super) use self::{key::Key, rebuilt::Rebuilt};
use super::{
    access::{PasswordHash, User},
    ports::Journal,
    routing::{Binding, ExchangeKind, Plan},
    topology::{self, ExchangeRecord, QueueRecord},
};
use crate::model::{
    Batch, ExchangeName, ExchangeOptions, FieldTable, LogPosition, QueueId, QueueName,
    QueueOptions, ShortString, VirtualHostName,
    compact::{Reader, put_octets, put_varint},
    octets::{Field, Writer},
};

/// One thing that is there until it is replaced or deleted.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fact {
    VirtualHost(VirtualHostName),
    Exchange(VirtualHostName, Arc<ExchangeRecord>),
    Queue(VirtualHostName, Arc<QueueRecord>),
    Binding(VirtualHostName, Arc<Binding>),
    User(ShortString, User),
}

/// The first octet of every value.
const VERSION: u8 = 1;

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
            Self::VirtualHost(name) => Key::VirtualHost(name.clone()),
            Self::Exchange(home, exchange) => Key::Exchange(home.clone(), exchange.name.clone()),
            Self::Queue(home, queue) => Key::Queue(home.clone(), queue.name.clone()),
            Self::Binding(home, binding) => Key::Binding(home.clone(), Arc::clone(binding)),
            Self::User(name, _) => Key::User(name.clone()),
        }
    }

    fn value(&self) -> Vec<u8> {
        let mut value = vec![VERSION];
        match self {
            Self::VirtualHost(_) | Self::Binding(..) => {}
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
            Self::User(_, user) => {
                put_octets(&mut value, user.password().octets());
                put_varint(&mut value, user.tags().len() as u64);
                user.tags().iter().for_each(|tag| put_octets(&mut value, tag));
            }
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

fn read_value(key: Key, value: &Bytes) -> Result<Fact, Fault> {
    let mut reader = Reader::new(value);
    match reader.u8().ok_or(Fault::Meaningless)? {
        VERSION => {}
        other => return Err(Fault::Version(other)),
    }
    let rest = value.slice_ref(reader.rest());
    match key {
        Key::VirtualHost(name) => nothing(&rest).map(|()| Fact::VirtualHost(name)),
        Key::Binding(home, binding) => nothing(&rest).map(|()| Fact::Binding(home, binding)),
        Key::Exchange(home, name) => {
            let exchange = read_exchange(&home, name, &rest)?;
            Ok(Fact::Exchange(home, Arc::new(exchange)))
        }
        Key::Queue(home, name) => {
            let queue = read_queue(&home, name, &rest)?;
            Ok(Fact::Queue(home, Arc::new(queue)))
        }
        Key::User(name) => {
            let user = read_user(&rest).ok_or(Fault::Meaningless)?;
            Ok(Fact::User(name, user))
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

fn read_user(value: &[u8]) -> Option<User> {
    let mut reader = Reader::new(value);
    let password = PasswordHash::from_octets(reader.octets()?.try_into().ok()?);
    let tags = (0..reader.varint()?).map(|_| ShortString::new(key::own(reader.octets()?)).ok());
    let tags = tags.collect::<Option<_>>()?;
    reader.is_empty().then(|| User::with_hash(password, tags))
}

fn read_flags(reader: &mut Reader<'_>, known: u8) -> Result<u8, Fault> {
    reader.u8().filter(|flags| flags & !known == 0).ok_or(Fault::Meaningless)
}

/// The table that fills the rest of a value, with memory of its own.
fn read_table(value: &Bytes, reader: Reader<'_>) -> Result<FieldTable, Fault> {
    let pairs = value.slice_ref(reader.rest());
    FieldTable::decode(&pairs).map(|table| table.detached()).map_err(Fault::Arguments)
}
