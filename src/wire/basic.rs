//! The two methods of every message, publish and deliver, read and written without an owner.
//!
//! They say the same as [`BasicPublish`](super::method::BasicPublish) and
//! [`BasicDeliver`](super::method::BasicDeliver), without a reference count per string.

use bytes::{BufMut, BytesMut};

use super::frame::{self, FrameKind};
use crate::model::{malformed::Malformed, octets::Octets};

/// Class and method of basic.publish, the first octets of its frame's payload.
pub const PUBLISH: (u16, u16) = (60, 40);

/// A basic.publish whose names lie in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishView<'a> {
    pub exchange: &'a [u8],
    pub routing_key: &'a [u8],
    pub mandatory: bool,
    pub immediate: bool,
}

impl<'a> PublishView<'a> {
    /// Reads a method frame's payload when it is a basic.publish.
    #[inline]
    pub fn decode(payload: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let mut octets = Octets::new(payload);
        if (octets.u16()?, octets.u16()?) != PUBLISH {
            return Ok(None);
        }
        octets.u16()?;
        let (exchange, routing_key, bits) = (octets.short()?, octets.short()?, octets.u8()?);
        octets.finish()?;
        let (mandatory, immediate) = (bits & 1 != 0, bits & 2 != 0);
        Ok(Some(Self { exchange, routing_key, mandatory, immediate }))
    }
}

/// A basic.deliver whose names lie elsewhere; each at most 255 octets.
#[derive(Clone, Copy, Debug)]
pub struct DeliverView<'a> {
    pub consumer_tag: &'a [u8],
    pub delivery_tag: u64,
    pub redelivered: bool,
    pub exchange: &'a [u8],
    pub routing_key: &'a [u8],
}

impl DeliverView<'_> {
    /// Appends the method's frame.
    #[inline]
    pub fn write(&self, out: &mut BytesMut, channel: u16) {
        frame::write_frame(out, FrameKind::Method, channel, |out| {
            out.put_slice(&[0, 60, 0, 60]);
            put_short(out, self.consumer_tag);
            out.put_u64(self.delivery_tag);
            out.put_u8(u8::from(self.redelivered));
            put_short(out, self.exchange);
            put_short(out, self.routing_key);
        });
    }
}

#[inline]
fn put_short(out: &mut BytesMut, octets: &[u8]) {
    debug_assert!(octets.len() <= 255, "a name holds at most 255 octets");
    out.put_u8(octets.len() as u8);
    out.put_slice(octets);
}
