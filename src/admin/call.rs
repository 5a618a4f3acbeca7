//! One request as a handler sees it: who asks, for what, with which body.

use std::sync::Arc;

use axum::http::HeaderMap;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::{
    answer::{Body, Failure, Reply},
    node::Node,
    operator::Operator,
    query::Query,
    routes::Parts,
    service::Peer,
};
use crate::{
    broker::{Broker, Client},
    model::{ExchangeName, QueueName, Refusal, ShortString, VirtualHostName},
};

/// A request whose sender is known and may ask it.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) node: Arc<dyn Node>,
    pub(super) operator: Operator,
    pub(super) peer: Peer,
    pub(super) parts: Parts,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Call {
    pub(super) fn broker(&self) -> &Broker {
        self.node.broker()
    }

    /// What stands in the path where the pattern has `:name`.
    pub(super) fn part(&self, name: &str) -> &[u8] {
        let part = self.parts.iter().find(|(known, _)| *known == name);
        part.map_or(&[], |(_, value)| value.as_slice())
    }

    /// The same, as text; there is nothing whose name is none.
    pub(super) fn text(&self, name: &str) -> Result<&str, Failure> {
        str::from_utf8(self.part(name)).map_err(|_| Failure::not_there())
    }

    /// The same, as a name of up to 255 octets; nothing has a longer one.
    pub(super) fn name(&self, name: &str) -> Result<ShortString, Failure> {
        ShortString::try_from(self.text(name)?).map_err(|_| Failure::not_there())
    }

    /// The name of a new thing of this kind; breaks of lines in it are passed over, as in
    /// declarations of AMQP.
    pub(super) fn new_name(&self, part: &str, kind: &str) -> Result<ShortString, Failure> {
        let name = self.text(part)?.replace(['\r', '\n'], "");
        ShortString::try_from(name.as_str()).map_err(|_| {
            let length = name.len();
            let reason = format!("{kind} should be less than 255 bytes, actually was {length}\n");
            Failure::bad_request(reason)
        })
    }

    /// The virtual host of the path, which must be there.
    pub(super) fn home(&self) -> Result<VirtualHostName, Failure> {
        let name = VirtualHostName::from(self.name("vhost")?);
        match self.broker().virtual_host_options(&name) {
            Some(_) => Ok(name),
            None => Err(Failure::not_there()),
        }
    }

    /// The same for what is to be made in it: the answer then says what is missing.
    pub(super) fn home_to_change(&self) -> Result<VirtualHostName, Failure> {
        self.home().map_err(|_| Failure::missing("vhost_not_found"))
    }

    /// The exchange of the path.
    pub(super) fn exchange(&self, part: &str) -> Result<ExchangeName, Failure> {
        self.name(part).map(exchange_name)
    }

    pub(super) fn queue(&self, part: &str) -> Result<QueueName, Failure> {
        self.name(part).map(QueueName::from)
    }

    /// The body, which must be a JSON object; no body is an empty one (RabbitMQ 3.10).
    pub(super) fn object(&self) -> Result<Map<String, Value>, Failure> {
        if matches!(&*self.body, b"" | b"null" | b"undefined") {
            return Ok(Map::new());
        }
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(Value::Bool(_)) => Ok(Map::new()),
            Ok(Value::String(_)) => Err(Failure::bad_request(ENCODED_TWICE)),
            Ok(Value::Null | Value::Number(_) | Value::Array(_)) | Err(_) => {
                Err(Failure::bad_request("not_json"))
            }
        }
    }

    /// The body, which must be a JSON object with all of these keys.
    pub(super) fn object_with(&self, keys: &[&str]) -> Result<Map<String, Value>, Failure> {
        let object = self.object()?;
        let missing = keys.iter().filter(|key| !object.contains_key(**key));
        let missing: Vec<_> = missing.map(|key| format!("{{key_missing,{key}}}")).collect();
        if missing.is_empty() {
            return Ok(object);
        }
        Err(Failure::bad_request(format!("[{}]", missing.join(","))))
    }

    /// A way into a virtual host with the operator's rights.
    pub(super) fn client(&self, home: &VirtualHostName) -> Result<Client, Failure> {
        let mut client = self.node.client();
        let entered = match &self.operator {
            Operator::User { name, .. } => client.act_as(name.clone(), home),
            Operator::Local => client.act_for_operator(home),
        };
        entered.map_err(|refusal| self.refused(&refusal))?;
        Ok(client)
    }

    /// A refusal of the broker, as RabbitMQ answers it over HTTP: what a client of AMQP may not do
    /// is 401 here, what is not there is 404, and all else is a bad request.
    pub(super) fn refused(&self, refusal: &Refusal) -> Failure {
        let (code, words) = self.node.words(refusal);
        let words = words.split_once(" - ").map_or(&*words, |(_, words)| words);
        match (refusal, code) {
            (Refusal::VirtualHostNotFound(_), _) => Failure::missing("vhost_not_found"),
            (_, 404) => Failure::missing(words),
            (_, 403 | 530) => Failure::not_authorised("Access refused."),
            _ => Failure::bad_request(words),
        }
    }

    /// The virtual hosts of which lists show the caller what is in them: the one of the path, or
    /// all that he may enter, and every one to an administrator. It is not enough to see that a
    /// virtual host is there.
    pub(super) fn open_homes(&self) -> Result<Vec<VirtualHostName>, Failure> {
        let mut homes = self.homes()?;
        let (operator, authority) = (&self.operator, self.broker().authority());
        homes.retain(|home| operator.is_administrator() || operator.may_enter(authority, home));
        Ok(homes)
    }

    /// The virtual hosts that lists show the caller: the one of the path, or all he may see.
    pub(super) fn homes(&self) -> Result<Vec<VirtualHostName>, Failure> {
        if self.parts.iter().any(|(name, _)| *name == "vhost") {
            return Ok(vec![self.home()?]);
        }
        let mut homes = self.broker().virtual_hosts();
        homes.retain(|home| self.operator.may_see(self.broker().authority(), home));
        Ok(homes)
    }

    /// The reply with what the query asks of lists: order, columns, a page.
    pub(super) fn finish(&self, reply: Reply) -> Result<Reply, Failure> {
        let body = match reply.body {
            Body::Empty => Body::Empty,
            Body::One(value) => Body::One(super::listing::columns(&self.query, value)),
            Body::List(items) => Body::One(super::listing::list(&self.query, items)),
            Body::Pages(items) => Body::One(super::listing::pages(&self.query, items)?),
        };
        Ok(Reply { body, ..reply })
    }
}

/// `amq.default` is another name for the default exchange.
pub(super) fn exchange_name(name: ShortString) -> ExchangeName {
    if *name == *b"amq.default" { ExchangeName::default() } else { name.into() }
}

const ENCODED_TWICE: &str = "invalid payload: the request body JSON-decoded to a string. Is the \
                             input doubly-JSON-encoded?";
