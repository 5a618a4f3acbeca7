//! What reading a publication and writing a delivery cost, in nanoseconds per message.
#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark reads the clock")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use leveret::{
    model::{
        ConsumerTag, ExchangeName, FieldTable, FieldValue, Properties, PropertyView, RoutingKey,
        ShortString,
    },
    wire::{
        basic::{DeliverView, PublishView},
        content::{self, ContentHeader},
        frame::{self, FrameKind},
        method::{BasicDeliver, BasicPublish, Method},
    },
};

const FRAME_MAX: usize = 131_072;
const MESSAGES: u64 = 1000;
const BODY: &[u8] = b"sixteen octets!!";

fn main() {
    let plain = Properties { delivery_mode: Some(2), ..Properties::default() }.to_bytes();
    let rich = rich_properties().to_bytes();
    for (kind, properties) in [("plain", &plain), ("rich", &rich)] {
        let stream = publications(properties);
        measure(&format!("publish, {kind}: split and decode by the table"), || owned(&stream));
        measure(&format!("publish, {kind}: view and walk"), || borrowed(&stream));
    }
    let mut out = BytesMut::with_capacity(1 << 20);
    measure("deliver: encode by the table", || deliver_by_table(&mut out, &plain));
    measure("deliver: encode from slices", || deliver_from_slices(&mut out, &plain));
    measure("properties, none: walk", || walk(&[0, 0]));
    measure("properties, plain: walk", || walk(&plain));
    measure("properties, rich: walk", || walk(&rich));
    measure("properties, rich: decode", || {
        for _ in 0..MESSAGES {
            black_box(Properties::decode(black_box(&rich)).is_ok());
        }
    });
}

/// Runs `work`, which handles [`MESSAGES`], for half a second and prints the best of its rounds.
fn measure(name: &str, mut work: impl FnMut()) {
    let end = Instant::now() + Duration::from_millis(500);
    let mut best = Duration::MAX;
    while Instant::now() < end {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed());
    }
    println!("{name:<50} {:>8.1} ns", best.as_nanos() as f64 / MESSAGES as f64);
}

fn rich_properties() -> Properties {
    let short = ShortString::from_static;
    let headers = [
        (short("x-attempt"), FieldValue::from(3)),
        (short("x-origin"), FieldValue::from("orders.eu-west")),
        (short("x-trace"), FieldValue::from("4bf92f3577b34da6a3ce929d0e0e4736")),
    ];
    Properties {
        content_type: Some(short("application/json")),
        headers: Some(FieldTable::from_pairs(headers)),
        delivery_mode: Some(2),
        correlation_id: Some(short("2c1d9e62-90a8-4f43-a1f5-0c2a6a0e1f44")),
        message_id: Some(short("8f14e45f-ceea-467f-9d4e-7f1c3b0a5d2e")),
        timestamp: Some(1_700_000_000),
        ..Properties::default()
    }
}

fn publications(properties: &[u8]) -> Bytes {
    let publish = Method::from(BasicPublish {
        exchange: ExchangeName::from_static("orders"),
        routing_key: RoutingKey::from_static("order.created.eu"),
        ..BasicPublish::default()
    });
    let mut out = BytesMut::new();
    for _ in 0..MESSAGES {
        frame::write_method(&mut out, 1, &publish);
        content::write_content(&mut out, 1, properties, BODY, FRAME_MAX);
    }
    out.freeze()
}

fn owned(stream: &Bytes) {
    let mut buffer = BytesMut::from(&stream[..]);
    while let Ok(Some(frame)) = frame::split(&mut buffer, FRAME_MAX) {
        match frame.kind {
            FrameKind::Method => drop(black_box(Method::decode(&frame.payload))),
            FrameKind::Header => {
                let header = ContentHeader::decode(&frame.payload).expect("a header");
                let properties = frame.payload.slice_ref(header.properties);
                drop(black_box(Properties::decode(&properties)));
            }
            FrameKind::Body | FrameKind::Heartbeat | FrameKind::Unknown(_) => {
                drop(black_box(frame.payload));
            }
        }
    }
}

fn borrowed(stream: &Bytes) {
    let mut rest = &stream[..];
    while let Ok(Some(frame)) = frame::view(rest, FRAME_MAX) {
        match frame.kind {
            FrameKind::Method => {
                black_box(PublishView::decode(frame.payload).is_ok());
            }
            FrameKind::Header => {
                let header = ContentHeader::decode(frame.payload).expect("a header");
                black_box(PropertyView::of(header.properties).is_ok());
                black_box(stream.slice_ref(header.properties));
            }
            FrameKind::Body | FrameKind::Heartbeat | FrameKind::Unknown(_) => {
                black_box(stream.slice_ref(frame.payload));
            }
        }
        rest = &rest[frame.size()..];
    }
}

fn deliver_by_table(out: &mut BytesMut, properties: &[u8]) {
    out.clear();
    let deliver = BasicDeliver {
        consumer_tag: ConsumerTag::from_static("ctag1.0"),
        exchange: ExchangeName::from_static("orders"),
        routing_key: RoutingKey::from_static("order.created.eu"),
        ..BasicDeliver::default()
    };
    for delivery_tag in 0..MESSAGES {
        let method = Method::from(BasicDeliver { delivery_tag, ..deliver.clone() });
        frame::write_method(out, 1, &method);
        content::write_content(out, 1, properties, BODY, FRAME_MAX);
    }
    black_box(out);
}

fn deliver_from_slices(out: &mut BytesMut, properties: &[u8]) {
    out.clear();
    for delivery_tag in 0..MESSAGES {
        let deliver = DeliverView {
            consumer_tag: black_box(b"ctag1.0"),
            delivery_tag,
            redelivered: false,
            exchange: black_box(b"orders"),
            routing_key: black_box(b"order.created.eu"),
        };
        deliver.write(out, 1);
        content::write_content(out, 1, properties, BODY, FRAME_MAX);
    }
    black_box(out);
}

fn walk(properties: &[u8]) {
    for _ in 0..MESSAGES {
        black_box(PropertyView::of(black_box(properties)).is_ok());
    }
}
