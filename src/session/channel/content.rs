//! A publish method, its header and its body frames become one publication.

use bytes::{Bytes, BytesMut};

use crate::{
    model::{Message, PACKED_BODY_LIMIT},
    session::exception::{BODY_CEILING, Exception, Fault, MethodId, NO_METHOD},
    wire::{
        basic::PublishView,
        content::{BASIC, ContentHeader},
        frame::{END, HEAD, OVERHEAD},
    },
};

/// The method that content faults are blamed on.
pub(in crate::session) const PUBLISH: MethodId = (60, 40);

/// A buffer that has grown beyond this is not kept for the next message.
const KEPT_BUFFER: usize = 4 * 1024;

/// A body of this many octets is shared with the input's memory. A smaller one that waits for long
/// would keep too much beside itself.
const SHARED_BODY: usize = 16 * 1024;

/// Where a channel stands within the frames of a message.
#[derive(Debug, Default)]
pub(super) struct Content {
    expects: Expects,
    mandatory: bool,
    immediate: bool,
    exchange_length: usize,
    routing_key_length: usize,
    /// Exchange, routing key and properties, in a row.
    head: Vec<u8>,
    body_size: u64,
    received: u64,
    body: Body,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expects {
    #[default]
    Method,
    Header,
    Body,
}

#[derive(Debug, Default)]
enum Body {
    #[default]
    None,
    /// All of it, where it was read.
    Shared(Bytes),
    /// Joined from several frames, or small.
    Joined(BytesMut),
}

/// A message that is whole.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) message: Message,
    pub(super) mandatory: bool,
    pub(super) immediate: bool,
}

impl Content {
    /// Whether a method may come.
    pub(super) fn is_idle(&self) -> bool {
        self.expects == Expects::Method
    }

    /// The fault of a method that comes too early.
    pub(super) fn interrupted(&self) -> Exception {
        match self.expects {
            Expects::Method | Expects::Header => Fault::ExpectedHeader.by(PUBLISH),
            Expects::Body => Fault::ExpectedBody.by(PUBLISH),
        }
    }

    pub(super) fn begin(&mut self, publish: PublishView<'_>) {
        self.expects = Expects::Header;
        self.mandatory = publish.mandatory;
        self.immediate = publish.immediate;
        self.exchange_length = publish.exchange.len();
        self.routing_key_length = publish.routing_key.len();
        self.head.clear();
        self.head.extend_from_slice(publish.exchange);
        self.head.extend_from_slice(publish.routing_key);
        self.body = Body::None;
        self.received = 0;
    }

    /// Takes the header; whether the message is whole with it.
    pub(super) fn header(&mut self, payload: &[u8]) -> Result<bool, Exception> {
        match self.expects {
            Expects::Method => return Err(Fault::ExpectedMethod.by(NO_METHOD)),
            Expects::Header => {}
            Expects::Body => return Err(Fault::ExpectedBody.by(PUBLISH)),
        }
        let header =
            ContentHeader::decode(payload).map_err(|_| Fault::ExpectedHeader.by(PUBLISH))?;
        if header.class != BASIC {
            return Err(Fault::WrongContentClass(header.class).by(PUBLISH));
        }
        if header.weight != 0 {
            return Err(Fault::ExpectedHeader.by(PUBLISH));
        }
        if header.body_size > BODY_CEILING {
            return Err(Fault::BodyAboveCeiling(header.body_size).by(PUBLISH));
        }
        self.head.extend_from_slice(header.properties);
        self.body_size = header.body_size;
        self.expects = Expects::Body;
        Ok(header.body_size == 0)
    }

    /// Whether a body frame of that length is worth sharing instead of copying.
    pub(super) fn would_share(&self, length: usize) -> bool {
        let is_all = self.expects == Expects::Body && self.received == 0;
        is_all && length >= SHARED_BODY && length as u64 == self.body_size
    }

    /// Takes a body that is all in one frame, as [`Self::would_share`] has said.
    pub(super) fn share_body(&mut self, body: Bytes) {
        self.received = body.len() as u64;
        self.body = Body::Shared(body);
    }

    /// Takes a part of the body; whether the message is whole with it. Of a body larger than
    /// `limit` nothing is kept: its length is reported when it ends.
    pub(super) fn body(&mut self, part: &[u8], limit: u64) -> Result<bool, Exception> {
        match self.expects {
            Expects::Method => return Err(Fault::ExpectedMethod.by(NO_METHOD)),
            Expects::Header => return Err(Fault::ExpectedHeader.by(PUBLISH)),
            Expects::Body => {}
        }
        let received = self.received + part.len() as u64;
        if received > self.body_size {
            return Err(Fault::BodyTooLong.by(PUBLISH));
        }
        self.received = received;
        if self.body_size <= limit {
            self.join(part);
        }
        Ok(received == self.body_size)
    }

