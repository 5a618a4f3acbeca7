//! Reply codes and reply texts: what a fault is called on the wire, and what it ends.

mod refusals;

use std::time::Duration;

use bytes::Bytes;

use super::request::Login;
use crate::{
    model::{ConsumerTag, Malformed, Refusal, ShortString},
    wire::{
        dump::{Dump, Excerpt},
        frame::FrameError,
        method::{ChannelClose, ConnectionClose, Method},
    },
};

/// Class and method that a close names as the cause; both 0 when no method is.
pub(super) type MethodId = (u16, u16);

/// No method is at fault.
pub(super) const NO_METHOD: MethodId = (0, 0);

/// The largest body that RabbitMQ's reader takes at all, whatever is configured.
pub(super) const BODY_CEILING: u64 = 536_870_912;

/// What a client did wrong, or what ends its connection.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fault {
    /// The broker said no.
    Refused(Box<Refusal>),
    /// The login was refused.
    LoginRefused(ShortString),
    /// The octets cannot be cut into frames.
    Frame(FrameError),
    /// A type of frame that there is not, or a heartbeat with a payload.
    UnknownFrame(Excerpt),
    /// A frame where it has no business.
    UnexpectedFrame(Excerpt),
    /// The arguments of a method, which cannot be read.
    Method(Malformed, Bytes),
    /// A method that a client does not send, or not there.
    Unimplemented,
    /// A method of channels on channel 0, or one of the handshake after it.
    UnexpectedOnConnection,
    /// A content frame where a method is due.
    ExpectedMethod,
    ExpectedHeader,
    /// A content header of another class.
    WrongContentClass(u16),
    ExpectedBody,
    /// More body than the content header announced.
    BodyTooLong,
    /// A content header that announces more than any server takes.
    BodyAboveCeiling(u64),
    ChannelNotOpen,
    ChannelAlreadyOpen,
    TooManyChannels {
        open: usize,
        channel_max: u16,
    },
    /// An empty queue name on a channel that has declared none.
    NoPreviousQueue,
    Immediate,
    FlowOff,
    RecoverWithoutRequeue,
    PrefetchSize(u32),
    MessageTooLarge {
        size: u64,
        limit: u64,
    },
    UnknownDeliveryTag(u64),
    ConsumerTagInUse(ConsumerTag),
    /// The channel has as many consumers as it may have.
    TooManyConsumers(usize),
    /// A delivery was not acknowledged in time.
    AcknowledgementTimeout {
        channel: u16,
        timeout: Duration,
    },
    ConfirmsInTransaction,
    TransactionWithConfirms,
    NotTransactional,
    /// A command before the transaction's commit was answered.
    CommitPending,
    /// The node or its operator ends the connection.
    Forced(String),
}

impl Fault {
    /// The fault, caused by a method.
    pub(super) fn by(self, method: MethodId) -> Exception {
        Exception { fault: self, method }
    }

    /// The broker's refusal.
    pub(super) fn refused(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }

    /// A refused login, as its mechanism is named in the reply.
    pub(super) fn login(login: &Login) -> Self {
        Self::LoginRefused(login.mechanism.clone())
    }
}

/// The reply code and the reply text with which a client is refused.
pub fn words_of(refusal: &Refusal) -> (u16, String) {
    let (code, text, _) = Fault::refused(refusal.clone()).by(NO_METHOD).reply();
    (code, text.to_string())
}

/// A fault and the method that caused it: what a close carries.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Exception {
    pub(super) fault: Fault,
    method: MethodId,
}

impl Exception {
    /// Whether the whole connection ends: the reply code alone decides.
    pub(super) fn ends_connection(&self) -> bool {
        self.words().0.ends_connection()
    }

    /// Whether what follows in the input cannot be read as frames.
    pub(super) fn loses_framing(&self) -> bool {
        matches!(self.fault, Fault::Frame(_))
    }

    pub(super) fn connection_close(&self) -> Method {
        let (reply_code, reply_text, (class_id, method_id)) = self.reply();
        ConnectionClose { reply_code, reply_text, class_id, method_id }.into()
    }

    pub(super) fn channel_close(&self) -> Method {
        let (reply_code, reply_text, (class_id, method_id)) = self.reply();
        ChannelClose { reply_code, reply_text, class_id, method_id }.into()
    }

    fn reply(&self) -> (u16, ShortString, MethodId) {
        let (code, explanation) = self.words();
        // A failure inside has no explanation and no culprit.
        if explanation.is_empty() {
            return (code.number(), cut(code.name().to_owned()), NO_METHOD);
        }
        (code.number(), cut(format!("{} - {explanation}", code.name())), self.method)
    }

