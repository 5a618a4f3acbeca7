//! Reads what a broker sends, frame by frame, with no more parsing than counting needs.

use super::failure::Failure;
use crate::wire::frame::{self, FrameKind, FrameView};

const RETURN: u32 = 60 << 16 | 50;
const DELIVER: u32 = 60 << 16 | 60;
const ACK: u32 = 60 << 16 | 80;
const NACK: u32 = 60 << 16 | 120;

/// The octets at the front of a body that say who sent it, and as which of its messages.
pub(super) const STAMP: usize = 16;

/// A message that has arrived whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Delivery {
    /// The first two octets of the consumer tag: see [`super::template::consumer_tag`].
    pub consumer: [u8; 2],
    pub tag: u64,
    pub redelivered: bool,
    /// The front of the body, zeros where it is shorter.
    pub stamp: [u8; STAMP],
}

/// The broker's word on published messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Confirm {
    pub tag: u64,
    pub multiple: bool,
    /// It has the message; otherwise it refuses it.
    pub positive: bool,
}

/// Takes what the scanner finds.
pub(super) trait Receiver {
    fn delivery(&mut self, delivery: &Delivery);
    fn confirm(&mut self, confirm: Confirm);
    fn returned(&mut self);
    /// Any other method; `payload` begins with its class and method.
    fn method(&mut self, channel: u16, payload: &[u8]) -> Result<(), Failure>;
}

/// Remembers the content that is under way between one buffer and the next.
///
/// A connection of the load generator has its consumers on one channel, so that one content at a
/// time is enough.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    content: Content,
    delivery: Delivery,
    stamped: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Content {
    #[default]
    None,
    Header {
        returned: bool,
    },
    Body {
        returned: bool,
        missing: u64,
    },
}

impl Scanner {
    /// Hands the whole frames at the front of `bytes` to `receiver`, and says how many octets they
    /// are; the rest belongs to the front of the next call.
    pub(super) fn scan(
        &mut self,
        bytes: &[u8],
        receiver: &mut impl Receiver,
    ) -> Result<usize, Failure> {
        let mut at = 0;
        while let Some(frame) = first_frame(&bytes[at..])? {
            at += frame.size();
            match frame.kind {
                FrameKind::Method => self.method(&frame, receiver)?,
                FrameKind::Header => self.header(frame.payload, receiver)?,
                FrameKind::Body => self.body(frame.payload, receiver)?,
                FrameKind::Heartbeat => {}
                FrameKind::Unknown(kind) => {
                    return Err(Failure::Unexpected(format!("a frame of type {kind}")));
                }
            }
        }
        Ok(at)
    }

    fn method(
        &mut self,
        frame: &FrameView<'_>,
        receiver: &mut impl Receiver,
    ) -> Result<(), Failure> {
        let payload = frame.payload;
        match number(payload, 0)? {
            DELIVER => {
                let length = usize::from(*payload.get(4).ok_or_else(truncated)?);
                let rest = payload.get(5 + length..).ok_or_else(truncated)?;
                self.delivery.tag = long_number(rest, 0)?;
                self.delivery.redelivered = rest.get(8).is_some_and(|bits| bits & 1 != 0);
                self.delivery.consumer = match payload.get(5..7) {
                    Some(tag) if length >= 2 => [tag[0], tag[1]],
                    _ => [0, 0],
                };
                self.content = Content::Header { returned: false };
            }
            ACK => receiver.confirm(confirm(payload, true)?),
            NACK => receiver.confirm(confirm(payload, false)?),
            RETURN => self.content = Content::Header { returned: true },
            _ => receiver.method(frame.channel, payload)?,
        }
        Ok(())
    }

    fn header(&mut self, payload: &[u8], receiver: &mut impl Receiver) -> Result<(), Failure> {
        let Content::Header { returned } = self.content else {
            return Err(Failure::Unexpected("a content header without a method".to_owned()));
        };
        let size = long_number(payload, 4)?;
        self.stamped = 0;
        self.delivery.stamp = [0; STAMP];
        self.content = Content::Body { returned, missing: size };
        if size == 0 {
            self.finish(returned, receiver);
        }
        Ok(())
    }

