//! Frames: type, channel, size, payload, end octet; split off a buffer by size, never by scanning.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

use super::{dump::Excerpt, method::Method};
use crate::model::{malformed::Malformed, octets::Octets};

/// Octets before a frame's payload: type, channel, size.
pub const HEAD: usize = 7;

/// Octets of a frame that are not payload.
pub const OVERHEAD: usize = HEAD + 1;

/// The octet that ends every frame.
pub const END: u8 = 0xCE;

/// What a frame carries, as its first octet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    Method,
    Header,
    Body,
    Heartbeat,
    /// None of the protocol's; the frame is still delimited like any other.
    Unknown(u8),
}

impl From<u8> for FrameKind {
    fn from(octet: u8) -> Self {
        match octet {
            1 => Self::Method,
            2 => Self::Header,
            3 => Self::Body,
            8 => Self::Heartbeat,
            unknown => Self::Unknown(unknown),
        }
    }
}

impl From<FrameKind> for u8 {
    fn from(kind: FrameKind) -> Self {
        match kind {
            FrameKind::Method => 1,
            FrameKind::Header => 2,
            FrameKind::Body => 3,
            FrameKind::Heartbeat => 8,
            FrameKind::Unknown(octet) => octet,
        }
    }
}

/// A frame that shares the memory it was read into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: FrameKind,
    pub channel: u16,
    pub payload: Bytes,
}

/// A frame that borrows from the buffer it was read into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameView<'a> {
    pub kind: FrameKind,
    pub channel: u16,
    pub payload: &'a [u8],
}

impl FrameView<'_> {
    /// Octets the whole frame takes in the buffer.
    pub fn size(&self) -> usize {
        self.payload.len() + OVERHEAD
    }

    /// Type and first octets, for the text of an error.
    pub fn excerpt(&self) -> Excerpt {
        Excerpt::new(self.kind, self.payload)
    }
}

impl Frame {
    /// Type and first octets, for the text of an error.
    pub fn excerpt(&self) -> Excerpt {
        Excerpt::new(self.kind, &self.payload)
    }
}

/// Why the peer's octets cannot be cut into frames; the text is what RabbitMQ's reply says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    #[error("{excerpt}: {{frame_too_large,{size},{largest}}}")]
    TooLarge { excerpt: Excerpt, size: usize, largest: usize },
    #[error("{excerpt}: {{invalid_frame_end_marker,{end}}}")]
    WrongEnd { excerpt: Excerpt, end: u8 },
}

/// The frame that `buffer` begins with, once all of it is there.
///
/// A payload may be as large as `frame_max`, eight octets more than the specification grants, and
/// is unbounded when that is zero; its size is judged as soon as the head is there (RabbitMQ 3.10).
#[inline]
pub fn view(buffer: &[u8], frame_max: usize) -> Result<Option<FrameView<'_>>, FrameError> {
    let mut octets = Octets::new(buffer);
    let Ok((kind, channel, size)) = head(&mut octets) else {
        return Ok(None);
    };
    if frame_max != 0 && size > frame_max {
        let largest = frame_max.saturating_sub(OVERHEAD);
        return Err(FrameError::TooLarge { excerpt: Excerpt::new(kind, &[]), size, largest });
    }
    let (Ok(payload), Ok(end)) = (octets.take(size), octets.u8()) else {
        return Ok(None);
    };
    if end != END {
        return Err(FrameError::WrongEnd { excerpt: Excerpt::new(kind, payload), end });
    }
    Ok(Some(FrameView { kind, channel, payload }))
}

/// Takes the frame that `buffer` begins with off it, as [`view`] sees it.
pub fn split(buffer: &mut BytesMut, frame_max: usize) -> Result<Option<Frame>, FrameError> {
    let Some(found) = view(buffer, frame_max)? else {
        return Ok(None);
    };
    let (kind, channel, size) = (found.kind, found.channel, found.size());
    let payload = buffer.split_to(size).freeze().slice(HEAD..size - 1);
    Ok(Some(Frame { kind, channel, payload }))
}