    fn words(&self) -> (ReplyCode, String) {
        use ReplyCode as Code;
        let fixed = |code: Code, text: &str| (code, text.to_owned());
        match &self.fault {
            Fault::Refused(refusal) => refusals::words(refusal),
            Fault::LoginRefused(mechanism) => (
                Code::AccessRefused,
                format!(
                    "Login was refused using authentication mechanism {mechanism}. For details \
                     see the broker logfile."
                ),
            ),
            Fault::Frame(error) => (Code::FrameError, error.to_string()),
            Fault::UnknownFrame(excerpt) => (Code::FrameError, format!("{excerpt}: unknown_frame")),
            Fault::UnexpectedFrame(excerpt) => (Code::UnexpectedFrame, excerpt.to_string()),
            Fault::Method(malformed, arguments) => unreadable(*malformed, arguments),
            Fault::Unimplemented => fixed(Code::CommandInvalid, "unimplemented method"),
            Fault::UnexpectedOnConnection => {
                fixed(Code::ChannelError, "unexpected method in connection state running")
            }
            Fault::ExpectedMethod => {
                fixed(Code::UnexpectedFrame, "expected method frame, got non method frame instead")
            }
            Fault::ExpectedHeader => fixed(
                Code::UnexpectedFrame,
                "expected content header for class 60, got non content header frame instead",
            ),
            Fault::WrongContentClass(class) => (
                Code::UnexpectedFrame,
                format!("expected content header for class 60, got one for class {class} instead"),
            ),
            Fault::ExpectedBody => fixed(
                Code::UnexpectedFrame,
                "expected content body, got non content body frame instead",
            ),
            Fault::BodyTooLong => {
                fixed(Code::FrameError, "content body frame exceeds remaining content size")
            }
            Fault::BodyAboveCeiling(size) => (
                Code::FrameError,
                format!("content body size {size} exceeds maximum allowed size {BODY_CEILING}"),
            ),
            Fault::ChannelNotOpen => fixed(Code::ChannelError, "expected 'channel.open'"),
            Fault::ChannelAlreadyOpen => fixed(Code::ChannelError, "second 'channel.open' seen"),
            Fault::TooManyChannels { open, channel_max } => (
                Code::NotAllowed,
                format!(
                    "number of channels opened ({open}) has reached the negotiated channel_max \
                     ({channel_max})"
                ),
            ),
            rule => rule_broken(rule),
        }
    }
}

/// The words for what breaks a rule of one class of methods.
fn rule_broken(fault: &Fault) -> (ReplyCode, String) {
    use ReplyCode as Code;
    match fault {
        Fault::NoPreviousQueue => (Code::NotFound, "no previously declared queue".into()),
        Fault::Immediate => (Code::NotImplemented, "immediate=true".into()),
        Fault::FlowOff => (Code::NotImplemented, "active=false".into()),
        Fault::RecoverWithoutRequeue => (Code::NotImplemented, "requeue=false".into()),
        Fault::PrefetchSize(size) => (Code::NotImplemented, format!("prefetch_size!=0 ({size})")),
        Fault::MessageTooLarge { size, limit } => {
            let configured = if *limit == BODY_CEILING { "" } else { "configured " };
            let text = format!("message size {size} is larger than {configured}max size {limit}");
            (Code::PreconditionFailed, text)
        }
        Fault::UnknownDeliveryTag(tag) => {
            (Code::PreconditionFailed, format!("unknown delivery tag {tag}"))
        }
        Fault::ConsumerTagInUse(tag) => {
            (Code::NotAllowed, format!("attempt to reuse consumer tag '{tag}'"))
        }
        Fault::TooManyConsumers(limit) => {
            (Code::NotAllowed, format!("reached maximum ({limit}) of consumers per channel"))
        }
        Fault::AcknowledgementTimeout { channel, timeout } => {
            (Code::PreconditionFailed, acknowledgement_timeout(*channel, *timeout))
        }
        Fault::Forced(reason) => (Code::ConnectionForced, reason.clone()),
        mode => mode_broken(mode),
    }
}

/// The words for what a channel's mode does not allow.
fn mode_broken(fault: &Fault) -> (ReplyCode, String) {
    use ReplyCode as Code;
    let (code, text) = match fault {
        Fault::ConfirmsInTransaction => {
            (Code::PreconditionFailed, "cannot switch from tx to confirm mode")
        }
        Fault::TransactionWithConfirms => {
            (Code::PreconditionFailed, "cannot switch from confirm to tx mode")
        }
        Fault::NotTransactional => (Code::PreconditionFailed, "channel is not transactional"),
        Fault::CommitPending => {
            (Code::ChannelError, "unexpected command while processing 'tx.commit'")
        }
        // Every other fault has its words in the callers.
        _ => (Code::InternalError, ""),
    };
    (code, text.into())
}

fn acknowledgement_timeout(channel: u16, timeout: Duration) -> String {
    let milliseconds = timeout.as_millis();
    format!(
        "delivery acknowledgement on channel {channel} timed out. Timeout value used: \
         {milliseconds} ms. This timeout value can be configured, see consumers doc guide to learn \
         more"
    )
}

