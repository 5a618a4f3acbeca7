//! What must hold for any octets at all: the bodies of the fuzz targets, which `fuzz/` calls with
//! what a fuzzer finds and `hostile.rs` with seeded mutations.

use bytes::{Bytes, BytesMut};
use leveret::{
    model::{
        FieldTable, Malformed, Properties, PropertyView,
        octets::{Field, Writer},
    },
    wire::{
        basic::PublishView,
        content::ContentHeader,
        frame::{self, FrameError, FrameKind, FrameView},
        method::{self, Method},
    },
};

/// Frames are cut the same way whole, octet by octet, owned and borrowed, and say what they were.
pub(crate) fn frame(octets: &[u8]) {
    const FRAME_MAX: usize = 4096;
    let mut buffer = BytesMut::from(octets);
    let mut at = 0;
    loop {
        let left = &octets[at..];
        let seen = frame::view(left, FRAME_MAX);
        let split = frame::split(&mut buffer, FRAME_MAX);
        match (&seen, split) {
            (Ok(Some(view)), Ok(Some(frame))) => {
                assert_eq!((view.kind, view.channel), (frame.kind, frame.channel));
                assert_eq!(view.payload, &frame.payload[..]);
                assert_eq!(written(view), &left[..view.size()]);
                assert_eq!(frame::view(&left[..view.size() - 1], FRAME_MAX), Ok(None));
                at += view.size();
            }
            (Ok(None), Ok(None)) => break,
            (Err(seen), Err(split)) => {
                assert_eq!(*seen, split);
                assert!(split.to_string().starts_with("type "));
                break;
            }
            (seen, split) => panic!("{seen:?} is not {split:?}"),
        }
        assert_eq!(buffer, octets[at..]);
    }
}

fn written(view: &FrameView<'_>) -> BytesMut {
    let mut out = BytesMut::new();
    frame::write_frame(&mut out, view.kind, view.channel, |out| {
        out.extend_from_slice(view.payload);
    });
    out
}

/// What is read as a method is read the same once written, and the fast path for publish agrees.
pub(crate) fn method(octets: &[u8]) {
    let payload = Bytes::copy_from_slice(octets);
    let decoded = Method::decode(&payload);
    assert_eq!(method::peek(octets).is_err(), octets.len() < 4);
    match PublishView::decode(octets) {
        Ok(Some(view)) => {
            let Ok(Method::BasicPublish(publish)) = &decoded else {
                panic!("{view:?} is not {decoded:?}");
            };
            assert_eq!(view.exchange, &publish.exchange[..]);
            assert_eq!(view.routing_key, &publish.routing_key[..]);
            assert_eq!(view.mandatory, publish.mandatory);
            assert_eq!(view.immediate, publish.immediate);
        }
        Ok(None) => assert!(!matches!(decoded, Ok(Method::BasicPublish(_)))),
        Err(error) => assert_eq!(decoded, Err(error)),
    }
    if let Ok(method) = decoded {
        let once = encoded(&method);
        let again = Method::decode(&once).expect("what was written can be read");
        assert_eq!(encoded(&again), once);
        assert_eq!(again.id(), method.id());
    }
}

fn encoded(method: &Method) -> Bytes {
    let mut out = BytesMut::new();
    method.encode(&mut out);
    out.freeze()
}

/// A table is checked as it is read, and read the same once written.
pub(crate) fn field_table(octets: &[u8]) {
    let decoded = FieldTable::decode(&Bytes::copy_from_slice(octets));
    assert_eq!(decoded.as_ref().map(drop), FieldTable::check(octets).as_ref().map(drop));
    let Ok(table) = decoded else { return };
    let once = encoded_table(&table);
    let again = FieldTable::decode(&once.slice(4..)).expect("what was written can be read");
    assert_eq!(encoded_table(&again), once);
    assert_eq!(encoded_table(&table.detached()), once);
    for (name, value) in &table {
        assert!(table.lookup(name).is_some());
        assert!(!value.type_name().is_empty());
        drop(value.to_string());
    }
}

fn encoded_table(table: &FieldTable) -> Bytes {
    let mut out = BytesMut::new();
    table.write(&mut Writer::new(&mut out));
    out.freeze()
}

/// Properties are walked over as they are read, and read the same once written.
pub(crate) fn properties(octets: &[u8]) {
    let decoded = Properties::decode(&Bytes::copy_from_slice(octets));
    let (properties, view) = match (decoded, PropertyView::of(octets)) {
        (Ok(properties), Ok(view)) => (properties, view),
        (Err(decoded), Err(viewed)) => return assert_eq!(decoded, viewed),
        (decoded, viewed) => panic!("{decoded:?} is not {viewed:?}"),
    };
    assert_eq!(view.content_type, properties.content_type.as_deref());
    assert_eq!(view.content_encoding, properties.content_encoding.as_deref());
    assert_eq!(view.headers.is_some(), properties.headers.is_some());
    assert_eq!(view.delivery_mode, properties.delivery_mode);
    assert_eq!(view.priority, properties.priority);
    assert_eq!(view.correlation_id, properties.correlation_id.as_deref());
    assert_eq!(view.reply_to, properties.reply_to.as_deref());
    assert_eq!(view.expiration, properties.expiration.as_deref());
    assert_eq!(view.message_id, properties.message_id.as_deref());
    assert_eq!(view.timestamp, properties.timestamp);
    assert_eq!(view.kind, properties.kind.as_deref());
    assert_eq!(view.user_id, properties.user_id.as_deref());
    assert_eq!(view.app_id, properties.app_id.as_deref());
    assert_eq!(view.cluster_id, properties.cluster_id.as_deref());
    if let (Some(view), Some(headers)) = (view.headers, &properties.headers) {
        let pairs = FieldTable::decode(&Bytes::copy_from_slice(view.as_slice()));
        assert_eq!(
            encoded_table(&pairs.expect("a view's table can be read")),
            encoded_table(headers)
        );
    }
    let once = properties.to_bytes();
    let again = Properties::decode(&once).expect("what was written can be read");
    assert_eq!(again.to_bytes(), once);
}

/// All that a client sends, through every reader the wire layer has for it.
pub(crate) fn session_bytes(octets: &[u8]) {
    let mut buffer = BytesMut::from(octets);
    while let Ok(Some(frame)) = frame::split(&mut buffer, 4096) {
        match frame.kind {
            FrameKind::Method => method(&frame.payload),
            FrameKind::Header => match ContentHeader::decode(&frame.payload) {
                Ok(header) => properties(header.properties),
                Err(error) => assert_eq!(error, Malformed::Truncated),
            },
            FrameKind::Body | FrameKind::Heartbeat | FrameKind::Unknown(_) => {}
        }
    }
    if let Err(FrameError::TooLarge { size, .. }) = frame::split(&mut buffer, 4096) {
        assert!(size > 4096);
    }
}
