//! The content of a message on the wire: one header frame, then body frames.

use bytes::{BufMut, BytesMut};

use super::frame::{self, FrameKind, OVERHEAD};
use crate::model::{Malformed, octets::Octets};

/// The class that every method with content belongs to.
pub const BASIC: u16 = 60;

/// Octets of a content header frame that are not properties.
const HEADER_OVERHEAD: usize = OVERHEAD + 12;

/// What a content header frame says; the properties stay encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    pub class: u16,
    /// Nothing: must be zero (AMQP 0-9-1 §4.2.6.1).
    pub weight: u16,
    /// Octets in all the body frames that follow.
    pub body_size: u64,
    /// Flags and values, for `PropertyView` and `Properties`; a slice of the payload.
    pub properties: &'a [u8],
}

impl<'a> ContentHeader<'a> {
    /// Reads a header frame's payload up to the properties, which may still turn out malformed.
    #[inline]
    pub fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut octets = Octets::new(payload);
        Ok(Self {
            class: octets.u16()?,
            weight: octets.u16()?,
            body_size: octets.u64()?,
            properties: octets.rest(),
        })
    }
}

/// Appends the header frame of a message of class basic.
#[inline]
pub fn write_header(out: &mut BytesMut, channel: u16, properties: &[u8], body_size: u64) {
    frame::write_frame(out, FrameKind::Header, channel, |out| {
        out.put_u16(BASIC);
        out.put_u16(0);
        out.put_u64(body_size);
        out.put_slice(properties);
    });
}

/// Appends a message's header frame and its body frames, none larger than `frame_max` in all,
/// which is unbounded when zero. An empty body has no frame.
///
/// The body is copied; to send a large one without, use [`body_parts`] and [`frame::write_head`].
#[inline]
pub fn write_content(
    out: &mut BytesMut,
    channel: u16,
    properties: &[u8],
    body: &[u8],
    frame_max: usize,
) {
    out.reserve(HEADER_OVERHEAD + properties.len() + body.len() + OVERHEAD);
    write_header(out, channel, properties, body.len() as u64);
    for part in body_parts(body, frame_max) {
        frame::write_frame(out, FrameKind::Body, channel, |out| out.put_slice(part));
    }
}

/// The payloads of the body frames that carry `body`.
pub fn body_parts(body: &[u8], frame_max: usize) -> std::slice::Chunks<'_, u8> {
    let largest = match frame_max {
        0 => u32::MAX as usize,
        _ => frame_max.saturating_sub(OVERHEAD).max(1),
    };
    body.chunks(largest)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::wire::frame::{Frame, split};

    fn frames(body: &[u8], frame_max: usize) -> Vec<Frame> {
        let mut out = BytesMut::new();
        write_content(&mut out, 3, &[0x10, 0, 2], body, frame_max);
        std::iter::from_fn(|| split(&mut out, frame_max).unwrap()).collect()
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let frames = frames(b"hello", 4096);
        let header = ContentHeader::decode(&frames[0].payload).unwrap();
        let expected =
            ContentHeader { class: 60, weight: 0, body_size: 5, properties: &[0x10, 0, 2] };
        assert_eq!(header, expected);
        assert_eq!(frames[1].payload, Bytes::from_static(b"hello"));
    }

    #[test]
    fn a_body_is_cut_into_frames_of_exactly_frame_max() {
        let sizes: Vec<usize> =
            frames(&[1; 9000], 4096).iter().skip(1).map(|frame| frame.payload.len()).collect();
        assert_eq!(sizes, [4088, 4088, 824]);
    }

    #[test]
    fn an_empty_body_has_no_frame() {
        assert_eq!(frames(b"", 4096).len(), 1);
    }
}
