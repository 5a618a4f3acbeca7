//! What a record says: changes of queues and of the topology, in a batch that holds or fails as
//! one.

use super::{
    Position, PositionRange, QueueId,
    compact::{Reader, put_octets, put_varint},
};

const ENQUEUE: u8 = 1;
const SETTLE: u8 = 2;
const RETURN: u8 = 3;
const DELIVERED: u8 = 4;
const FORGET: u8 = 5;
const PUT: u8 = 6;
const DELETE: u8 = 7;

/// One durable change. Applying it twice does what applying it once does.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// A message joined queues, at a position in each; its octets are written once.
    Enqueue { targets: Targets<'a>, message: &'a [u8] },
    /// Messages left their queue. Positions without a message may lie in between: a purge is one
    /// range.
    Settle { queue: QueueId, ranges: Spans<'a> },
    /// Messages came back after they were handed out, for the `count`th time.
    Return { queue: QueueId, ranges: Spans<'a>, count: u32 },
    /// Every message below this position may have been handed out before, and no other has,
    /// whatever was said earlier.
    Delivered { queue: QueueId, below: Position },
    /// The queue and all that was in it so far is gone.
    Forget { queue: QueueId },
    /// A fact of the topology stands under `key` until it is replaced or deleted.
    Put { key: &'a [u8], value: &'a [u8] },
    /// What stood under `key` is gone.
    Delete { key: &'a [u8] },
}

/// Entries that become durable together or not at all: one record of the journal.
#[derive(Debug, Default)]
pub struct Batch {
    payload: Vec<u8>,
    can_wait: bool,
}

impl Batch {
    /// A message, given in parts that are joined, enters its queues. Positions of a queue must
    /// ascend.
    #[inline]
    pub fn enqueue(&mut self, targets: &[(QueueId, Position)], message: &[&[u8]]) {
        self.payload.push(ENQUEUE);
        put_varint(&mut self.payload, targets.len() as u64);
        for (queue, position) in targets {
            put_varint(&mut self.payload, queue.0);
            put_varint(&mut self.payload, position.0);
        }
        put_varint(&mut self.payload, message.iter().map(|part| part.len() as u64).sum());
        message.iter().for_each(|part| self.payload.extend_from_slice(part));
    }

    /// Messages leave their queue. A purge is one wide range: positions without a message do no
    /// harm, but none may be among them that is still to be given.
    pub fn settle(&mut self, queue: QueueId, ranges: &[PositionRange]) {
        self.payload.push(SETTLE);
        put_varint(&mut self.payload, queue.0);
        put_ranges(&mut self.payload, ranges);
    }

    /// Messages came back after they were handed out, for the `count`th time.
    pub fn put_back(&mut self, queue: QueueId, ranges: &[PositionRange], count: u32) {
        self.payload.push(RETURN);
        put_varint(&mut self.payload, queue.0);
        put_ranges(&mut self.payload, ranges);
        put_varint(&mut self.payload, u64::from(count));
    }

    /// Every message of `queue` below this position may have been handed out before, and no other
    /// has. The last word counts.
    pub fn delivered(&mut self, queue: QueueId, below: Position) {
        self.payload.push(DELIVERED);
        put_varint(&mut self.payload, queue.0);
        put_varint(&mut self.payload, below.0);
    }

    /// The queue is deleted with all that is in it.
    pub fn forget(&mut self, queue: QueueId) {
        self.payload.push(FORGET);
        put_varint(&mut self.payload, queue.0);
    }

    /// A fact of the topology stands under `key`, in place of one that stood there.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.payload.push(PUT);
        put_octets(&mut self.payload, key);
        put_octets(&mut self.payload, value);
    }

    /// What stands under `key` goes.
    pub fn delete(&mut self, key: &[u8]) {
        self.payload.push(DELETE);
        put_octets(&mut self.payload, key);
    }

    /// Lets the batch wait for what comes next and go with it: nobody waits for this one.
    pub fn let_wait(&mut self) {
        self.can_wait = true;
    }

    /// Whether the batch may wait for what comes next.
    pub fn can_wait(&self) -> bool {
        self.can_wait
    }

    /// Whether nothing was put in.
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }

    /// The octets of its entries.
    pub fn octets(&self) -> &[u8] {
        &self.payload
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.can_wait = false;
        self.payload.clear();
    }
}

fn put_ranges(payload: &mut Vec<u8>, ranges: &[PositionRange]) {
    put_varint(payload, ranges.len() as u64);
    for range in ranges {
        put_varint(payload, range.first.0);
        put_varint(payload, range.last.0 - range.first.0);
    }
}

/// Reads the entries of a record. After octets that mean nothing it gives `Err` once, then ends.
pub fn entries(payload: &[u8]) -> Entries<'_> {
    Entries { reader: Some(Reader::new(payload)) }
}

/// See [`entries`].
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    reader: Option<Reader<'a>>,
}

/// Octets that are no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaningless;

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, Meaningless>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.reader.as_mut().filter(|reader| !reader.is_empty())?;
        let entry = entry(reader);
        if entry.is_none() {
            self.reader = None;
        }
        Some(entry.ok_or(Meaningless))
    }
}

