//! How a connection ends: every channel, then the broker forgets it, then the socket is closed.

use std::time::Duration;

use bytes::{Buf, BytesMut};

use super::{Session, exception::Exception, handshake::Broken, phase::Phase, request::Request};
use crate::{
    model::Moment,
    wire::{
        frame::{self, FrameKind},
        method::{ConnectionCloseOk, peek},
    },
};

/// How long a client that broke the handshake or the framing is left in silence (RabbitMQ), and one
/// may take to read the last words.
const SILENCE: Duration = Duration::from_secs(3);

/// The longest that a client may take to finish a close.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the shell is to do with the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    Keep,
    /// Write what is left, then close.
    Close,
    /// Close at once with a reset.
    Reset,
}

/// A connection that ends.
#[derive(Debug)]
pub(super) struct Farewell {
    reason: Reason,
    /// The broker has forgotten the connection.
    has_left: bool,
    /// `Request::Leave` has been asked.
    is_leaving: bool,
    pub(super) disposition: Disposition,
    /// When to stop waiting for the client, and how the socket is closed then. A client that does
    /// not even take what is written to it is reset.
    deadline: Option<(Moment, Disposition)>,
    /// Nothing that comes can be read as frames.
    is_deaf: bool,
}

/// Who ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// The client has sent `connection.close`, and waits for the answer.
    Client,
    /// The server has sent `connection.close`.
    Server,
    /// The peer is gone, or is not spoken to any more.
    Silence,
}

impl Farewell {
    fn new(reason: Reason) -> Self {
        Self {
            reason,
            has_left: false,
            is_leaving: false,
            disposition: Disposition::Keep,
            deadline: None,
            is_deaf: reason != Reason::Server,
        }
    }

    fn until(mut self, moment: Moment, disposition: Disposition) -> Self {
        self.deadline = Some((moment, disposition));
        self
    }

    pub(super) fn is_finished(&self) -> bool {
        self.has_left && self.disposition != Disposition::Keep
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        let waits = self.disposition != Disposition::Reset;
        self.deadline.filter(|_| waits).map(|(moment, _)| moment)
    }

    pub(super) fn tick(&mut self, now: Moment) {
        let Some((_, disposition)) = self.deadline.take_if(|(moment, _)| *moment <= now) else {
            return;
        };
        self.disposition = match self.disposition {
            Disposition::Keep => disposition,
            Disposition::Close | Disposition::Reset => Disposition::Reset,
        };
        if self.disposition == Disposition::Close {
            self.deadline = Some((now + SILENCE, Disposition::Reset));
        }
    }
}

impl Session {
    /// The handshake has failed.
    pub(super) fn break_off(&mut self, broken: Broken, now: Moment) {
        match broken {
            Broken::Protocol => {
                let mut farewell = Farewell::new(Reason::Silence);
                farewell.disposition = Disposition::Close;
                self.end(farewell.until(now + SILENCE, Disposition::Reset));
            }
            Broken::Rule => {
                let silence = Farewell::new(Reason::Silence);
                self.end(silence.until(now + SILENCE, Disposition::Reset));
            }
            Broken::Login(exception) => {
                self.connection.outgoing.method(0, exception.connection_close());
                let farewell = Farewell::new(Reason::Server);
                self.end(farewell.until(now + SILENCE, Disposition::Reset));
            }
            Broken::Open(exception) => self.close(&exception, now),
        }
    }

    /// A fault, the node or its operator ends the connection.
    pub(super) fn close(&mut self, exception: &Exception, now: Moment) {
        self.connection.outgoing.method(0, exception.connection_close());
        let mut farewell = Farewell::new(Reason::Server);
        let patience = if exception.loses_framing() { SILENCE } else { self.patience() };
        farewell.is_deaf = exception.loses_framing();
        self.end(farewell.until(now + patience, Disposition::Reset));
    }

    /// The client ends the connection; it is answered when everything of it is gone.
    pub(super) fn close_for_client(&mut self) {
        self.end(Farewell::new(Reason::Client));
    }

    /// The peer is gone, or has to be dropped without a word.
    pub(super) fn vanish(&mut self, disposition: Disposition, now: Moment) {
        let end = (now + SILENCE, Disposition::Reset);
        if let Phase::Ending(farewell) = &mut self.phase {
            farewell.disposition = disposition;
            farewell.is_deaf = true;
            farewell.deadline = Some(end);
            return;
        }
        let mut farewell = Farewell::new(Reason::Silence);
        farewell.disposition = disposition;
        farewell.deadline = Some(end);
        self.end(farewell);
    }

    /// The broker has forgotten the connection.
    pub(super) fn left(&mut self, now: Moment) {
        let patience = self.patience();
        if let Phase::Ending(farewell) = &mut self.phase {
            farewell.has_left = true;
            if farewell.reason == Reason::Client && farewell.disposition == Disposition::Keep {
                self.connection.outgoing.method(0, ConnectionCloseOk {});
                farewell.deadline = Some((now + patience, Disposition::Close));
            }
        }
    }

    /// Asks the broker to forget the connection once no channel is left.
    pub(super) fn leave(&mut self, now: Moment) {
        let Phase::Ending(farewell) = &mut self.phase else {
            return;
        };
        if farewell.is_leaving || !self.channels.is_empty() {
            return;
        }
        farewell.is_leaving = true;
        if self.is_admitted {
            self.connection.ask(Request::Leave);
        } else {
            self.left(now);
        }
    }

    /// After the server's close, only the client's agreement and its own close are looked at.
    pub(super) fn read_farewell(&mut self) {
        let mut input = std::mem::take(&mut self.input);
        while let Phase::Ending(farewell) = &mut self.phase {
            if farewell.is_deaf || farewell.disposition != Disposition::Keep {
                input.clear();
                break;
            }
            match next_closing(&mut input, self.tuning.frame_max) {
                Next::CloseOk => farewell.disposition = Disposition::Close,
                Next::Close => self.connection.outgoing.method(0, ConnectionCloseOk {}),
                Next::Other => {}
                Next::Unreadable => farewell.is_deaf = true,
                Next::None => break,
            }
        }
        self.input = input;
    }

    fn end(&mut self, farewell: Farewell) {
        self.phase = Phase::Ending(farewell);
        self.deferred = None;
        self.held.clear();
        self.channels.retain(|_, channel| !channel.abandon(&mut self.connection));
    }

    /// RabbitMQ waits for one heartbeat's interval, and not too long.
    fn patience(&self) -> Duration {
        match self.tuning.heartbeat {
            0 => PATIENCE,
            seconds => PATIENCE.min(Duration::from_secs(seconds.into())),
        }
    }
}

/// What the next frame is to a connection that has said `connection.close`.
enum Next {
    CloseOk,
    Close,
    Other,
    Unreadable,
    None,
}

fn next_closing(input: &mut BytesMut, frame_max: usize) -> Next {
    let frame = match frame::view(input, frame_max) {
        Ok(Some(frame)) => frame,
        Ok(None) => return Next::None,
        Err(_) => return Next::Unreadable,
    };
    let id = match (frame.kind, frame.channel) {
        (FrameKind::Method, 0) => peek(frame.payload).ok().map(|(id, _)| id),
        _ => None,
    };
    let size = frame.size();
    input.advance(size);
    match id {
        Some((10, 51)) => Next::CloseOk,
        Some((10, 50)) => Next::Close,
        _ => Next::Other,
    }
}
