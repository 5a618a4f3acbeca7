//! Publications on their way to the broker, and what it says of them: returns and confirms.

use bytes::Bytes;

use super::{
    Channel,
    content::{PUBLISH, Row},
};
use crate::{
    model::{ChannelNumber, ExchangeName, Message, Publication, RoutingKey, ShortString},
    session::{
        connection::Connection,
        exception::{Exception, Fault},
    },
    wire::{
        basic::PublishView,
        method::{BasicReturn, ConfirmSelectOk},
    },
};

/// Why a message comes back (AMQP 0-9-1 §1.2): no queue took it.
const NO_ROUTE: (u16, &str) = (312, "NO_ROUTE");

impl Channel {
    /// Publishes a small message whose frames lie in a row; `input` octets are left to be read.
    #[inline]
    pub(in crate::session) fn publish_row(
        &mut self,
        row: &Row<'_>,
        input: usize,
        connection: &mut Connection,
    ) {
        let message = Message::copy(
            &mut connection.arena,
            row.exchange,
            row.routing_key,
            row.properties,
            row.body,
        );
        self.publish(message, row.mandatory, input, connection);
    }

    /// Whether a small message can be published without looking further.
    #[inline]
    pub(in crate::session) fn takes_rows(&self) -> bool {
        self.is_open() && self.pending.is_none() && self.content.is_idle()
    }

    /// The fault of a method that comes while content is due.
    pub(in crate::session) fn interrupted(&self) -> Option<Exception> {
        (!self.content.is_idle()).then(|| self.content.interrupted())
    }

    pub(in crate::session) fn begin_publication(&mut self, publish: PublishView<'_>) {
        self.content.begin(publish);
    }

    pub(in crate::session) fn content_header(
        &mut self,
        payload: &[u8],
        connection: &mut Connection,
    ) -> Result<(), Exception> {
        if self.content.header(payload)? {
            self.finish_publication(connection)?;
        }
        Ok(())
    }

    /// Whether a body frame of that length is to be handed to [`Self::shared_body`].
    pub(in crate::session) fn shares_body(&self, length: usize) -> bool {
        self.content.would_share(length)
    }

    /// A whole body, in the memory that it was read into.
    pub(in crate::session) fn shared_body(
        &mut self,
        body: Bytes,
        connection: &mut Connection,
    ) -> Result<(), Exception> {
        self.content.share_body(body);
        self.finish_publication(connection)
    }

    pub(in crate::session) fn content_body(
        &mut self,
        payload: &[u8],
        connection: &mut Connection,
    ) -> Result<(), Exception> {
        if self.content.body(payload, connection.settings.max_message_size)? {
            self.finish_publication(connection)?;
        }
        Ok(())
    }

    /// The broker has taken responsibility for the publications from `first` to `last`.
    #[inline]
    pub(in crate::session) fn confirm(&mut self, first: u64, last: u64) {
        if self.is_open()
            && let Some(confirms) = &mut self.confirms
        {
            confirms.confirm(first, last);
        }
    }

    /// Some queue has refused a publication.
    pub(in crate::session) fn reject(&mut self, number: u64, connection: &mut Connection) {
        if self.is_open()
            && let Some(confirms) = &mut self.confirms
        {
            confirms.reject(number, self.number, &mut connection.outgoing);
        }
    }

    /// Sends the confirms that have come together.
    pub(in crate::session) fn flush_confirms(&mut self, connection: &mut Connection) {
        if self.is_open()
            && let Some(confirms) = &mut self.confirms
        {
            confirms.flush(self.number, &mut connection.outgoing);
        }
    }

    /// `basic.return`.
    pub(in crate::session) fn return_unroutable(
        &self,
        message: &Message,
        connection: &mut Connection,
    ) {
        if !self.is_open() {
            return;
        }
        let (reply_code, reply_text) = NO_ROUTE;
        let method = BasicReturn {
            reply_code,
            reply_text: ShortString::from_static(reply_text),
            exchange: exchange_of(message),
            routing_key: routing_key_of(message),
        };
        connection.outgoing.with_content(self.number, method.into(), message);
    }

    pub(super) fn select_confirms(
        &mut self,
        no_wait: bool,
        connection: &mut Connection,
    ) -> Result<(), Fault> {
        if self.transaction.is_some() {
            return Err(Fault::ConfirmsInTransaction);
        }
        self.confirms.get_or_insert_default();
        self.send((!no_wait).then(|| ConfirmSelectOk {}.into()), connection);
        Ok(())
    }

    /// All frames are there: only now are the rules looked at (RabbitMQ 3.10).
    fn finish_publication(&mut self, connection: &mut Connection) -> Result<(), Exception> {
        let limit = connection.settings.max_message_size;
        let above = self.content.is_above(limit);
        let whole = self.content.finish(&mut connection.arena);
        if whole.immediate {
            return Err(Fault::Immediate.by(PUBLISH));
        }
        if let Some(size) = above {
            return Err(Fault::MessageTooLarge { size, limit }.by(PUBLISH));
        }
        self.publish(whole.message, whole.mandatory, 0, connection);
        Ok(())
    }

    #[inline]
    fn publish(
        &mut self,
        message: Message,
        mandatory: bool,
        input: usize,
        connection: &mut Connection,
    ) {
        let publication = Publication {
            channel: ChannelNumber(self.number),
            message,
            mandatory,
            confirm: self.confirms.as_mut().map(super::confirms::Confirms::next),
            transactional: self.transaction.is_some(),
        };
        connection.batch.publish(publication, input);
    }
}

/// The exchange that a message was published to.
pub(super) fn exchange_of(message: &Message) -> ExchangeName {
    let name = Bytes::copy_from_slice(message.exchange());
    ExchangeName::new(name).expect("a message's exchange is a short string")
}

/// The routing key that a message was published with.
pub(super) fn routing_key_of(message: &Message) -> RoutingKey {
    let key = Bytes::copy_from_slice(message.routing_key());
    RoutingKey::new(key).expect("a message's routing key is a short string")
}