    /// The size announced, when it is more than `limit`.
    pub(super) fn is_above(&self, limit: u64) -> Option<u64> {
        (self.body_size > limit).then_some(self.body_size)
    }

    /// The message, packed into `arena`; a method may follow.
    pub(super) fn finish(&mut self, arena: &mut BytesMut) -> Whole {
        self.expects = Expects::Method;
        let (exchange, rest) = self.head.split_at(self.exchange_length);
        let (routing_key, properties) = rest.split_at(self.routing_key_length);
        let message = match std::mem::take(&mut self.body) {
            Body::None => Message::copy(arena, exchange, routing_key, properties, &[]),
            Body::Shared(body) => Message::pack(arena, exchange, routing_key, properties, body),
            Body::Joined(body) if body.len() <= PACKED_BODY_LIMIT => {
                Message::copy(arena, exchange, routing_key, properties, &body)
            }
            Body::Joined(body) => {
                Message::pack(arena, exchange, routing_key, properties, body.freeze())
            }
        };
        if self.head.capacity() > KEPT_BUFFER {
            self.head = Vec::new();
        }
        Whole { message, mandatory: self.mandatory, immediate: self.immediate }
    }

    fn join(&mut self, part: &[u8]) {
        if let Body::Joined(joined) = &mut self.body {
            return joined.extend_from_slice(part);
        }
        // What was announced costs nothing yet: more parts of this length are likely, no more.
        let reserved = self.body_size.min(2 * part.len() as u64);
        let mut joined = BytesMut::with_capacity(reserved as usize);
        joined.extend_from_slice(part);
        self.body = Body::Joined(joined);
    }
}

/// The frames of one small message that lie in a row: what almost every publication is.
#[derive(Debug)]
pub(in crate::session) struct Row<'a> {
    pub(in crate::session) channel: u16,
    pub(in crate::session) exchange: &'a [u8],
    pub(in crate::session) routing_key: &'a [u8],
    pub(in crate::session) mandatory: bool,
    pub(in crate::session) properties: &'a [u8],
    pub(in crate::session) body: &'a [u8],
    /// Octets that the frames take in the input.
    pub(in crate::session) length: usize,
}

impl<'a> Row<'a> {
    /// Reads the row that `input` begins with. Anything unusual gives none, and takes the long way,
    /// frame by frame, which knows every fault.
    #[inline]
    pub(in crate::session) fn read(input: &'a [u8], largest: usize) -> Option<Self> {
        let (channel, publish, rest) = payload(input, 1, largest)?;
        let [0, 60, 0, 40, _, _, exchange_length, after @ ..] = publish else {
            return None;
        };
        let (exchange, after) = after.split_at_checked(usize::from(*exchange_length))?;
        let (routing_key_length, after) = after.split_first()?;
        let (routing_key, after) = after.split_at_checked(usize::from(*routing_key_length))?;
        let [bits] = after else {
            return None;
        };
        let (header_channel, header, rest) = payload(rest, 2, largest)?;
        let [0, 60, 0, 0, 0, 0, 0, 0, size @ ..] = header else {
            return None;
        };
        let (size, properties) = size.split_first_chunk::<4>()?;
        let size = u32::from_be_bytes(*size) as usize;
        let is_usual = *bits & 2 == 0 && header_channel == channel && channel != 0;
        if !is_usual || size > PACKED_BODY_LIMIT {
            return None;
        }
        let (body, rest) = match size {
            0 => (&[][..], rest),
            size => {
                let (body_channel, body, rest) = payload(rest, 3, largest)?;
                if body_channel != channel || body.len() != size {
                    return None;
                }
                (body, rest)
            }
        };
        let length = input.len() - rest.len();
        let mandatory = *bits & 1 != 0;
        Some(Self { channel, exchange, routing_key, mandatory, properties, body, length })
    }
}

