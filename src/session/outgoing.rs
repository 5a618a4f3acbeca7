//! What is to be written: frames in order, small ones in one run, large bodies shared.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    model::Message,
    wire::{
        content,
        frame::{self, END, FrameKind, HEAD, OVERHEAD},
        method::Method,
    },
};

/// A body of this many octets is shared instead of copied.
const SHARED_BODY: usize = 4096;

/// The run of octets that a connection begins with: enough for a few replies.
const FIRST_RUN: usize = 2 * 1024;

/// The runs that follow while there is more to write.
const NEXT_RUN: usize = 32 * 1024;

/// Frames that wait to be written.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Whole runs and shared bodies, in order.
    runs: Vec<Bytes>,
    /// The run that frames are appended to.
    open: BytesMut,
    frame_max: usize,
}

impl Outgoing {
    pub(super) fn new(frame_max: usize) -> Self {
        Self { runs: Vec::new(), open: BytesMut::new(), frame_max }
    }

    /// Bodies are cut into frames of at most `frame_max` octets; 0 is no limit.
    pub(super) fn limit_frames_to(&mut self, frame_max: usize) {
        self.frame_max = frame_max;
    }

    /// Octets that are no frame: the protocol header.
    pub(super) fn octets(&mut self, octets: &[u8]) {
        self.room_for(octets.len()).put_slice(octets);
    }

    pub(super) fn method(&mut self, channel: u16, method: impl Into<Method>) {
        frame::write_method(self.room_for(FIRST_RUN), channel, &method.into());
    }

    pub(super) fn heartbeat(&mut self) {
        frame::write_heartbeat(self.room_for(OVERHEAD));
    }

    /// `basic.ack` or `basic.nack` of publications; a nack has the requeue bit set, as RabbitMQ's.
    pub(super) fn confirm(&mut self, channel: u16, number: u64, multiple: bool, positive: bool) {
        let [high, low] = channel.to_be_bytes();
        let (method, bits) =
            if positive { (80, u8::from(multiple)) } else { (120, u8::from(multiple) | 2) };
        let out = self.room_for(HEAD + 14);
        out.put_slice(&[1, high, low, 0, 0, 0, 13, 0, 60, 0, method]);
        out.put_u64(number);
        out.put_slice(&[bits, END]);
    }

    /// A delivery's method, header and body.
    ///
    /// `prefix` is the method's payload up to the delivery tag, the same for all of a consumer.
    #[inline]
    pub(super) fn delivery(
        &mut self,
        channel: u16,
        prefix: &[u8],
        delivery_tag: u64,
        redelivered: bool,
        message: &Message,
    ) {
        let (address, properties) = (message.address(), message.properties());
        let payload = prefix.len() + 11 + address.len();
        let method = 2 * OVERHEAD + payload + 12 + properties.len();
        let body = message.body();
        let is_copied = body.len() < SHARED_BODY;
        let out = self.room_for(method + if is_copied { OVERHEAD + body.len() } else { 0 });
        let (exchange, routing_key) = address.split_at(message.exchange_length());

        put_head(out, 1, channel, payload);
        out.extend_from_slice(prefix);
        let mut fixed = [0; 10];
        fixed[..8].copy_from_slice(&delivery_tag.to_be_bytes());
        fixed[8] = u8::from(redelivered);
        fixed[9] = exchange.len() as u8;
        out.extend_from_slice(&fixed);
        out.extend_from_slice(exchange);
        out.put_u8(routing_key.len() as u8);
        out.extend_from_slice(routing_key);
        out.put_u8(END);
        self.content(channel, properties, body);
    }

    /// A method that carries content, and its content.
    pub(super) fn with_content(&mut self, channel: u16, method: Method, message: &Message) {
        self.method(channel, method);
        self.content(channel, message.properties(), message.body());
    }

    /// Moves everything to `out`; whether there was anything.
    pub(super) fn take(&mut self, out: &mut VecDeque<Bytes>) -> bool {
        if self.is_empty() {
            return false;
        }
        out.extend(self.runs.drain(..));
        if !self.open.is_empty() {
            // The rest of the run goes along: an idle connection keeps no buffer.
            out.push_back(std::mem::take(&mut self.open).freeze());
        }
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.runs.is_empty()
    }

