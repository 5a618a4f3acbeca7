//! What a broker says beside deliveries and confirms: answers, notices and refusals.

use bytes::Bytes;

use super::{
    failure::Failure,
    scanner::{Confirm, Delivery, Receiver},
};
use crate::{model::ShortString, wire::method::Method};

/// What a broker may say unasked.
pub(super) enum Notice {
    Blocked(bool),
    Other,
}

/// Reads a method that may be a notice; a refusal is an error.
pub(super) fn notice(payload: &[u8]) -> Result<Notice, Failure> {
    match payload {
        // connection.close, channel.close, basic.cancel
        [0, 10, 0, 50, ..] | [0, 20, 0, 40, ..] | [0, 60, 0, 30, ..] => Err(refusal(payload)),
        [0, 10, 0, 60, ..] => Ok(Notice::Blocked(true)),
        [0, 10, 0, 61, ..] => Ok(Notice::Blocked(false)),
        _ => Ok(Notice::Other),
    }
}

fn refusal(payload: &[u8]) -> Failure {
    let refused = |code, text: &ShortString| Failure::Refused { code, text: text.text().into() };
    match Method::decode(&Bytes::copy_from_slice(payload)) {
        Ok(Method::ConnectionClose(close)) => refused(close.reply_code, &close.reply_text),
        Ok(Method::ChannelClose(close)) => refused(close.reply_code, &close.reply_text),
        Ok(Method::BasicCancel(_)) => {
            Failure::Unexpected("basic.cancel: the queue is gone".to_owned())
        }
        Ok(other) => Failure::Unexpected(other.name().to_owned()),
        Err(malformed) => Failure::Unexpected(malformed.to_string()),
    }
}

/// Keeps the first answer, and lets go of content.
#[derive(Default)]
pub(super) struct Mailbox {
    pub answer: Option<Method>,
    pub blocked: Option<bool>,
}

impl Receiver for Mailbox {
    fn delivery(&mut self, _: &Delivery) {}
    fn confirm(&mut self, _: Confirm) {}
    fn returned(&mut self) {}
    fn method(&mut self, _: u16, payload: &[u8]) -> Result<(), Failure> {
        match notice(payload)? {
            Notice::Blocked(state) => self.blocked = Some(state),
            Notice::Other => {
                let method = Method::decode(&Bytes::copy_from_slice(payload))
                    .map_err(|malformed| Failure::Unexpected(malformed.to_string()))?;
                self.answer.get_or_insert(method);
            }
        }
        Ok(())
    }
}
