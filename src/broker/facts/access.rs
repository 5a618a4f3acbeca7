//! The octets of what is said of users, their permissions, and virtual hosts.

use super::key::own;
use crate::{
    broker::access::{Hashing, PasswordHash, Permission, TopicPermission, User},
    model::{
        Limit, Limits, QueueKind, ShortString, VirtualHostName, VirtualHostOptions,
        compact::{Reader, put_octets, put_varint},
    },
};

const SHA_256: u8 = 1;
const SHA_512: u8 = 2;
const MD5: u8 = 3;

const CLASSIC: u8 = 1;
const QUORUM: u8 = 2;

pub(super) fn put_user(octets: &mut Vec<u8>, user: &User) {
    put_octets(octets, user.password.as_ref().map_or(&[], PasswordHash::octets));
    put_strings(octets, &user.tags);
    let hashing = user.password.as_ref().map(PasswordHash::hashing).unwrap_or_default();
    octets.push(match hashing {
        Hashing::Sha256 => SHA_256,
        Hashing::Sha512 => SHA_512,
        Hashing::Md5 => MD5,
    });
    put_limits(octets, &user.limits);
}

pub(super) fn read_user(value: &[u8]) -> Option<User> {
    let mut reader = Reader::new(value);
    let hash = reader.octets()?;
    let tags = strings(&mut reader)?;
    let hashing = match reader.u8()? {
        SHA_256 => Hashing::Sha256,
        SHA_512 => Hashing::Sha512,
        MD5 => Hashing::Md5,
        _ => return None,
    };
    let limits = limits(&mut reader)?;
    let password = (!hash.is_empty()).then(|| PasswordHash::from_octets(hashing, hash));
    reader.is_empty().then_some(User { password, tags, limits })
}

pub(super) fn put_options(octets: &mut Vec<u8>, options: &VirtualHostOptions) {
    put_octets(octets, options.description.as_bytes());
    put_strings(octets, &options.tags);
    octets.push(match options.default_queue_type {
        None => 0,
        Some(QueueKind::Classic) => CLASSIC,
        Some(QueueKind::Quorum) => QUORUM,
    });
    octets.push(options.tracing.into());
    put_limits(octets, &options.limits);
}

pub(super) fn read_options(value: &[u8]) -> Option<VirtualHostOptions> {
    let mut reader = Reader::new(value);
    let description = text(&mut reader)?.to_owned();
    let tags = strings(&mut reader)?;
    let default_queue_type = match reader.u8()? {
        0 => None,
        CLASSIC => Some(QueueKind::Classic),
        QUORUM => Some(QueueKind::Quorum),
        _ => return None,
    };
    let tracing = match reader.u8()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let limits = limits(&mut reader)?;
    let options = VirtualHostOptions { description, tags, default_queue_type, tracing, limits };
    reader.is_empty().then_some(options)
}

pub(super) fn put_permission(octets: &mut Vec<u8>, permission: &Permission) {
    let Permission { configure, write, read } = permission;
    for pattern in [configure, write, read] {
        put_octets(octets, pattern.as_str().as_bytes());
    }
}

pub(super) fn read_permission(value: &[u8]) -> Option<Permission> {
    let mut reader = Reader::new(value);
    let (configure, write, read) = (text(&mut reader)?, text(&mut reader)?, text(&mut reader)?);
    if !reader.is_empty() {
        return None;
    }
    Permission::new(configure, write, read).ok()
}

pub(super) fn put_topic_permission(octets: &mut Vec<u8>, permission: &TopicPermission) {
    put_octets(octets, permission.write().as_bytes());
    put_octets(octets, permission.read().as_bytes());
}

pub(super) fn read_topic_permission(
    user: &ShortString,
    home: &VirtualHostName,
    value: &[u8],
) -> Option<TopicPermission> {
    let mut reader = Reader::new(value);
    let (write, read) = (text(&mut reader)?, text(&mut reader)?);
    if !reader.is_empty() {
        return None;
    }
    TopicPermission::new(user, home, write, read).ok()
}

fn put_strings(octets: &mut Vec<u8>, strings: &[ShortString]) {
    put_varint(octets, strings.len() as u64);
    strings.iter().for_each(|string| put_octets(octets, string));
}

fn strings(reader: &mut Reader<'_>) -> Option<Vec<ShortString>> {
    (0..reader.varint()?).map(|_| ShortString::new(own(reader.octets()?)).ok()).collect()
}

/// A limit is written by its word, its value with the sign in the lowest bit.
fn put_limits(octets: &mut Vec<u8>, limits: &Limits) {
    put_varint(octets, limits.iter().len() as u64);
    for (limit, value) in limits.iter() {
        put_octets(octets, limit.as_str().as_bytes());
        put_varint(octets, ((value << 1) ^ (value >> 63)) as u64);
    }
}

fn limits(reader: &mut Reader<'_>) -> Option<Limits> {
    let count = reader.varint()?;
    let limit = |_| {
        let limit = Limit::parse(reader.octets()?)?;
        let value = reader.varint()?;
        Some((limit, (value >> 1) as i64 ^ -((value & 1) as i64)))
    };
    (0..count).map(limit).collect()
}

fn text<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
    str::from_utf8(reader.octets()?).ok()
}
