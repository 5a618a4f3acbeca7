//! The walk over the input: frame by frame to their channels, until something must be asked.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes, BytesMut};

use super::{
    Session,
    channel::{Attitude, Channel, content::Row, settling::Settle},
    exception::{Exception, Fault, MethodId, NO_METHOD},
    phase::Phase,
};
use crate::{
    model::{Malformed, Moment},
    wire::{
        basic::PublishView,
        frame::{self, FrameKind, FrameView, HEAD},
        method::{ConnectionBlocked, ConnectionUpdateSecretOk, Method, peek},
    },
};

/// What became of a frame.
enum Step {
    /// It was taken; so many octets are done with.
    Took(usize),
    /// It is a body of so many octets in all, to be shared with the input's memory.
    Share { channel: u16, length: usize },
    /// It must wait, and so must what follows.
    Stop,
}

impl Session {
    /// Walks over what was held back for channels that may go on, then over the input.
    pub(super) fn walk(&mut self, now: Moment) {
        if let Some((channel, exception)) = self.deferred.take() {
            self.fail_unless_failed(channel, &exception, now);
        }
        if !self.walk_over_held(now) {
            return;
        }
        let mut input = std::mem::take(&mut self.input);
        self.walk_over(&mut input, false, now);
        self.input = input;
    }

    /// Whether the input may be walked over: all channels have come to its frames, or wait.
    fn walk_over_held(&mut self, now: Moment) -> bool {
        while !self.held.is_empty() && !self.must_pause() {
            let may_go_on = |channel: u16| !is_waiting(&self.channels, channel);
            let Some((channel, mut frames)) = self.held.take_first(may_go_on) else {
                return true;
            };
            self.walk_over(&mut frames, true, now);
            let is_stopped = !frames.is_empty() && !is_waiting(&self.channels, channel);
            self.held.put_back(channel, frames);
            if is_stopped {
                return false;
            }
        }
        !self.must_pause()
    }

    fn walk_over(&mut self, octets: &mut BytesMut, are_held: bool, now: Moment) {
        let mut at = 0;
        while !self.must_pause() {
            match self.step(octets.get(at..).unwrap_or_default(), are_held, now) {
                Step::Took(length) => at += length,
                Step::Share { channel, length } => {
                    octets.advance(std::mem::take(&mut at));
                    let body = octets.split_to(length).freeze().slice(HEAD..length - 1);
                    self.share_body(channel, body, now);
                }
                Step::Stop => break,
            }
        }
        octets.advance(at);
    }

    /// Whether the walk must end before the next frame.
    #[inline]
    fn must_pause(&self) -> bool {
        self.connection.is_asking()
            || self.connection.batch.is_full()
            || self.deferred.is_some()
            || self.unanswered.is_some()
            || self.alarm.is_blocking()
            || self.pause.is_some()
            || !matches!(self.phase, Phase::Running)
    }

    #[inline]
    fn step(&mut self, input: &[u8], are_held: bool, now: Moment) -> Step {
        if let Some(row) = Row::read(input, self.largest_payload())
            && !self.alarm.is_raised()
            && row.body.len() as u64 <= self.connection.settings.max_message_size
            && let Some(channel) = self.channels.get_mut(&row.channel)
            && channel.takes_rows()
        {
            channel.publish_row(&row, input.len(), &mut self.connection);
            return Step::Took(row.length);
        }
        match frame::view(input, self.tuning.frame_max) {
            Ok(Some(frame)) => self.frame(frame, input, are_held, now),
            Ok(None) => Step::Stop,
            Err(error) => self.raise(0, Fault::Frame(error).by(NO_METHOD), input.len(), now),
        }
    }

    fn frame(&mut self, frame: FrameView<'_>, input: &[u8], are_held: bool, now: Moment) -> Step {
        let unexpected = || Fault::UnexpectedFrame(frame.excerpt());
        let fault = match (frame.kind, frame.channel) {
            (FrameKind::Heartbeat, 0) if frame.payload.is_empty() => {
                return Step::Took(frame.size());
            }
            (FrameKind::Heartbeat, 0) | (FrameKind::Unknown(_), _) => {
                Fault::UnknownFrame(frame.excerpt())
            }
            (FrameKind::Heartbeat, _) | (FrameKind::Header | FrameKind::Body, 0) => unexpected(),
            (FrameKind::Method, 0) => return self.connection_method(frame, now),
            (FrameKind::Method | FrameKind::Header | FrameKind::Body, _) => {
                return self.channel_frame(frame, input, are_held, now);
            }
        };
        self.raise(0, fault.by(NO_METHOD), frame.size(), now)
    }

