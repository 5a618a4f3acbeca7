//! Each fuzz target on seeded input: well-formed octets, the same with faults, and noise.

use bytes::{BufMut, BytesMut};
use leveret::{
    model::octets::{Field, Writer},
    wire::{
        content,
        frame::{self, FrameKind},
        method::{BasicAck, BasicPublish, Method},
    },
};

use crate::{
    generate,
    random::{Random, seed},
    session, targets,
};

/// Enough to take a second or so without optimisation.
const ROUNDS: u64 = 20_000;

fn hold(target: fn(&[u8]), well_formed: fn(&mut Random) -> Vec<u8>) {
    let start = seed();
    for round in 0..ROUNDS {
        let mut random = Random::seeded(start.wrapping_add(round));
        let mut octets = match random.below(8) {
            0 => {
                let length = random.below(64);
                random.octets(length)
            }
            _ => well_formed(&mut random),
        };
        for _ in 0..random.below(4) {
            mutate(&mut octets, &mut random);
        }
        target(&octets);
    }
}

fn mutate(octets: &mut Vec<u8>, random: &mut Random) {
    if octets.is_empty() {
        return octets.push(random.next() as u8);
    }
    let at = random.below(octets.len());
    match random.below(6) {
        0 => octets[at] ^= 1 << random.below(8),
        1 => octets[at] = random.next() as u8,
        2 => octets[at] = b"tbBsuUIilLfdDSxAFTVZ\x00\xff"[random.below(22)],
        3 => octets.truncate(at),
        4 => octets.insert(at, random.next() as u8),
        _ => {
            let end = (at + random.below(16)).min(octets.len());
            let part = octets[at..end].to_vec();
            octets.extend(part);
        }
    }
}

fn some_method(random: &mut Random) -> Vec<u8> {
    let row = &Method::TABLE[random.below(Method::TABLE.len())];
    generate::method(row, random).to_vec()
}

fn some_publish(random: &mut Random) -> Vec<u8> {
    let row = Method::TABLE.iter().find(|row| row.name == "basic.publish").unwrap();
    generate::method(row, random).to_vec()
}

fn some_table(random: &mut Random) -> Vec<u8> {
    let mut out = BytesMut::new();
    generate::table(random, 3).write(&mut Writer::new(&mut out));
    out[4..].to_vec()
}

fn some_properties(random: &mut Random) -> Vec<u8> {
    generate::properties(random).to_bytes().to_vec()
}

fn some_frames(random: &mut Random) -> Vec<u8> {
    let mut out = BytesMut::new();
    for _ in 0..random.below(4) {
        let channel = random.below(3) as u16;
        match random.below(3) {
            0 => frame::write_heartbeat(&mut out),
            1 => {
                let body = random.octets(40);
                let properties = some_properties(random);
                content::write_content(&mut out, channel, &properties, &body, 32);
            }
            _ => {
                let payload = some_method(random);
                frame::write_frame(&mut out, FrameKind::Method, channel, |out| {
                    out.put_slice(&payload);
                });
            }
        }
    }
    out.to_vec()
}

/// What a client in the middle of things might send, most of it allowed.
fn some_talk(random: &mut Random) -> Vec<u8> {
    const USUAL: [&str; 16] = [
        "basic.publish",
        "basic.ack",
        "basic.nack",
        "basic.reject",
        "basic.get",
        "basic.consume",
        "basic.cancel",
        "basic.qos",
        "basic.recover",
        "queue.declare",
        "queue.delete",
        "channel.open",
        "channel.close",
        "channel.close-ok",
        "tx.commit",
        "tx.rollback",
    ];
    let mut out = BytesMut::from(&[random.next() as u8 & 0xFE][..]);
    for _ in 0..random.below(24) {
        let channel = 1 + random.below(4) as u16;
        match random.below(10) {
            0 => out.extend_from_slice(&some_frames(random)),
            1..=4 => published(&mut out, channel, random),
            5..=7 => {
                let (tag, multiple) = (random.below(6) as u64, random.chance(3));
                let ack = BasicAck { delivery_tag: tag, multiple };
                frame::write_method(&mut out, channel, &ack.into());
            }
            _ => {
                let name = USUAL[random.below(USUAL.len())];
                let row = Method::TABLE.iter().find(|row| row.name == name).unwrap();
                let payload = generate::method(row, random);
                frame::write_frame(&mut out, FrameKind::Method, channel, |out| {
                    out.put_slice(&payload);
                });
            }
        }
    }
    out.to_vec()
}

fn published(out: &mut BytesMut, channel: u16, random: &mut Random) {
    frame::write_method(out, channel, &BasicPublish::default().into());
    let length = if random.chance(4) { random.below(12_000) } else { random.below(40) };
    content::write_content(out, channel, &[0, 0], &random.octets(length), 4096);
}

#[test]
fn no_octets_break_a_session() {
    hold(session::drive, some_talk);
}

#[test]
fn no_octets_break_the_cutting_of_frames() {
    hold(targets::frame, some_frames);
}

#[test]
fn no_octets_break_the_reading_of_methods() {
    hold(targets::method, some_method);
}

#[test]
fn no_octets_set_the_fast_reader_of_publish_against_the_table() {
    hold(targets::method, some_publish);
}

#[test]
fn no_octets_break_the_reading_of_tables() {
    hold(targets::field_table, some_table);
}

#[test]
fn no_octets_break_the_reading_of_properties() {
    hold(targets::properties, some_properties);
}

#[test]
fn no_octets_break_the_reading_of_what_a_client_sends() {
    hold(targets::session_bytes, some_frames);
}
