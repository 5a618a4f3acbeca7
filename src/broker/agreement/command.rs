//! What is agreed on, as octets: facts, told by whom and on which state they were decided.
//!
//! The first octet is the version, 1, the second says what is changed:
//!
//! ```text
//! 1, string virtual host, varint seen, varint connection, entries
//! 2, varint seen, entries
//! ```
//!
//! *Seen* is the index of the last change that the decision took into account. An entry is a fact
//! that holds from now on (1, key, value), one that holds no longer (2, key), the end of a queue
//! (3, varint number), or its new placement (4, varint number, placement); keys and values stand
//! behind their lengths.

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use crate::{
    broker::{
        BadFact,
        facts::{self, Fact, Key},
        topology::Change,
    },
    model::{
        ConnectionId, QueueId, ShortString, VirtualHostName,
        compact::{Reader, put_octets, put_varint},
    },
};

/// Why octets that were agreed on cannot be read.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Unreadable {
    #[error("it is of version {0}, which is unknown")]
    Version(u8),
    #[error("its octets mean nothing")]
    Meaningless,
    #[error(transparent)]
    Fact(#[from] BadFact),
}

/// What a node has decided, and all are to apply.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Command {
    /// What is in a virtual host.
    Change { home: VirtualHostName, seen: u64, by: ConnectionId, changes: Vec<Change> },
    /// Users, permissions, global parameters, and which virtual hosts there are.
    Register { seen: u64, entries: Vec<Registration> },
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::broker) enum Registration {
    Put(Box<Fact>),
    Delete(Key),
}

pub(super) const VERSION: u8 = 1;

const CHANGE: u8 = 1;
const REGISTER: u8 = 2;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const QUEUE_DELETED: u8 = 3;
const QUEUE_PLACED: u8 = 4;

impl Command {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut octets = vec![VERSION];
        match self {
            Self::Change { home, seen, by, changes } => {
                octets.push(CHANGE);
                put_octets(&mut octets, home);
                put_varint(&mut octets, *seen);
                put_varint(&mut octets, by.0);
                changes.iter().for_each(|change| put_change(&mut octets, home, change));
            }
            Self::Register { seen, entries } => {
                octets.push(REGISTER);
                put_varint(&mut octets, *seen);
                for entry in entries {
                    match entry {
                        Registration::Put(fact) => put_fact(&mut octets, fact),
                        Registration::Delete(key) => put_key(&mut octets, key),
                    }
                }
            }
        }
        octets
    }

    /// Reads a command. Never panics, whatever the octets.
    pub(super) fn decode(octets: &[u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader::new(octets);
        match meant(reader.u8())? {
            VERSION => {}
            other => return Err(Unreadable::Version(other)),
        }
        match meant(reader.u8())? {
            CHANGE => {
                let home = ShortString::new(Bytes::copy_from_slice(meant(reader.octets())?));
                let home = VirtualHostName::from(meant(home.ok())?);
                let seen = meant(reader.varint())?;
                let by = ConnectionId(meant(reader.varint())?);
                let mut changes = Vec::new();
                while !reader.is_empty() {
                    changes.push(read_change(&mut reader, &home)?);
                }
                Ok(Self::Change { home, seen, by, changes })
            }
            REGISTER => {
                let seen = meant(reader.varint())?;
                let mut entries = Vec::new();
                while !reader.is_empty() {
                    entries.push(read_registration(&mut reader)?);
                }
                Ok(Self::Register { seen, entries })
            }
            _ => Err(Unreadable::Meaningless),
        }
    }
}

fn put_change(octets: &mut Vec<u8>, home: &VirtualHostName, change: &Change) {
    let home = || home.clone();
    match change {
        Change::ExchangeDeclared(it) => put_fact(octets, &Fact::Exchange(home(), Arc::clone(it))),
        Change::ExchangeDeleted(name) => put_key(octets, &Key::Exchange(home(), name.clone())),
        Change::QueueDeclared(it) => put_fact(octets, &Fact::Queue(home(), Arc::clone(it))),
        Change::QueueDeleted(id) => {
            octets.push(QUEUE_DELETED);
            put_varint(octets, id.0);
        }
        Change::QueuePlaced(id, placement) => {
            octets.push(QUEUE_PLACED);
            put_varint(octets, id.0);
            facts::put_placement(octets, placement);
        }
        Change::Bound(it) => put_fact(octets, &Fact::Binding(home(), Arc::clone(it))),
        Change::Unbound(it) => put_key(octets, &Key::Binding(home(), Arc::clone(it))),
        Change::Described(it) => put_fact(octets, &Fact::VirtualHost(home(), Arc::clone(it))),
        Change::PolicySet(kind, it) => {
            put_fact(octets, &Fact::Policy(home(), *kind, Arc::clone(it)));
        }
        Change::PolicyCleared(kind, name) => {
            put_key(octets, &Key::Policy(home(), *kind, name.clone()));
        }
    }
}