    fn connection_method(&mut self, frame: FrameView<'_>, now: Moment) -> Step {
        if !self.connection.batch.is_empty() {
            return Step::Stop;
        }
        match decode(frame) {
            Ok(Method::ConnectionClose(_)) => self.close_for_client(),
            Ok(Method::ConnectionUpdateSecret(_)) => {
                self.connection.outgoing.method(0, ConnectionUpdateSecretOk {});
            }
            Ok(method) => {
                self.close(&Fault::UnexpectedOnConnection.by(method.id()), now);
            }
            Err(exception) => self.close(&exception, now),
        }
        Step::Took(frame.size())
    }

    fn channel_frame(
        &mut self,
        frame: FrameView<'_>,
        input: &[u8],
        are_held: bool,
        now: Moment,
    ) -> Step {
        let Some(channel) = self.channels.get(&frame.channel) else {
            return self.frame_of_no_channel(frame, now);
        };
        match channel.attitude() {
            Attitude::Ready => {}
            Attitude::Discards => return self.discarded(frame, now),
            Attitude::Commits => {
                return self.raise(0, Fault::CommitPending.by(id_of(frame)), frame.size(), now);
            }
            Attitude::Waits if are_held || !self.held.has_room() => return Step::Stop,
            Attitude::Waits => {
                self.held.push(frame.channel, input.get(..frame.size()).unwrap_or_default());
                return Step::Took(frame.size());
            }
        }
        match frame.kind {
            FrameKind::Header => self.content_header(frame, now),
            FrameKind::Body => self.content_body(frame, now),
            FrameKind::Method | FrameKind::Heartbeat | FrameKind::Unknown(_) => {
                self.channel_method(frame, now)
            }
        }
    }

    fn channel_method(&mut self, frame: FrameView<'_>, now: Moment) -> Step {
        let Some(channel) = self.channels.get_mut(&frame.channel) else {
            return Step::Stop;
        };
        let is_alone = self.connection.batch.is_empty();
        let handled = if let Some(exception) = channel.interrupted() {
            Err(exception)
        } else if let Some(settle) = Settle::read(frame.payload) {
            channel.settle(settle, &mut self.connection)
        } else if let Ok(Some(publish)) = PublishView::decode(frame.payload) {
            channel.begin_publication(publish);
            Ok(())
        } else if !is_alone {
            return Step::Stop;
        } else {
            handle(channel, frame, &mut self.connection)
        };
        match handled {
            Ok(()) => Step::Took(frame.size()),
            Err(exception) => self.raise(frame.channel, exception, frame.size(), now),
        }
    }

    /// While an alarm lasts, the first content of a client blocks its connection (RabbitMQ).
    fn content_header(&mut self, frame: FrameView<'_>, now: Moment) -> Step {
        if let Some(reason) = self.alarm.reason() {
            if self.connection.batch.is_empty() {
                self.block(reason, now);
            }
            return Step::Stop;
        }
        let Some(channel) = self.channels.get_mut(&frame.channel) else {
            return Step::Stop;
        };
        match channel.content_header(frame.payload, &mut self.connection) {
            Ok(()) => Step::Took(frame.size()),
            Err(exception) => self.raise(frame.channel, exception, frame.size(), now),
        }
    }

    fn content_body(&mut self, frame: FrameView<'_>, now: Moment) -> Step {
        let Some(channel) = self.channels.get_mut(&frame.channel) else {
            return Step::Stop;
        };
        let is_allowed = frame.payload.len() as u64 <= self.connection.settings.max_message_size;
        if is_allowed && channel.shares_body(frame.payload.len()) {
            return Step::Share { channel: frame.channel, length: frame.size() };
        }
        match channel.content_body(frame.payload, &mut self.connection) {
            Ok(()) => Step::Took(frame.size()),
            Err(exception) => self.raise(frame.channel, exception, frame.size(), now),
        }
    }

    fn share_body(&mut self, channel: u16, body: Bytes, now: Moment) {
        if let Some(found) = self.channels.get_mut(&channel)
            && let Err(exception) = found.shared_body(body, &mut self.connection)
        {
            self.raise(channel, exception, 0, now);
        }
    }

