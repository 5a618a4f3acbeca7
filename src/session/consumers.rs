//! The consumers of one connection, found by their number without a search.

use bytes::{BufMut, Bytes, BytesMut};

use crate::model::{ConnectionId, ConsumerId, ConsumerTag, QueueId};

/// One consumer of one channel.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) channel: u16,
    pub(super) tag: ConsumerTag,
    pub(super) acknowledge: bool,
    /// None until the broker has said that it consumes.
    pub(super) queue: Option<QueueId>,
    /// The octets of its deliveries' methods up to the delivery tag.
    pub(super) prefix: Bytes,
    /// Octets written since its window was last replenished.
    pub(super) written: usize,
}

impl Consumer {
    pub(super) fn new(channel: u16, tag: ConsumerTag, acknowledge: bool) -> Self {
        let mut prefix = BytesMut::with_capacity(5 + tag.len());
        prefix.put_slice(&[0, 60, 0, 60, tag.len() as u8]);
        prefix.put_slice(&tag);
        let prefix = prefix.freeze();
        Self { channel, tag, acknowledge, queue: None, prefix, written: 0 }
    }
}

/// All consumers of a connection. The low half of a serial number is a place in the table, the high
/// half makes it unique.
#[derive(Debug)]
pub(super) struct Consumers {
    connection: ConnectionId,
    places: Vec<Option<(u64, Consumer)>>,
    free: Vec<usize>,
    generation: u32,
}

impl Consumers {
    pub(super) fn new(connection: ConnectionId) -> Self {
        Self { connection, places: Vec::new(), free: Vec::new(), generation: 0 }
    }

    pub(super) fn insert(&mut self, consumer: Consumer) -> ConsumerId {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.generation = self.generation.wrapping_add(1);
        let serial = u64::from(self.generation) << 32 | place as u64;
        self.places[place] = Some((serial, consumer));
        ConsumerId { connection: self.connection, serial }
    }

    #[inline]
    pub(super) fn find(&mut self, id: ConsumerId) -> Option<&mut Consumer> {
        match self.places.get_mut(place(id)) {
            Some(Some((serial, consumer))) if *serial == id.serial => Some(consumer),
            _ => None,
        }
    }

    pub(super) fn remove(&mut self, id: ConsumerId) -> Option<Consumer> {
        self.find(id)?;
        let (_, consumer) = self.places[place(id)].take()?;
        self.free.push(place(id));
        Some(consumer)
    }
}

fn place(id: ConsumerId) -> usize {
    id.serial as u32 as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_is_found_until_it_is_removed_and_its_number_is_not_used_again() {
        let mut consumers = Consumers::new(ConnectionId(1));
        let tag = ConsumerTag::from_static("t");
        let first = consumers.insert(Consumer::new(1, tag.clone(), true));
        let second = consumers.insert(Consumer::new(2, tag.clone(), true));
        assert_eq!(consumers.find(second).map(|consumer| consumer.channel), Some(2));
        assert!(consumers.remove(first).is_some());
        assert!(consumers.find(first).is_none());
        let third = consumers.insert(Consumer::new(3, tag, true));
        assert_ne!(first, third);
        assert!(consumers.find(first).is_none() && consumers.remove(first).is_none());
        assert_eq!(consumers.find(third).map(|consumer| consumer.channel), Some(3));
    }
}