fn put_fact(octets: &mut Vec<u8>, fact: &Fact) {
    octets.push(PUT);
    put_octets(octets, &fact.key().octets());
    put_octets(octets, &fact.value());
}

fn put_key(octets: &mut Vec<u8>, key: &Key) {
    octets.push(DELETE);
    put_octets(octets, &key.octets());
}

fn read_change(reader: &mut Reader<'_>, home: &VirtualHostName) -> Result<Change, Unreadable> {
    let (of, change) = match meant(reader.u8())? {
        PUT => match read_fact(reader)? {
            Fact::Exchange(of, it) => (of, Change::ExchangeDeclared(it)),
            Fact::Queue(of, it) => (of, Change::QueueDeclared(it)),
            Fact::Binding(of, it) => (of, Change::Bound(it)),
            Fact::VirtualHost(of, it) => (of, Change::Described(it)),
            Fact::Policy(of, kind, it) => (of, Change::PolicySet(kind, it)),
            _ => return Err(Unreadable::Meaningless),
        },
        DELETE => match read_key(reader)? {
            Key::Exchange(of, name) => (of, Change::ExchangeDeleted(name)),
            Key::Binding(of, it) => (of, Change::Unbound(it)),
            Key::Policy(of, kind, name) => (of, Change::PolicyCleared(kind, name)),
            _ => return Err(Unreadable::Meaningless),
        },
        QUEUE_PLACED => {
            let id = QueueId(meant(reader.varint())?);
            return Ok(Change::QueuePlaced(id, meant(facts::read_placement(reader))?));
        }
        QUEUE_DELETED => return Ok(Change::QueueDeleted(QueueId(meant(reader.varint())?))),
        _ => return Err(Unreadable::Meaningless),
    };
    if of == *home { Ok(change) } else { Err(Unreadable::Meaningless) }
}

fn read_registration(reader: &mut Reader<'_>) -> Result<Registration, Unreadable> {
    let (registration, is_registered) = match meant(reader.u8())? {
        PUT => {
            let fact = read_fact(reader)?;
            let is_registered = is_registered(&fact.key());
            (Registration::Put(Box::new(fact)), is_registered)
        }
        DELETE => {
            let key = read_key(reader)?;
            let is_registered = is_registered(&key);
            (Registration::Delete(key), is_registered)
        }
        _ => return Err(Unreadable::Meaningless),
    };
    if is_registered { Ok(registration) } else { Err(Unreadable::Meaningless) }
}

fn is_registered(key: &Key) -> bool {
    match key {
        Key::VirtualHost(_)
        | Key::User(_)
        | Key::Permission(..)
        | Key::TopicPermission(..)
        | Key::GlobalParameter(_)
        | Key::Node(_) => true,
        Key::Exchange(..) | Key::Queue(..) | Key::Binding(..) => false,
        Key::Policy(..) | Key::Mark(_) => false,
    }
}

fn read_fact(reader: &mut Reader<'_>) -> Result<Fact, Unreadable> {
    let key = meant(reader.octets())?;
    let value = Bytes::copy_from_slice(meant(reader.octets())?);
    Ok(Fact::read(key, &value)?)
}

fn read_key(reader: &mut Reader<'_>) -> Result<Key, Unreadable> {
    let octets = meant(reader.octets())?;
    let key = meant(Key::read(octets))?;
    // What is written otherwise than it is here would never be found.
    if *key.octets() == *octets { Ok(key) } else { Err(Unreadable::Meaningless) }
}

pub(super) fn meant<T>(read: Option<T>) -> Result<T, Unreadable> {
    read.ok_or(Unreadable::Meaningless)
}