/// The payload of a whole and sound frame of that type, its channel, and what follows it.
#[inline]
fn payload(input: &[u8], kind: u8, largest: usize) -> Option<(u16, &[u8], &[u8])> {
    let (head, rest) = input.split_first_chunk::<HEAD>()?;
    let [found, high, low, size @ ..] = *head;
    let size = u32::from_be_bytes(size) as usize;
    if found != kind || size > largest || rest.len() < size + OVERHEAD - HEAD {
        return None;
    }
    let (payload, rest) = rest.split_at(size);
    let (end, rest) = rest.split_first()?;
    (*end == END).then(|| (u16::from_be_bytes([high, low]), payload, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{
        content::write_content,
        frame::{self, FrameKind},
        method::BasicPublish,
    };

    fn published(body: &[u8]) -> BytesMut {
        let mut octets = BytesMut::new();
        let publish = BasicPublish {
            exchange: "logs".try_into().unwrap(),
            routing_key: "a.b".try_into().unwrap(),
            mandatory: true,
            ..BasicPublish::default()
        };
        frame::write_method(&mut octets, 3, &publish.into());
        write_content(&mut octets, 3, &[0x10, 0, 2], body, 4096);
        octets
    }

    fn begun() -> Content {
        let mut content = Content::default();
        let view = PublishView {
            exchange: b"logs",
            routing_key: b"a.b",
            mandatory: true,
            immediate: false,
        };
        content.begin(view);
        content
    }

    fn header(size: u64) -> BytesMut {
        let mut octets = BytesMut::new();
        crate::wire::content::write_header(&mut octets, 1, &[0, 0], size);
        let payload = octets.split_off(HEAD);
        payload.clone().split_to(payload.len() - 1)
    }

    #[test]
    fn frames_in_a_row_are_read_at_once() {
        for body in [&b""[..], b"hello", &[1; 2048]] {
            let mut octets = published(body);
            let length = octets.len();
            frame::write_frame(&mut octets, FrameKind::Heartbeat, 0, |_| {});
            let row = Row::read(&octets, 4096).unwrap();
            assert_eq!((row.channel, row.length, row.mandatory), (3, length, true));
            assert_eq!((row.exchange, row.routing_key), (&b"logs"[..], &b"a.b"[..]));
            assert_eq!((row.properties, row.body), (&[0x10, 0, 2][..], body));
            for missing in 0..length {
                assert!(Row::read(&octets[..missing], 4096).is_none());
            }
        }
    }

    #[test]
    fn an_unusual_row_takes_the_long_way() {
        assert!(Row::read(&published(&[1; 2049]), 4096).is_none());
        let mut broken = published(b"hello");
        let end = broken.len() - 1;
        broken[end] = 0;
        assert!(Row::read(&broken, 4096).is_none());
    }

    #[test]
    fn a_body_is_joined_from_its_frames() {
        let mut content = begun();
        assert_eq!(content.header(&header(5)), Ok(false));
        assert_eq!(content.body(b"he", 100), Ok(false));
        assert_eq!(content.body(b"", 100), Ok(false));
        assert_eq!(content.body(b"llo", 100), Ok(true));
        let whole = content.finish(&mut BytesMut::new());
        assert!(whole.mandatory && content.is_idle());
        assert_eq!(whole.message, Message::new(b"logs", b"a.b", &[0, 0], b"hello"[..].into()));
    }

    #[test]
    fn a_large_body_in_one_frame_is_shared() {
        for (size, length, is_shared) in
            [(20_000, 20_000, true), (4000, 4000, false), (20_000, 19_999, false)]
        {
            let mut content = begun();
            assert_eq!(content.header(&header(size)), Ok(false));
            assert_eq!(content.would_share(length), is_shared, "{length} of {size}");
        }
        let body = Bytes::from(vec![7; 20_000]);
        let mut content = begun();
        assert_eq!(content.header(&header(20_000)), Ok(false));
        content.share_body(body.clone());
        let whole = content.finish(&mut BytesMut::new());
        assert_eq!(whole.message.body().as_ptr(), body.as_ptr());
    }

    #[test]
    fn a_message_without_a_body_is_whole_with_its_header() {
        let mut content = begun();
        assert_eq!(content.header(&header(0)), Ok(true));
        assert!(content.finish(&mut BytesMut::new()).message.body().is_empty());
    }

    #[test]
    fn frames_out_of_order_are_faults() {
        let mut content = Content::default();
        assert_eq!(content.header(&header(1)), Err(Fault::ExpectedMethod.by(NO_METHOD)));
        let mut content = begun();
        assert_eq!(content.body(b"x", 9), Err(Fault::ExpectedHeader.by(PUBLISH)));
        assert_eq!(content.header(&header(1)), Ok(false));
        assert_eq!(content.header(&header(1)), Err(Fault::ExpectedBody.by(PUBLISH)));
        assert_eq!(content.body(b"xy", 9), Err(Fault::BodyTooLong.by(PUBLISH)));
        let above = Fault::BodyAboveCeiling(BODY_CEILING + 1).by(PUBLISH);
        assert_eq!(begun().header(&header(BODY_CEILING + 1)), Err(above));
    }

    #[test]
    fn of_a_body_above_the_limit_nothing_is_kept() {
        let mut content = begun();
        assert_eq!(content.header(&header(2000)), Ok(false));
        assert_eq!(content.body(&[0; 1000], 1500), Ok(false));
        assert!(matches!(content.body, Body::None));
        assert_eq!(content.body(&[0; 1000], 1500), Ok(true));
        assert_eq!(content.is_above(1500), Some(2000));
    }
}