    #[inline]
    fn content(&mut self, channel: u16, properties: &[u8], body: &Bytes) {
        let largest_body = match self.frame_max {
            0 => usize::MAX,
            frame_max => frame_max - OVERHEAD,
        };
        if body.len() >= SHARED_BODY || body.len() > largest_body {
            return self.large_content(channel, properties, body);
        }
        let out = self.room_for(2 * OVERHEAD + 12 + properties.len() + body.len());
        put_head(out, 2, channel, 12 + properties.len());
        let mut fixed = [0, content::BASIC as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        fixed[4..].copy_from_slice(&(body.len() as u64).to_be_bytes());
        out.extend_from_slice(&fixed);
        out.extend_from_slice(properties);
        out.put_u8(END);
        if !body.is_empty() {
            put_head(out, 3, channel, body.len());
            out.extend_from_slice(body);
            out.put_u8(END);
        }
    }

    #[cold]
    fn large_content(&mut self, channel: u16, properties: &[u8], body: &Bytes) {
        let out = self.room_for(2 * OVERHEAD + 12 + properties.len());
        content::write_header(out, channel, properties, body.len() as u64);
        for part in content::body_parts(body, self.frame_max) {
            let size = u32::try_from(part.len()).expect("a part is at most 4 GiB");
            frame::write_head(self.room_for(HEAD), FrameKind::Body, channel, size);
            if part.len() < SHARED_BODY {
                self.room_for(part.len()).put_slice(part);
            } else {
                self.close_run();
                self.runs.push(body.slice_ref(part));
            }
            self.room_for(1).put_u8(END);
        }
    }

    /// The open run, with room for so many octets: appending them moves nothing.
    #[inline]
    fn room_for(&mut self, octets: usize) -> &mut BytesMut {
        if self.open.capacity() - self.open.len() < octets {
            self.next_run(octets);
        }
        &mut self.open
    }

    #[cold]
    fn next_run(&mut self, octets: usize) {
        let is_first = self.open.is_empty() && self.runs.is_empty();
        self.close_run();
        let usual = if is_first { FIRST_RUN } else { NEXT_RUN };
        self.open = BytesMut::with_capacity(octets.max(usual));
    }

    fn close_run(&mut self) {
        if !self.open.is_empty() {
            self.runs.push(self.open.split().freeze());
        }
    }
}

#[inline]
fn put_head(out: &mut BytesMut, kind: u8, channel: u16, size: usize) {
    let [high, low] = channel.to_be_bytes();
    let [first, second, third, fourth] = (size as u32).to_be_bytes();
    out.extend_from_slice(&[kind, high, low, first, second, third, fourth]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{
        basic::DeliverView,
        method::{BasicAck, BasicNack},
    };

    fn written(outgoing: &mut Outgoing) -> Vec<u8> {
        let mut out = VecDeque::new();
        outgoing.take(&mut out);
        assert!(outgoing.is_empty());
        out.iter().flat_map(|run| run.to_vec()).collect()
    }

    fn delivery(body: &[u8], frame_max: usize) {
        let message = Message::new(b"logs", b"a.b", &[0x10, 0, 2], body.to_vec().into());
        let mut outgoing = Outgoing::new(frame_max);
        outgoing.delivery(5, b"\0\x3c\0\x3c\x03tag", 9, true, &message);

        let mut expected = BytesMut::new();
        let view = DeliverView {
            consumer_tag: b"tag",
            delivery_tag: 9,
            redelivered: true,
            exchange: b"logs",
            routing_key: b"a.b",
        };
        view.write(&mut expected, 5);
        content::write_content(&mut expected, 5, &[0x10, 0, 2], body, frame_max);
        assert!(written(&mut outgoing) == expected);
    }

    #[test]
    fn a_delivery_is_written_as_the_wire_has_it() {
        for length in [0, 1, 16, 4087, 4088, 4089, 5000, 20_000, 40_000] {
            delivery(&vec![7; length], 4096);
            delivery(&vec![7; length], 131_072);
            delivery(&vec![7; length], 0);
        }
    }

    #[test]
    fn a_large_body_is_not_copied() {
        let message = Message::new(b"", b"q", &[0, 0], vec![1; 10_000].into());
        let mut outgoing = Outgoing::new(131_072);
        outgoing.delivery(1, b"\0\x3c\0\x3c\x01t", 1, false, &message);
        let mut out = VecDeque::new();
        outgoing.take(&mut out);
        assert_eq!(out.len(), 3);
        assert_eq!(out[1].as_ptr(), message.body().as_ptr());
    }

    #[test]
    fn confirms_are_written_as_the_wire_has_them() {
        let mut outgoing = Outgoing::new(4096);
        outgoing.confirm(3, 7, true, true);
        outgoing.confirm(3, 8, false, false);
        let mut expected = BytesMut::new();
        let ack = BasicAck { delivery_tag: 7, multiple: true };
        frame::write_method(&mut expected, 3, &ack.into());
        let nack = BasicNack { delivery_tag: 8, multiple: false, requeue: true };
        frame::write_method(&mut expected, 3, &nack.into());
        assert_eq!(written(&mut outgoing), expected);
    }

    #[test]
    fn many_frames_make_few_runs_and_move_nothing() {
        let mut outgoing = Outgoing::new(4096);
        let message = Message::new(b"", b"q", &[0, 0], vec![1; 100].into());
        for tag in 0..1000 {
            outgoing.delivery(1, b"\0\x3c\0\x3c\x01t", tag, false, &message);
        }
        let mut out = VecDeque::new();
        outgoing.take(&mut out);
        assert!(out.len() < 10, "{} runs", out.len());
    }
}