    fn frame_of_no_channel(&mut self, frame: FrameView<'_>, now: Moment) -> Step {
        if !self.connection.batch.is_empty() {
            return Step::Stop;
        }
        let id = id_of(frame);
        let (open, channel_max) = (self.channels.len(), self.tuning.channel_max);
        let fault = match (frame.kind, id) {
            (FrameKind::Method, (20, 10)) if channel_max != 0 && open >= channel_max.into() => {
                Fault::TooManyChannels { open, channel_max }.by(NO_METHOD)
            }
            (FrameKind::Method, (20, 10)) => {
                let channel = Channel::open(frame.channel, &mut self.connection);
                self.channels.insert(frame.channel, channel.into());
                return Step::Took(frame.size());
            }
            (FrameKind::Method, id) => Fault::ChannelNotOpen.by(id),
            _ => Fault::ExpectedMethod.by(NO_METHOD),
        };
        self.raise(0, fault, frame.size(), now)
    }

    /// A frame on a channel that has failed, before the client agrees that it has.
    fn discarded(&mut self, frame: FrameView<'_>, now: Moment) -> Step {
        let Some(channel) = self.channels.get_mut(&frame.channel) else {
            return Step::Stop;
        };
        match (frame.kind, id_of(frame)) {
            (FrameKind::Method, (20, 41)) if channel.agreed() => {
                self.channels.remove(&frame.channel);
            }
            (FrameKind::Method, (20, 40)) => {
                channel.close_crossed(&mut self.connection);
            }
            (FrameKind::Method, id @ (20, 10)) => {
                return self.raise(0, Fault::ChannelAlreadyOpen.by(id), frame.size(), now);
            }
            _ => {}
        }
        Step::Took(frame.size())
    }

    /// A fault: it waits until what was gathered before it has been done.
    fn raise(&mut self, channel: u16, exception: Exception, length: usize, now: Moment) -> Step {
        if self.connection.batch.is_empty() {
            self.fail(channel, &exception, now);
        } else {
            self.deferred = Some((channel, exception));
        }
        Step::Took(length)
    }

    /// A channel that has failed meanwhile discards its later frames, and their faults.
    fn fail_unless_failed(&mut self, channel: u16, exception: &Exception, now: Moment) {
        let is_discarded =
            self.channels.get(&channel).is_some_and(|found| found.attitude() == Attitude::Discards);
        if !is_discarded && matches!(self.phase, Phase::Running) {
            self.fail(channel, exception, now);
        }
    }

    fn block(&mut self, reason: &'static str, now: Moment) {
        if self.alarm.block() {
            let reason = crate::model::ShortString::from_static(reason);
            self.connection.outgoing.method(0, ConnectionBlocked { reason });
        }
        self.heartbeat.set_deaf(true, now);
    }

    fn largest_payload(&self) -> usize {
        match self.tuning.frame_max {
            0 => usize::MAX,
            frame_max => frame_max,
        }
    }
}

fn is_waiting(channels: &BTreeMap<u16, Box<Channel>>, number: u16) -> bool {
    channels.get(&number).is_some_and(|channel| channel.attitude() == Attitude::Waits)
}

fn handle(
    channel: &mut Channel,
    frame: FrameView<'_>,
    connection: &mut super::connection::Connection,
) -> Result<(), Exception> {
    match decode(frame)? {
        Method::ChannelClose(_) => {
            channel.close(connection);
            Ok(())
        }
        method => channel.handle(method, connection),
    }
}

/// The method, in memory of its own: names outlive the input.
fn decode(frame: FrameView<'_>) -> Result<Method, Exception> {
    let (id, arguments) =
        peek(frame.payload).map_err(|_| Fault::UnknownFrame(frame.excerpt()).by(NO_METHOD))?;
    Method::decode(&Bytes::copy_from_slice(frame.payload)).map_err(|malformed| {
        // RabbitMQ names no method beside text that is no text.
        let id = if malformed == Malformed::InvalidUtf8 { NO_METHOD } else { id };
        Fault::Method(malformed, Bytes::copy_from_slice(arguments)).by(id)
    })
}

fn id_of(frame: FrameView<'_>) -> MethodId {
    match frame.kind {
        FrameKind::Method => peek(frame.payload).map_or(NO_METHOD, |(id, _)| id),
        _ => NO_METHOD,
    }
}
