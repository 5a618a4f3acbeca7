//! What a node tells the others of itself with its heartbeats: for operators, who ask any node.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    admin::{Listening, Readings, Vitals},
    model::compact::{Reader, put_octets, put_varint},
};

/// Names of protocols, as listeners have them.
const PROTOCOLS: [&str; 3] = ["amqp", "amqp/ssl", "http"];

pub(super) fn octets(vitals: &Vitals) -> Bytes {
    let mut octets = Vec::new();
    let Vitals { product, version, uptime, process, sockets, readings, .. } = vitals;
    put_octets(&mut octets, product.as_bytes());
    put_octets(&mut octets, version.as_bytes());
    let uptime = u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX);
    let flags = [readings.memory_alarm, readings.disk_alarm, vitals.is_in_maintenance];
    let flags = (0..).zip(flags).fold(0, |sum, (bit, flag)| sum | u64::from(flag) << bit);
    for number in [uptime, (*process).into(), *sockets, flags] {
        put_varint(&mut octets, number);
    }
    for reading in measured(readings) {
        put_varint(&mut octets, reading.map_or(0, |value| value.saturating_add(1)));
    }
    for Listening { protocol, address } in &vitals.listeners {
        put_octets(&mut octets, protocol.as_bytes());
        put_octets(&mut octets, address.to_string().as_bytes());
    }
    octets.into()
}

/// Reads them; what a later version may add in front of the listeners makes them unreadable.
pub(super) fn read(octets: &[u8]) -> Option<Vitals> {
    let mut reader = Reader::new(octets);
    let (product, version) = (text(&mut reader)?, text(&mut reader)?);
    let uptime = Duration::from_millis(reader.varint()?);
    let process = u32::try_from(reader.varint()?).ok()?;
    let (sockets, flags) = (reader.varint()?, reader.varint()?);
    let mut reading = || Some(reader.varint()?.checked_sub(1));
    let readings = Readings {
        memory_used: reading()?,
        memory_limit: reading()?,
        disk_free: reading()?,
        disk_free_limit: reading()?,
        files_open: reading()?,
        files_limit: reading()?,
        memory_alarm: flags & 1 != 0,
        disk_alarm: flags & 2 != 0,
    };
    let mut listeners = Vec::new();
    while !reader.is_empty() {
        let (protocol, address) = (text(&mut reader)?, text(&mut reader)?);
        if let Some(protocol) = PROTOCOLS.iter().find(|known| **known == protocol) {
            listeners.push(Listening { protocol, address: address.parse().ok()? });
        }
    }
    let is_in_maintenance = flags & 4 != 0;
    Some(Vitals {
        product,
        version,
        uptime,
        process,
        sockets,
        readings,
        listeners,
        is_in_maintenance,
    })
}

fn measured(readings: &Readings) -> [Option<u64>; 6] {
    let Readings { memory_used, memory_limit, disk_free, disk_free_limit, .. } = *readings;
    let Readings { files_open, files_limit, .. } = *readings;
    [memory_used, memory_limit, disk_free, disk_free_limit, files_open, files_limit]
}

fn text(reader: &mut Reader<'_>) -> Option<String> {
    Some(str::from_utf8(reader.octets()?).ok()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vitals_arrive() {
        let readings = Readings { memory_used: Some(7), disk_alarm: true, ..Readings::default() };
        let address = "[::1]:5671".parse().unwrap();
        let vitals = Vitals {
            product: "RabbitMQ".to_owned(),
            version: "4.2.0".to_owned(),
            uptime: Duration::from_millis(1234),
            process: 99,
            sockets: 3,
            readings,
            listeners: vec![Listening { protocol: "amqp/ssl", address }],
            is_in_maintenance: true,
        };
        let octets = octets(&vitals);
        let read = read(&octets).unwrap();
        assert_eq!(format!("{read:?}"), format!("{vitals:?}"));
        for cut in 0..octets.len() {
            drop(super::read(&octets[..cut]));
        }
    }
}