    fn body(&mut self, payload: &[u8], receiver: &mut impl Receiver) -> Result<(), Failure> {
        let Content::Body { returned, missing } = self.content else {
            return Err(Failure::Unexpected("a body without a content header".to_owned()));
        };
        if self.stamped < STAMP {
            let taken = payload.len().min(STAMP - self.stamped);
            let place = self.stamped..self.stamped + taken;
            self.delivery.stamp[place].copy_from_slice(&payload[..taken]);
            self.stamped += taken;
        }
        let missing = missing
            .checked_sub(payload.len() as u64)
            .ok_or_else(|| Failure::Unexpected("a body longer than announced".to_owned()))?;
        self.content = Content::Body { returned, missing };
        if missing == 0 {
            self.finish(returned, receiver);
        }
        Ok(())
    }

    fn finish(&mut self, returned: bool, receiver: &mut impl Receiver) {
        self.content = Content::None;
        if returned {
            receiver.returned();
        } else {
            receiver.delivery(&self.delivery);
        }
    }
}

/// The payloads of the method frames in `bytes`, which begin at a frame, up to the first that is
/// not whole: for a glance at what waits, without taking it.
pub(super) fn methods(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        loop {
            let frame = first_frame(bytes).ok()??;
            bytes = &bytes[frame.size()..];
            if frame.kind == FrameKind::Method {
                return Some(frame.payload);
            }
        }
    })
}

/// More than any broker's frames; what claims to be larger is another protocol.
const LARGEST_FRAME: usize = 1 << 24;

#[inline]
fn first_frame(bytes: &[u8]) -> Result<Option<FrameView<'_>>, Failure> {
    frame::view(bytes, LARGEST_FRAME).map_err(|error| Failure::Unexpected(error.to_string()))
}

fn confirm(payload: &[u8], positive: bool) -> Result<Confirm, Failure> {
    let multiple = payload.get(12).is_some_and(|bits| bits & 1 != 0);
    Ok(Confirm { tag: long_number(payload, 4)?, multiple, positive })
}

fn number(bytes: &[u8], at: usize) -> Result<u32, Failure> {
    let octets = bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or_else(truncated)?;
    Ok(u32::from_be_bytes(*octets))
}

fn long_number(bytes: &[u8], at: usize) -> Result<u64, Failure> {
    let octets = bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or_else(truncated)?;
    Ok(u64::from_be_bytes(*octets))
}