/// RabbitMQ drops the connection without a word for an unknown method or type of field.
fn unreadable(malformed: Malformed, arguments: &[u8]) -> (ReplyCode, String) {
    match malformed {
        Malformed::UnknownMethod(..) => (ReplyCode::CommandInvalid, "unimplemented method".into()),
        Malformed::InvalidUtf8 => (ReplyCode::FrameError, "Malformed UTF-8 in shortstr".into()),
        Malformed::Truncated
        | Malformed::TrailingOctets(_)
        | Malformed::UnknownFieldType(_)
        | Malformed::TooDeep
        | Malformed::NotFinite => {
            (ReplyCode::FrameError, format!("cannot decode {}", Dump(arguments)))
        }
    }
}

/// The reply codes that are sent (AMQP 0-9-1 §1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReplyCode {
    ConnectionForced,
    AccessRefused,
    NotFound,
    ResourceLocked,
    PreconditionFailed,
    FrameError,
    CommandInvalid,
    ChannelError,
    UnexpectedFrame,
    NotAllowed,
    NotImplemented,
    InternalError,
}

impl ReplyCode {
    fn ends_connection(self) -> bool {
        self == Self::ConnectionForced || self.number() > 500
    }

    fn number(self) -> u16 {
        match self {
            Self::ConnectionForced => 320,
            Self::AccessRefused => 403,
            Self::NotFound => 404,
            Self::ResourceLocked => 405,
            Self::PreconditionFailed => 406,
            Self::FrameError => 501,
            Self::CommandInvalid => 503,
            Self::ChannelError => 504,
            Self::UnexpectedFrame => 505,
            Self::NotAllowed => 530,
            Self::NotImplemented => 540,
            Self::InternalError => 541,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::ConnectionForced => "CONNECTION_FORCED",
            Self::AccessRefused => "ACCESS_REFUSED",
            Self::NotFound => "NOT_FOUND",
            Self::ResourceLocked => "RESOURCE_LOCKED",
            Self::PreconditionFailed => "PRECONDITION_FAILED",
            Self::FrameError => "FRAME_ERROR",
            Self::CommandInvalid => "COMMAND_INVALID",
            Self::ChannelError => "CHANNEL_ERROR",
            Self::UnexpectedFrame => "UNEXPECTED_FRAME",
            Self::NotAllowed => "NOT_ALLOWED",
            Self::NotImplemented => "NOT_IMPLEMENTED",
            Self::InternalError => "INTERNAL_ERROR",
        }
    }
}

/// What fits a short string, and no half letter.
fn cut(mut text: String) -> ShortString {
    let end = (0..=text.len().min(255)).rev().find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    ShortString::try_from(text).expect("cut to 255 octets")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Resource, ResourceKind, VirtualHostName};

    fn reply(fault: Fault) -> (u16, String) {
        let (code, text, _) = fault.by((60, 40)).reply();
        (code, text.to_string())
    }

    #[test]
    fn a_reply_text_is_the_name_of_its_code_and_an_explanation() {
        let expected = (406, "PRECONDITION_FAILED - unknown delivery tag 7".to_owned());
        assert_eq!(reply(Fault::UnknownDeliveryTag(7)), expected);
        assert_eq!(reply(Fault::refused(Refusal::InvalidProperties)).1, "INTERNAL_ERROR");
    }

    #[test]
    fn the_code_alone_decides_what_ends() {
        assert!(!Fault::UnknownDeliveryTag(7).by(NO_METHOD).ends_connection());
        assert!(Fault::Immediate.by(NO_METHOD).ends_connection());
        assert!(Fault::Forced("bye".into()).by(NO_METHOD).ends_connection());
        assert!(!Fault::NoPreviousQueue.by(NO_METHOD).ends_connection());
    }

    #[test]
    fn a_failure_inside_names_no_method() {
        let (_, _, method) = Fault::refused(Refusal::InvalidProperties).by((60, 40)).reply();
        assert_eq!(method, NO_METHOD);
    }

    #[test]
    fn a_long_text_is_cut_between_letters() {
        let name = ShortString::try_from("é".repeat(127)).unwrap();
        let virtual_host = VirtualHostName::from_static("/");
        let queue = Resource { kind: ResourceKind::Queue, name, virtual_host };
        let (_, text) = reply(Fault::refused(Refusal::NotFound(queue)));
        assert_eq!(text.len(), 254);
        assert!(text.starts_with("NOT_FOUND - no queue 'éé"));
    }

    #[test]
    fn a_size_limit_that_is_the_ceiling_is_not_called_configured() {
        let text = |limit| reply(Fault::MessageTooLarge { size: 1001, limit }).1;
        assert!(text(1000).ends_with("message size 1001 is larger than configured max size 1000"));
        assert!(text(BODY_CEILING).ends_with("is larger than max size 536870912"));
    }

    #[test]
    fn what_cannot_be_decoded_is_shown() {
        let fault = Fault::Method(Malformed::Truncated, Bytes::from_static(&[0, 5]));
        assert_eq!(reply(fault), (501, "FRAME_ERROR - cannot decode <<0,5>>".to_owned()));
    }
}
