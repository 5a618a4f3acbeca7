//! Publishes built once and sent many times: only the sequence number in each body changes.

use bytes::{BufMut, BytesMut};

use super::scanner::STAMP;
use crate::wire::{
    content,
    frame::{self, FrameKind},
    method::BasicPublish,
};

/// The only channel that a connection of the load generator opens.
pub(super) const CHANNEL: u16 = 1;

/// How many octets of publishes one write carries unless a message is larger by itself.
const BLOCK_OCTETS: usize = 64 * 1024;

/// What every message of a publisher looks like.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub exchange: String,
    /// One message after the other takes the next of these, which are equally long.
    pub routing_keys: Vec<String>,
    pub size: usize,
    pub persistent: bool,
    pub mandatory: bool,
    /// Tells this run's messages from another's.
    pub run: u32,
    pub publisher: u32,
    pub frame_max: usize,
    /// Messages to a write; zero for as many as make a good write.
    pub batch: usize,
}

/// A run of publishes, ready to be written.
#[derive(Debug)]
pub(super) struct Block {
    octets: BytesMut,
    /// From one message to the next.
    stride: usize,
    /// From the start of a message to its sequence number, when it is large enough to have one.
    sequence_at: Option<usize>,
    keys: usize,
    batch: usize,
}

impl Block {
    pub(super) fn new(shape: &Shape) -> Self {
        let mut octets = BytesMut::new();
        write_publish(&mut octets, shape, 0);
        let stride = octets.len();
        let batch = match shape.batch {
            0 => (BLOCK_OCTETS / stride).max(1),
            batch => batch,
        };
        let keys = shape.routing_keys.len();
        for index in 1..batch + keys - 1 {
            write_publish(&mut octets, shape, index);
        }
        let sequence_at = (shape.size >= STAMP).then(|| body_offset(&octets) + STAMP - 8);
        Self { octets, stride, sequence_at, keys, batch }
    }

    /// The most messages that one write may carry.
    pub(super) fn batch(&self) -> usize {
        self.batch
    }

    /// The octets of `count` messages, numbered from `first` on; at most [`Self::batch`].
    pub(super) fn numbered(&mut self, first: u64, count: usize) -> &[u8] {
        let skipped = (first % self.keys as u64) as usize;
        let place = skipped * self.stride..(skipped + count) * self.stride;
        let octets = &mut self.octets[place];
        if let Some(at) = self.sequence_at {
            for (message, sequence) in octets.chunks_exact_mut(self.stride).zip(first..) {
                message[at..at + 8].copy_from_slice(&sequence.to_be_bytes());
            }
        }
        octets
    }
}

fn write_publish(out: &mut BytesMut, shape: &Shape, index: usize) {
    let key = &shape.routing_keys[index % shape.routing_keys.len()];
    let method = BasicPublish {
        exchange: super::client::name(&shape.exchange),
        routing_key: super::client::name(key),
        mandatory: shape.mandatory,
        ..BasicPublish::default()
    };
    frame::write_method(out, CHANNEL, &method.into());
    let properties: &[u8] = if shape.persistent { &[0x10, 0, 2] } else { &[0, 0] };
    content::write_content(out, CHANNEL, properties, &body(shape), shape.frame_max);
}

/// Run, publisher and sequence number, then padding.
fn body(shape: &Shape) -> Vec<u8> {
    let mut body = Vec::with_capacity(shape.size.max(STAMP));
    body.put_u32(shape.run);
    body.put_u32(shape.publisher);
    body.put_u64(0);
    body.resize(shape.size, b'.');
    body
}

/// Where the first message's body begins, behind the head of its third frame.
fn body_offset(octets: &[u8]) -> usize {
    let mut at = 0;
    while let Ok(Some(frame)) = frame::view(&octets[at..], 0)
        && frame.kind != FrameKind::Body
    {
        at += frame.size();
    }
    at + frame::HEAD
}

/// What a stamped body says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub run: u32,
    pub publisher: u32,
    pub sequence: u64,
}

impl Stamp {
    #[inline]
    pub(super) fn read(octets: &[u8; STAMP]) -> Self {
        let [a, b, c, d, e, f, g, h, sequence @ ..] = *octets;
        Self {
            run: u32::from_be_bytes([a, b, c, d]),
            publisher: u32::from_be_bytes([e, f, g, h]),
            sequence: u64::from_be_bytes(sequence),
        }
    }
}