#[inline]
fn head(octets: &mut Octets<'_>) -> Result<(FrameKind, u16, usize), Malformed> {
    Ok((FrameKind::from(octets.u8()?), octets.u16()?, octets.u32()? as usize))
}

/// Appends what stands before a payload of `size` octets.
#[inline]
pub fn write_head(out: &mut BytesMut, kind: FrameKind, channel: u16, size: u32) {
    out.put_u8(kind.into());
    out.put_u16(channel);
    out.put_u32(size);
}

/// Appends a frame whose payload `write` appends.
///
/// # Panics
/// When the payload does not fit 32 bits.
#[inline]
pub fn write_frame(
    out: &mut BytesMut,
    kind: FrameKind,
    channel: u16,
    write: impl FnOnce(&mut BytesMut),
) {
    let start = out.len();
    write_head(out, kind, channel, 0);
    write(out);
    let size = u32::try_from(out.len() - start - HEAD).expect("a payload is below 4 GiB");
    if let Some(place) = out.get_mut(start + 3..start + HEAD) {
        place.copy_from_slice(&size.to_be_bytes());
    }
    out.put_u8(END);
}

/// Appends a method frame.
pub fn write_method(out: &mut BytesMut, channel: u16, method: &Method) {
    write_frame(out, FrameKind::Method, channel, |out| method.encode(out));
}

/// Appends a heartbeat: no payload, on channel 0.
pub fn write_heartbeat(out: &mut BytesMut) {
    write_frame(out, FrameKind::Heartbeat, 0, |_| {});
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(kind: u8, payload: &[u8], end: u8) -> BytesMut {
        let mut out = BytesMut::new();
        write_frame(&mut out, kind.into(), 9, |out| out.put_slice(payload));
        out.truncate(out.len() - 1);
        out.put_u8(end);
        out
    }

    #[test]
    fn a_frame_is_split_off_once_its_last_octet_is_there() {
        let whole = octets(3, b"body", END);
        for size in 0..whole.len() {
            let mut part = BytesMut::from(&whole[..size]);
            assert_eq!(split(&mut part, 0), Ok(None));
            assert_eq!(part.len(), size);
        }
        let mut two = whole.clone();
        two.extend_from_slice(&whole);
        let expected = Frame { kind: FrameKind::Body, channel: 9, payload: "body".into() };
        assert_eq!(split(&mut two, 0), Ok(Some(expected.clone())));
        assert_eq!(split(&mut two, 0), Ok(Some(expected)));
        assert!(two.is_empty());
    }

    #[test]
    fn a_payload_may_be_as_large_as_frame_max() {
        assert!(matches!(split(&mut octets(3, &[0; 4096], END), 4096), Ok(Some(_))));
        assert!(matches!(split(&mut octets(3, &[0; 4097], END), 0), Ok(Some(_))));
    }

    #[test]
    fn a_payload_that_is_too_large_is_refused_from_its_head() {
        let error = split(&mut BytesMut::from(&[3, 0, 1, 0, 2, 0, 1][..]), 131_072).unwrap_err();
        assert_eq!(error.to_string(), "type 3, all octets = <<>>: {frame_too_large,131073,131064}");
    }

    #[test]
    fn a_wrong_end_octet_is_refused() {
        let error = split(&mut octets(1, b"abc", 0), 4096).unwrap_err();
        assert_eq!(
            error.to_string(),
            "type 1, all octets = <<\"abc\">>: {invalid_frame_end_marker,0}"
        );
    }

    #[test]
    fn a_frame_of_unknown_type_is_delimited_like_any_other() {
        let frame = split(&mut octets(5, b"abc", END), 4096).unwrap().unwrap();
        assert_eq!(frame.kind, FrameKind::Unknown(5));
        assert_eq!(frame.excerpt().to_string(), "type 5, all octets = <<\"abc\">>");
    }
}
