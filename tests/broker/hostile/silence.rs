//! Clients that do not read, and clients that announce more than they send: what they cost.

use super::{
    client::{
        Client, FRAME_MAX, Said, declaration, header_frame, method_frame, name, publication,
        publish_to, raw_frame,
    },
    subject::{PATIENCE, Subject, until},
};
use leveret::wire::{
    frame::FrameKind,
    method::{
        BasicConsume, BasicGet, BasicPublish, ChannelClose, ChannelOpen, ConfirmSelect,
        ConnectionClose, Method, QueueDeclare,
    },
};
use std::{
    io::Write,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

const MIB: usize = 1 << 20;

/// KiB that a broker may grow by for reasons of its own: buffers that are used again.
const SLACK: u64 = 32 * 1024;

/// A socket that has taken nothing for so long is not read from.
const STUCK: Duration = Duration::from_millis(1500);

/// Far more than the buffers of two sockets hold.
const ENDLESS: usize = 300 * MIB;

#[test]
fn consumers_that_do_not_read_cost_little_and_hold_up_nobody() {
    const DEAF: usize = 50;
    const BODY: usize = 64 * 1024;
    let broker = Subject::start();
    let mut publisher = Client::open(broker.address());
    publisher.call(1, declaration("q"));
    let consume = || BasicConsume { queue: name("q"), no_ack: true, ..BasicConsume::default() };
    let _deaf: Vec<_> = (0..DEAF)
        .map(|_| {
            let mut client = Client::connect_narrowly(broker.address()).greet(0);
            client.call(1, consume());
            client
        })
        .collect();
    let mut reader = Client::open(broker.address());
    reader.call(1, consume());
    let reading = thread::spawn(move || read_until(&mut reader, b"end"));

    let before = broker.resident();
    let mut most = 0;
    let batch = publication(publish_to("q"), &[7; BODY]).repeat(16);
    for _ in 0..ENDLESS / BODY / 16 {
        publisher.write(&batch);
        until("all is handed out", || publisher.count("q").0 == 0);
        most = broker.resident().max(most);
    }
    // Each consumer with room is offered one.
    publisher.write(&publication(publish_to("q"), b"end").repeat(2 * (DEAF + 1)));
    let read = reading.join().unwrap();

    let taken = (ENDLESS - read) / DEAF;
    assert!(taken < 8 * MIB, "each of the deaf has taken {taken} octets");
    let allowed = before + DEAF as u64 * 512 + SLACK;
    assert!(most < allowed, "{most} KiB where there were {before}");
}

#[test]
fn a_client_that_does_not_read_its_replies_is_not_read_from() {
    let broker = Subject::start();
    let mut other = Client::open(broker.address());
    other.call(1, declaration("q"));
    let mut client = Client::connect_narrowly(broker.address()).greet(0);
    client.call(1, ConfirmSelect::default());
    let publish = BasicPublish { mandatory: true, ..publish_to("nowhere") };
    let ask = QueueDeclare { passive: true, ..declaration("q") };
    let request = [publication(publish, &[7; 4000]), method_frame(1, ask)].concat();

    let before = broker.resident();
    let sent = send_until_stuck(&mut client.stream, &request);
    let start = Instant::now();
    for _ in 0..500 {
        assert_eq!(other.count("q"), (0, 0));
    }
    assert!(start.elapsed() < PATIENCE / 6, "others wait: {:?}", start.elapsed());
    let after = broker.resident();
    assert!(after < before + SLACK, "{after} KiB where there were {before}");

    let mut writing = client.stream.try_clone().unwrap();
    let rest = request[sent % request.len()..].to_vec();
    let rest = thread::spawn(move || writing.write_all(&rest));
    let (mut declared, mut returned, mut confirmed) = (0, 0, 0);
    while declared < sent / request.len() + 1 {
        match client.method() {
            Method::QueueDeclareOk(_) => declared += 1,
            Method::BasicReturn(_) => returned += 1,
            Method::BasicAck(ack) => confirmed = ack.delivery_tag,
            other => panic!("{other:?}"),
        }
    }
    rest.join().unwrap().unwrap();
    assert_eq!((returned, confirmed), (declared, declared as u64));
}

#[test]
fn a_client_that_closes_and_does_not_read_is_let_go() {
    let broker = Subject::start();
    let mut other = Client::open(broker.address());
    other.call(1, declaration("q"));
    let files = broker.open_files();
    other.write(&publication(publish_to("q"), &[7; MIB]).repeat(8));
    until("all is there", || other.count("q").0 == 8);

    let mut client = Client::connect_narrowly(broker.address()).greet(1);
    let get = BasicGet { queue: name("q"), no_ack: true, ..BasicGet::default() };
    let close = method_frame(0, ConnectionClose::default());
    client.write(&[method_frame(1, get).repeat(8), close].concat());
    until("the socket is closed", || broker.open_files() <= files);
    drop(client);
}

#[test]
fn content_costs_what_was_sent_of_it() {
    const CHANNELS: u16 = 2000;
    let broker = Subject::start();
    let mut client = Client::open(broker.address());
    let (resident, reserved) = (broker.resident(), broker.reserved());
    let publish = publish_to("q");
    for channel in 2..=CHANNELS {
        client.call(channel, ChannelOpen::default());
        client.send(channel, publish.clone());
        client.write(&header_frame(channel, 16 * MIB as u64));
        client.write(&raw_frame(FrameKind::Body, channel, &[7; 1000]));
    }
    client.call(1, declaration("q"));
    let resident = broker.resident().saturating_sub(resident);
    let reserved = broker.reserved().saturating_sub(reserved);
    assert!(resident < SLACK, "{resident} KiB more");
    assert!(reserved < 2 * SLACK, "{reserved} KiB more are asked for");
}

#[test]
fn content_above_the_limit_is_refused_and_none_of_it_kept() {
    let broker = Subject::start();
    let mut client = Client::open(broker.address());
    let before = broker.resident();
    let publish = method_frame(1, publish_to("q"));
    let body = raw_frame(FrameKind::Body, 1, &[7; FRAME_MAX - 8]);
    let last = 16 * MIB + 1 - 128 * (FRAME_MAX - 8);
    client.write(&[publish.clone(), header_frame(1, 16 * MIB as u64 + 1)].concat());
    for _ in 0..128 {
        client.write(&body);
    }
    let after = broker.resident();
    assert!(after < before + SLACK / 4, "{after} KiB where there were {before}");
    client.write(&raw_frame(FrameKind::Body, 1, &vec![7; last]));
    let refused = client.method();
    assert!(
        matches!(&refused, Method::ChannelClose(ChannelClose { reply_code: 406, .. })),
        "{refused:?}"
    );

    let mut client = Client::open(broker.address());
    client.write(&[publish, header_frame(1, u64::MAX / 2)].concat());
    let refused = client.method();
    assert!(matches!(refused, Method::ConnectionClose(_)), "{refused:?}");
}

/// Octets of bodies that came before one that is `end`.
fn read_until(client: &mut Client, end: &[u8]) -> usize {
    let mut read = 0;
    loop {
        match client.next() {
            Said::Content(frame) if frame.kind == FrameKind::Body && frame.payload == end => {
                return read;
            }
            Said::Content(frame) if frame.kind == FrameKind::Body => read += frame.payload.len(),
            Said::Content(_) | Said::Method(..) => {}
            Said::Closed => panic!("the broker has hung up"),
        }
    }
}

/// Sends the request over and over, until nothing is taken any more; how many octets were taken.
fn send_until_stuck(stream: &mut TcpStream, request: &[u8]) -> usize {
    stream.set_write_timeout(Some(STUCK)).unwrap();
    let mut sent = 0;
    while let Ok(taken) = stream.write(&request[sent % request.len()..]) {
        sent += taken;
        assert!(sent < ENDLESS, "the broker reads on and on");
    }
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    sent
}