const DIGITS: usize = 64;
const FIRST_DIGIT: u8 = b'0';

/// The most queues that one connection can consume from.
pub(super) const MOST_QUEUES: usize = DIGITS * DIGITS;

/// The tag of the consumer on the connection's queue `index`: two octets, so that it costs as
/// little on the wire and in the scanner as a tag can.
pub(super) fn consumer_tag(index: usize) -> String {
    [index / DIGITS, index % DIGITS]
        .iter()
        .map(|digit| char::from(FIRST_DIGIT + (digit % DIGITS) as u8))
        .collect()
}

/// The index within a [`consumer_tag`].
#[inline]
pub(super) fn consumer_index(tag: [u8; 2]) -> usize {
    let [high, low] = tag.map(|octet| usize::from(octet.wrapping_sub(FIRST_DIGIT)));
    high * DIGITS + low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::basic::PublishView;

    fn shape(size: usize, keys: &[&str], batch: usize) -> Shape {
        Shape {
            exchange: "x".to_owned(),
            routing_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            size,
            persistent: true,
            mandatory: false,
            run: 7,
            publisher: 3,
            frame_max: 4096,
            batch,
        }
    }

    /// Routing key and body of every message in `octets`.
    fn messages(mut octets: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        while let Some(frame) = frame::view(octets, 0).unwrap() {
            match frame.kind {
                FrameKind::Method => {
                    let publish = PublishView::decode(frame.payload).unwrap().unwrap();
                    assert_eq!(publish.exchange, b"x");
                    let key = String::from_utf8(publish.routing_key.to_vec()).unwrap();
                    found.push((key, Vec::new()));
                }
                FrameKind::Header => {
                    let header = content::ContentHeader::decode(frame.payload).unwrap();
                    assert_eq!(header.properties, [0x10, 0, 2]);
                }
                _ => found.last_mut().unwrap().1.extend(frame.payload),
            }
            octets = &octets[frame.size()..];
        }
        assert!(octets.is_empty());
        found
    }

    #[test]
    fn messages_are_numbered_and_take_turns_with_the_routing_keys() {
        let mut block = Block::new(&shape(16, &["a", "b", "c"], 4));
        let sent = messages(block.numbered(8, 4));
        let keys: Vec<_> = sent.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["c", "a", "b", "c"]);
        for ((_, body), sequence) in sent.iter().zip(8..) {
            let stamp = Stamp::read(body.as_slice().try_into().unwrap());
            assert_eq!(stamp, Stamp { run: 7, publisher: 3, sequence });
        }
        assert_eq!(messages(block.numbered(9, 2))[1].0, "b");
    }

    #[test]
    fn a_large_body_goes_out_in_frames_and_a_small_one_without_a_stamp() {
        for size in [0, 1, 15, 4088, 4089, 10_000] {
            let sent = messages(Block::new(&shape(size, &["a"], 2)).numbered(5, 2)).len();
            assert_eq!(sent, 2);
            let mut block = Block::new(&shape(size, &["a"], 2));
            let body = messages(block.numbered(5, 2)).remove(1).1;
            assert_eq!(body.len(), size);
            if let Some(stamp) = body.first_chunk() {
                assert_eq!(Stamp::read(stamp).sequence, 6);
            }
        }
    }

    #[test]
    fn a_block_without_a_given_batch_fills_one_write() {
        let mut block = Block::new(&shape(16, &["perf.000000.0000"], 0));
        let batch = block.batch();
        let octets = block.numbered(0, batch).len();
        assert!((BLOCK_OCTETS - 100..=BLOCK_OCTETS).contains(&octets), "{octets}");
        assert_eq!(Block::new(&shape(200_000, &["a"], 0)).batch(), 1);
    }

    #[test]
    fn a_consumer_tag_gives_back_its_index() {
        for index in [0, 1, 63, 64, MOST_QUEUES - 1] {
            let tag = consumer_tag(index);
            let octets: [u8; 2] = tag.as_bytes().try_into().unwrap();
            assert_eq!(consumer_index(octets), index);
        }
    }
}