fn truncated() -> Failure {
    Failure::Unexpected("a frame that ends too early".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, Debug, PartialEq)]
    struct Found {
        deliveries: Vec<Delivery>,
        confirms: Vec<Confirm>,
        returned: usize,
        methods: Vec<(u16, Vec<u8>)>,
    }

    impl Receiver for Found {
        fn delivery(&mut self, delivery: &Delivery) {
            self.deliveries.push(*delivery);
        }
        fn confirm(&mut self, confirm: Confirm) {
            self.confirms.push(confirm);
        }
        fn returned(&mut self) {
            self.returned += 1;
        }
        fn method(&mut self, channel: u16, payload: &[u8]) -> Result<(), Failure> {
            self.methods.push((channel, payload.to_vec()));
            Ok(())
        }
    }

    fn framed(kind: FrameKind, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind.into(), 0, 1];
        bytes.extend((payload.len() as u32).to_be_bytes());
        bytes.extend(payload);
        bytes.push(frame::END);
        bytes
    }

    fn header(size: u64) -> Vec<u8> {
        let mut payload = vec![0, 60, 0, 0];
        payload.extend(size.to_be_bytes());
        payload.extend([0, 0]);
        framed(FrameKind::Header, &payload)
    }

    fn deliver(tag: u64, redelivered: bool) -> Vec<u8> {
        let mut payload = vec![0, 60, 0, 60, 2, b'0', b'7'];
        payload.extend(tag.to_be_bytes());
        payload.extend([u8::from(redelivered), 0, 1, b'q']);
        framed(FrameKind::Method, &payload)
    }

    fn confirmation(method: u8, tag: u64, bits: u8) -> Vec<u8> {
        let mut payload = vec![0, 60, 0, method];
        payload.extend(tag.to_be_bytes());
        payload.push(bits);
        framed(FrameKind::Method, &payload)
    }

    fn conversation() -> Vec<u8> {
        let returned = framed(FrameKind::Method, &[0, 60, 0, 50, 1, 56, 0, 0, 0]);
        [
            deliver(1, false),
            header(20),
            framed(FrameKind::Body, &[1, 2, 3]),
            framed(FrameKind::Heartbeat, &[]),
            framed(FrameKind::Body, &[4; 17]),
            confirmation(80, 9, 1),
            confirmation(120, 10, 2),
            returned,
            header(2),
            framed(FrameKind::Body, b"no"),
            deliver(2, true),
            header(0),
            framed(FrameKind::Method, &[0, 20, 0, 41]),
        ]
        .concat()
    }

    fn check_conversation(found: &Found) {
        let stamp = [1, 2, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4];
        let consumer = *b"07";
        assert_eq!(
            found.deliveries,
            [
                Delivery { consumer, tag: 1, redelivered: false, stamp },
                Delivery { consumer, tag: 2, redelivered: true, stamp: [0; STAMP] },
            ]
        );
        assert_eq!(
            found.confirms,
            [
                Confirm { tag: 9, multiple: true, positive: true },
                Confirm { tag: 10, multiple: false, positive: false },
            ]
        );
        assert_eq!(found.returned, 1);
        assert_eq!(found.methods, [(1, vec![0, 20, 0, 41])]);
    }

    #[test]
    fn a_conversation_is_understood_wherever_it_is_cut_in_two() {
        let bytes = conversation();
        for cut in 0..=bytes.len() {
            let (mut scanner, mut found) = (Scanner::default(), Found::default());
            let taken = scanner.scan(&bytes[..cut], &mut found).unwrap();
            assert!(taken <= cut);
            assert_eq!(scanner.scan(&bytes[taken..], &mut found).unwrap(), bytes.len() - taken);
            check_conversation(&found);
        }
    }

    #[test]
    fn a_conversation_is_understood_octet_by_octet() {
        let (mut scanner, mut found) = (Scanner::default(), Found::default());
        let mut waiting = Vec::new();
        for octet in conversation() {
            waiting.push(octet);
            let taken = scanner.scan(&waiting, &mut found).unwrap();
            waiting.drain(..taken);
        }
        check_conversation(&found);
    }

    #[test]
    fn a_glance_sees_the_methods_that_wait() {
        let bytes = conversation();
        let seen: Vec<_> = methods(&bytes[..bytes.len() - 1]).map(|payload| payload[3]).collect();
        assert_eq!(seen, [60, 80, 120, 50, 60]);
    }

    #[test]
    fn another_protocol_is_not_waited_for() {
        for bytes in
            [&b"HTTP/1.1 400 Bad"[..], &[1, 0, 0, 0, 0, 0, 0, 7], &[9, 0, 0, 0, 0, 0, 0, 206]]
        {
            assert!(Scanner::default().scan(bytes, &mut Found::default()).is_err());
        }
    }

    #[test]
    fn content_out_of_turn_is_refused() {
        for bytes in [
            header(3),
            framed(FrameKind::Body, b"x"),
            [deliver(1, false), framed(FrameKind::Body, b"x")].concat(),
        ] {
            assert!(Scanner::default().scan(&bytes, &mut Found::default()).is_err());
        }
        let too_long = [deliver(1, false), header(1), framed(FrameKind::Body, b"xy")].concat();
        assert!(Scanner::default().scan(&too_long, &mut Found::default()).is_err());
    }
}