#[inline]
fn entry<'a>(reader: &mut Reader<'a>) -> Option<Entry<'a>> {
    Some(match reader.u8()? {
        ENQUEUE => Entry::Enqueue {
            targets: Targets(pairs(reader, |_, _| true)?),
            message: reader.octets()?,
        },
        SETTLE => Entry::Settle { queue: QueueId(reader.varint()?), ranges: spans(reader)? },
        RETURN => Entry::Return {
            queue: QueueId(reader.varint()?),
            ranges: spans(reader)?,
            count: u32::try_from(reader.varint()?).ok()?,
        },
        DELIVERED => {
            Entry::Delivered { queue: QueueId(reader.varint()?), below: Position(reader.varint()?) }
        }
        FORGET => Entry::Forget { queue: QueueId(reader.varint()?) },
        PUT => Entry::Put { key: reader.octets()?, value: reader.octets()? },
        DELETE => Entry::Delete { key: reader.octets()? },
        _ => return None,
    })
}

fn spans<'a>(reader: &mut Reader<'a>) -> Option<Spans<'a>> {
    pairs(reader, |first, span| first.checked_add(span).is_some()).map(Spans)
}

/// Checks pairs of numbers behind their count, and keeps them to be read again.
fn pairs<'a>(reader: &mut Reader<'a>, holds: impl Fn(u64, u64) -> bool) -> Option<Pairs<'a>> {
    let count = reader.varint()?;
    let start = reader.rest();
    for _ in 0..count {
        let (first, second) = (reader.varint()?, reader.varint()?);
        if !holds(first, second) {
            return None;
        }
    }
    let length = start.len() - reader.rest().len();
    Some(Pairs { reader: Reader::new(&start[..length]) })
}

#[derive(Clone, Copy, Debug)]
struct Pairs<'a> {
    reader: Reader<'a>,
}

impl Pairs<'_> {
    fn next(&mut self) -> Option<(u64, u64)> {
        Some((self.reader.varint()?, self.reader.varint()?))
    }
}

/// The queues that a message joined, each with the position it took.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a>(Pairs<'a>);

impl Iterator for Targets<'_> {
    type Item = (QueueId, Position);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(queue, position)| (QueueId(queue), Position(position)))
    }
}

/// Ranges of positions, in the order in which they were written.
#[derive(Clone, Copy, Debug)]
pub struct Spans<'a>(Pairs<'a>);

impl Iterator for Spans<'_> {
    type Item = PositionRange;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(first, span)| PositionRange::new(first, first + span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_back_its_entries() {
        let mut batch = Batch::default();
        batch.enqueue(
            &[(QueueId(1), Position(2)), (QueueId(300), Position(u64::MAX))],
            &[b"head", b"body"],
        );
        batch.settle(QueueId(1), &[PositionRange::new(0, u64::MAX), PositionRange::new(4, 4)]);
        batch.put_back(QueueId(2), &[], 7);
        batch.delivered(QueueId(2), Position(9));
        batch.forget(QueueId(3));
        batch.put(b"key", b"");
        batch.delete(b"key");
        let told: Vec<_> = entries(batch.octets()).map(|entry| told(entry.unwrap())).collect();
        let expected = [
            "enqueue [(1, 2), (300, 18446744073709551615)] headbody",
            "settle 1 [(0, 18446744073709551615), (4, 4)]",
            "return 2 [] 7",
            "delivered 2 9",
            "forget 3",
            "put key ",
            "delete key",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_cut_batch_ends_in_an_error_or_before_the_cut() {
        let mut batch = Batch::default();
        batch.enqueue(&[(QueueId(1), Position(2))], &[b"octets"]);
        batch.settle(QueueId(1), &[PositionRange::new(1, 200)]);
        let whole = batch.octets();
        for cut in 0..whole.len() {
            let read: Vec<_> = entries(&whole[..cut]).collect();
            assert!(read.len() <= 2);
            assert!(read.iter().filter(|entry| entry.is_ok()).count() < 2);
        }
        assert!(entries(&[0xff, 1]).next().is_some_and(|entry| entry.is_err()));
    }

    fn told(entry: Entry<'_>) -> String {
        let pairs = |ranges: Spans<'_>| {
            ranges.map(|range| (range.first.0, range.last.0)).collect::<Vec<_>>()
        };
        match entry {
            Entry::Enqueue { targets, message } => {
                let targets: Vec<_> =
                    targets.map(|(queue, position)| (queue.0, position.0)).collect();
                format!("enqueue {targets:?} {}", String::from_utf8_lossy(message))
            }
            Entry::Settle { queue, ranges } => format!("settle {queue} {:?}", pairs(ranges)),
            Entry::Return { queue, ranges, count } => {
                format!("return {queue} {:?} {count}", pairs(ranges))
            }
            Entry::Delivered { queue, below } => format!("delivered {queue} {below}"),
            Entry::Forget { queue } => format!("forget {queue}"),
            Entry::Put { key, value } => {
                format!("put {} {}", String::from_utf8_lossy(key), String::from_utf8_lossy(value))
            }
            Entry::Delete { key } => format!("delete {}", String::from_utf8_lossy(key)),
        }
    }
}
