//! Octets that are no protocol, and handshakes that are never finished.

use super::{
    client::{
        Client, HEADER, Said, declaration, header_frame, method_frame, opening, publish_to,
        raw_frame,
    },
    subject::{Hosted, PATIENCE},
};
use crate::random::Dice;
use leveret::{
    config::Config,
    wire::{
        frame::FrameKind,
        method::{ConnectionCloseOk, Method, QueueDeclareOk},
    },
};
use std::{
    io::{Read, Write},
    net::Shutdown,
    time::Instant,
};

const ROUNDS: u64 = 300;

/// The levels of tables in tables that fit a frame.
const LEVELS: usize = 20_000;

#[test]
fn any_octets_end_in_an_error_or_a_closed_socket() {
    let broker = Hosted::start(Config::default());
    let seed = Dice::seed();
    for round in 0..ROUNDS {
        let mut dice = Dice(seed.wrapping_add(round));
        let mut client = Client::connect(broker.address());
        let ready = opening(0);
        let come_so_far = dice.pick(&[0, HEADER.len(), 60, ready.len(), ready.len()]);
        let octets = [&ready[..come_so_far], &some_octets(&mut dice)].concat();
        client.write(&octets);
        client.stream.shutdown(Shutdown::Write).unwrap_or_default();
        assert!(client.is_dropped());
    }
    check_service(&broker);
    broker.stop();
}

#[test]
fn what_is_no_protocol_is_answered_with_the_protocol_that_is_spoken() {
    let broker = Hosted::start(Config::default());
    for octets in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"AMQP\x01\x01\x08\x00", &[0xFF; 18]] {
        let mut client = Client::connect(broker.address());
        client.write(octets);
        let mut answer = [0; 8];
        client.stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, HEADER);
        assert!(client.is_dropped());
    }
    broker.stop();
}

#[test]
fn broken_frames_end_the_connection_with_an_error() {
    let broker = Hosted::start(Config::default());
    let publish = method_frame(1, publish_to("q"));
    let mut wrong_end = method_frame(1, declaration("q"));
    *wrong_end.last_mut().unwrap() = 0;
    for (code, octets) in [
        (501, vec![1, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF]),
        (501, vec![3, 0, 1, 0, 2, 0, 1]),
        (501, wrong_end),
        (501, raw_frame(FrameKind::Unknown(7), 1, b"?")),
        (505, raw_frame(FrameKind::Body, 0, b"?")),
        (505, [publish.clone(), raw_frame(FrameKind::Body, 1, b"?")].concat()),
        (504, raw_frame(FrameKind::Method, 77, &[0, 50, 0, 10])),
        (501, raw_frame(FrameKind::Method, 1, &[0, 50, 0, 10])),
        (501, raw_frame(FrameKind::Method, 1, &nested_tables())),
        (541, [publish.clone(), header_of(&[0xFF; 100_000])].concat()),
        (541, [publish.clone(), header_of(&[0, 1].repeat(50_000))].concat()),
        (501, [publish, header_frame(1, u64::MAX / 2)].concat()),
    ] {
        let mut client = Client::open(broker.address());
        client.write(&octets);
        let Method::ConnectionClose(close) = client.method() else { panic!("no close") };
        assert_eq!(close.reply_code, code, "{}", close.reply_text);
        client.send(0, ConnectionCloseOk {});
    }
    check_service(&broker);
    broker.stop();
}

#[test]
fn a_handshake_that_is_not_finished_is_dropped() {
    let broker = Hosted::start(Config { handshake_timeout_ms: 1000, ..Config::default() });
    let mut finished = Client::open(broker.address());
    let ready = opening(0);
    let mut unfinished: Vec<_> = (0..ready.len())
        .step_by(7)
        .map(|length| {
            let mut client = Client::connect(broker.address());
            client.write(&ready[..length]);
            client
        })
        .collect();
    assert!(unfinished.iter_mut().all(Client::is_dropped));
    let declared = finished.call(1, declaration("still-here"));
    assert!(matches!(declared, Method::QueueDeclareOk(_)));
    broker.stop();
}

#[test]
fn a_handshake_that_goes_on_for_ever_is_dropped() {
    let broker = Hosted::start(Config { handshake_timeout_ms: 1000, ..Config::default() });
    let mut client = Client::connect(broker.address());
    client.write(HEADER);
    assert!(matches!(client.next(), Said::Method(0, Method::ConnectionStart(_))));
    let heartbeat = raw_frame(FrameKind::Heartbeat, 0, b"");
    let start = Instant::now();
    while client.stream.write_all(&heartbeat).is_ok() {
        assert!(start.elapsed() < PATIENCE, "the broker listens on and on");
    }
    assert!(client.is_dropped());
    broker.stop();
}

fn check_service(broker: &Hosted) {
    let declared = Client::open(broker.address()).call(1, declaration("served"));
    let expected = QueueDeclareOk {
        queue: "served".to_owned().try_into().unwrap(),
        ..QueueDeclareOk::default()
    };
    assert_eq!(declared, Method::QueueDeclareOk(expected));
}

/// Noise, or frames with faults in them.
fn some_octets(dice: &mut Dice) -> Vec<u8> {
    let mut octets = match dice.below(3) {
        0 => dice.octets(200),
        1 => [method_frame(1, declaration("q")), dice.octets(40)].concat(),
        _ => {
            let payload = [&[0, dice.pick(&[10, 20, 40, 50, 60, 85, 90]), 0][..], &dice.octets(60)];
            let kind = dice.pick(&[1, 1, 1, 2, 3, 8, 9]);
            raw_frame(kind.into(), dice.pick(&[0, 1, 2]), &payload.concat())
        }
    };
    octets.truncate(octets.len() - dice.below(octets.len() as u64 + 1) as usize / 2);
    octets
}

/// A header with these properties, and the body that it announces: none.
fn header_of(properties: &[u8]) -> Vec<u8> {
    let payload = [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], properties].concat();
    raw_frame(FrameKind::Header, 1, &payload)
}

/// `queue.declare` with tables in tables in its arguments.
fn nested_tables() -> Vec<u8> {
    let mut tables = Vec::new();
    for level in (0..LEVELS).rev() {
        tables.extend([0, b'F']);
        tables.extend((level as u32 * 6).to_be_bytes());
    }
    let mut payload = vec![0, 50, 0, 10, 0, 0, 1, b'q', 0];
    payload.extend((tables.len() as u32).to_be_bytes());
    payload.extend(tables);
    payload
}
