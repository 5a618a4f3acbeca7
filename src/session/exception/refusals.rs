//! The broker's refusals in RabbitMQ's words, as versions 4.x word them.

use super::ReplyCode as Code;
use crate::model::{
    ArgumentFault, BindingFault, Difference, ExchangeFault, ExpirationFault, FieldValue, Refusal,
    Resource, Right, RoutingKey, ShortString, VirtualHostName,
};

const OUT_OF_REACH: &str = "is down or inaccessible";

/// Reply code and explanation of a refusal.
pub(super) fn words(refusal: &Refusal) -> (Code, String) {
    let (code, text) = match refusal {
        Refusal::NotFound(resource) => (Code::NotFound, format!("no {resource}")),
        Refusal::ReservedName(Resource { kind, name, .. }) => {
            (Code::AccessRefused, format!("{kind} name '{name}' contains reserved prefix 'amq.*'"))
        }
        Refusal::DefaultExchange => {
            (Code::AccessRefused, "operation not permitted on the default exchange".into())
        }
        Refusal::SystemExchange(resource) => {
            (Code::AccessRefused, format!("deletion of system {resource} not allowed"))
        }
        Refusal::InternalExchange(resource) => {
            (Code::AccessRefused, format!("cannot publish to internal {resource}"))
        }
        Refusal::UnknownExchangeType(kind) => {
            (Code::PreconditionFailed, format!("unknown exchange type '{kind}'"))
        }
        Refusal::InvalidExchangeType(kind) => {
            (Code::PreconditionFailed, format!("invalid exchange type '{kind}'"))
        }
        Refusal::Locked(resource) => (Code::ResourceLocked, locked(resource)),
        Refusal::InExclusiveUse(resource) => {
            (Code::AccessRefused, format!("{resource} in exclusive use"))
        }
        Refusal::InUse(resource) => (Code::PreconditionFailed, format!("{resource} in use")),
        Refusal::NotEmpty(resource) => (Code::PreconditionFailed, format!("{resource} not empty")),
        Refusal::ConditionalDeleteUnsupported { resource, flag } => {
            (Code::NotImplemented, conditional_delete(resource, flag))
        }
        Refusal::GetUnsupported(resource) => (Code::ResourceLocked, get_from_single(resource)),
        Refusal::GlobalPrefetchUnsupported(resource) => {
            (Code::NotImplemented, format!("{resource} does not support global qos"))
        }
        Refusal::VirtualHostNotFound(name) => (Code::NotAllowed, format!("vhost {name} not found")),
        Refusal::AccessDenied { right, resource, user } => {
            (Code::AccessRefused, format!("{right} access to {resource} refused for user '{user}'"))
        }
        Refusal::TopicDenied { right, key, exchange, user } => {
            (Code::AccessRefused, topic_denied(*right, key, exchange, user))
        }
        Refusal::VirtualHostDenied { virtual_host, user } => {
            (Code::NotAllowed, no_entry(virtual_host, user))
        }
        Refusal::VirtualHostFull { virtual_host, user, limit } => {
            let no_entry = no_entry(virtual_host, user);
            (Code::NotAllowed, format!("{no_entry}: connection limit ({limit}) is reached"))
        }
        Refusal::TooManyConnections { user, limit } => {
            (Code::NotAllowed, too_many_connections(user, *limit))
        }
        Refusal::TooManyChannels { user, limit } => {
            (Code::NotAllowed, too_many_channels(user, *limit))
        }
        Refusal::NodeFull { limit } => {
            let text = format!("connection refused: node connection limit ({limit}) is reached");
            (Code::NotAllowed, text)
        }
        Refusal::LoginRefused => (Code::AccessRefused, "Login was refused".into()),
        Refusal::NotKept { cause } => (Code::InternalError, format!("the store failed: {cause}")),
        Refusal::OutOfReach { resource, node } => {
            (Code::NotFound, format!("home node '{node}' of durable {resource} {OUT_OF_REACH}"))
        }
        Refusal::NoQuorum => {
            let text = "no majority of the cluster's nodes has agreed in time";
            (Code::InternalError, text.into())
        }
        Refusal::InvalidProperties => (Code::InternalError, String::new()),
        arguments_or_message => (Code::PreconditionFailed, precondition(arguments_or_message)),
    };
    (code, text)
}

/// What is wrong with the arguments of a declaration, or with a message.
fn precondition(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Inequivalent { resource, argument, difference } => {
            format!("inequivalent arg '{argument}' for {resource}: {}", differs(difference))
        }
        Refusal::InvalidArgument { resource, argument, fault } => {
            format!("invalid arg '{argument}' for {resource}: {}", argument_fault(fault))
        }
        Refusal::ArgumentNotForType { resource, argument, kind } => {
            format!("invalid arg '{argument}' for {resource} of queue type {kind}")
        }
        Refusal::InvalidArgumentType { resource, argument, type_name } => {
            format!("invalid type '{type_name}' for arg '{argument}' in {resource}")
        }
        Refusal::InvalidProperty { resource, property } => {
            format!("invalid property '{property}' for {resource}")
        }
        Refusal::ServerNamedQueue { kind } => {
            format!("Cannot declare a server-named queue for type {kind}")
        }
        Refusal::InvalidHeadersMatch { value } => headers_match(value),
        Refusal::UnfitExchange(fault) => exchange_fault(fault),
        Refusal::UnfitBinding(fault) => binding_fault(fault),
        Refusal::InvalidExpiration { value, fault } => {
            format!("invalid expiration '{value}': {}", expiration_fault(fault))
        }
        Refusal::InvalidRecipients { header, type_name } => {
            format!("invalid message: {{unacceptable_type_in_header,\"{header}\",{type_name}}}")
        }
        Refusal::WrongUserId { claimed, user } => {
            format!("user_id property set to '{claimed}' but authenticated user was '{user}'")
        }
        Refusal::NoReplyConsumer => "fast reply consumer does not exist".into(),
        Refusal::ReplyConsumerTaken => "reply consumer already set".into(),
        Refusal::ReplyConsumerAcknowledges => "reply consumer cannot acknowledge".into(),
        Refusal::PartialTransaction => "partial tx completion".into(),
        Refusal::TooManyQueues { queue: Resource { name, virtual_host, .. }, limit } => format!(
            "cannot declare queue '{name}': queue limit in vhost '{virtual_host}' ({limit}) is \
             reached"
        ),
        // Every other refusal has its words in the caller.
        _ => String::new(),
    }
}

fn topic_denied(right: Right, key: &RoutingKey, exchange: &Resource, user: &ShortString) -> String {
    format!("{right} access to topic '{key}' in {exchange} refused for user '{user}'")
}

fn no_entry(virtual_host: &VirtualHostName, user: &ShortString) -> String {
    format!("access to vhost '{virtual_host}' refused for user '{user}'")
}

fn too_many_connections(user: &ShortString, limit: u64) -> String {
    format!("connection refused for user '{user}': user connection limit ({limit}) is reached")
}

fn too_many_channels(user: &ShortString, limit: u64) -> String {
    format!(
        "number of channels opened for user '{user}' has reached the maximum allowed user limit of \
         {limit}"
    )
}

/// Client libraries look for `exclusive` and `locked` in it.
fn locked(resource: &Resource) -> String {
    format!(
        "cannot obtain exclusive access to locked {resource}. It could be originally declared on \
         another connection or the exclusive property value does not match that of the original \
         declaration."
    )
}

fn conditional_delete(resource: &Resource, flag: &str) -> String {
    format!(
        "cannot delete {resource}. queue.delete operations with {flag} flag set are not supported \
         by quorum queues"
    )
}

fn get_from_single(resource: &Resource) -> String {
    format!(
        "cannot obtain access to locked {resource}. basic.get operations are not supported by \
         quorum queues with single active consumer"
    )
}

fn differs(difference: &Difference) -> String {
    match difference {
        Difference::Values { received, current } => {
            format!("received '{received}' but current is '{current}'")
        }
        Difference::Unexpected { received } => {
            let kind = received.type_name();
            format!("received the value '{received}' of type '{kind}' but current is none")
        }
        Difference::Missing { current } => {
            let kind = current.type_name();
            format!("received none but current is the value '{current}' of type '{kind}'")
        }
    }
}

fn argument_fault(fault: &ArgumentFault) -> String {
    match fault {
        ArgumentFault::NotAnInteger(kind) => format!("\"expected integer, got {kind}\""),
        ArgumentFault::UnacceptableType(kind) => format!("{{unacceptable_type,{kind}}}"),
        ArgumentFault::Negative(value) => format!("{{value_negative,{value}}}"),
        ArgumentFault::Zero => "{value_zero,0}".into(),
        ArgumentFault::TooLarge(value) => format!("{{value_too_large,{value}}}"),
        ArgumentFault::AboveMaximum(value) => format!("{{max_value_exceeded,{value}}}"),
        ArgumentFault::NotAllowed(word) => (*word).into(),
        ArgumentFault::Unsupported { what, value } => format!("\"unsupported {what} '{value}'\""),
        ArgumentFault::RoutingKeyWithoutExchange => "routing_key_but_no_dlx_defined".into(),
    }
}

fn expiration_fault(fault: &ExpirationFault) -> String {
    match fault {
        ExpirationFault::NoInteger => "no_integer".into(),
        ExpirationFault::Leftover(rest) => format!("{{leftover_string,\"{rest}\"}}"),
        ExpirationFault::Negative(value) => format!("{{value_negative,{value}}}"),
        ExpirationFault::TooLarge(value) => format!("{{value_too_large,{value}}}"),
    }
}

/// The words of the types that are plugins of RabbitMQ.
fn exchange_fault(fault: &ExchangeFault) -> String {
    match fault {
        ExchangeFault::HashesTwice => "hash-header and hash-property are mutually exclusive".into(),
        ExchangeFault::UnknownHashProperty(name) => format!("Unsupported property: {name}"),
        ExchangeFault::HistoryLength(value) => format!(
            "Invalid argument {}, 'x-recent-history-length' must be a positive integer",
            term(value)
        ),
        ExchangeFault::DelaysTwice => {
            "Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'".into()
        }
        ExchangeFault::NoDelayedType => {
            "Invalid argument, 'x-delayed-type' must be an existing exchange type".into()
        }
        ExchangeFault::CacheSize => {
            "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0".into()
        }
        ExchangeFault::CacheTimeToLive => {
            "Invalid argument, 'x-cache-ttl' must be an integer greater than 0".into()
        }
        ExchangeFault::CachePersistence => {
            "Invalid argument, 'x-cache-persistence' must be either 'disk' or 'memory'".into()
        }
    }
}

fn binding_fault(fault: &BindingFault) -> String {
    match fault {
        BindingFault::WeightNotAnInteger(key) => {
            format!("The binding key must be an integer: {}", binary(key))
        }
        BindingFault::WeightBelowOne => "The binding key must be greater than 0".into(),
        BindingFault::WeightAbove(greatest) => {
            format!("The binding key must not exceed {greatest}")
        }
        BindingFault::KeyNotEmpty(key) => format!("Non empty binding '{key}' key not permitted"),
        BindingFault::QueueKind(kind) => {
            format!("Queue type {kind} not valid for this exchange type")
        }
        BindingFault::NotAQueue => "Destination not found".into(),
    }
}

/// A value in Erlang's notation.
fn term(value: &FieldValue) -> String {
    match value {
        FieldValue::LongString(octets) | FieldValue::ByteArray(octets) => binary(octets),
        other => other.to_string(),
    }
}

/// Octets in Erlang's notation; only text is shown as it shows it.
fn binary(octets: &[u8]) -> String {
    if octets.is_empty() {
        return "<<>>".into();
    }
    format!("<<\"{}\">>", String::from_utf8_lossy(octets))
}

fn headers_match(value: &FieldValue) -> String {
    match value {
        FieldValue::LongString(text) => format!(
            "Invalid x-match field value <<\"{text}\">>; expected all, any, all-with-x, or \
             any-with-x"
        ),
        other => format!(
            "Invalid x-match field type {} (value {other}); expected longstr",
            other.type_name()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ResourceKind;

    fn queue() -> Resource {
        Resource {
            kind: ResourceKind::Queue,
            name: ShortString::from_static("q"),
            virtual_host: VirtualHostName::from_static("/"),
        }
    }

    fn exchange() -> Resource {
        Resource { kind: ResourceKind::Exchange, name: ShortString::from_static("x"), ..queue() }
    }

    fn check(refusal: Refusal, code: u16, text: &str) {
        let (found, words) = words(&refusal);
        assert_eq!((found.number(), words.as_str()), (code, text));
    }

    fn argument(fault: ArgumentFault, reason: &str) {
        let argument = ShortString::from_static("x-a");
        let text = format!("invalid arg 'x-a' for queue 'q' in vhost '/': {reason}");
        check(Refusal::InvalidArgument { resource: queue(), argument, fault }, 406, &text);
    }

    #[test]
    fn resources_are_worded_as_rabbitmq_does() {
        check(Refusal::NotFound(queue()), 404, "no queue 'q' in vhost '/'");
        check(Refusal::InExclusiveUse(queue()), 403, "queue 'q' in vhost '/' in exclusive use");
        check(Refusal::NotEmpty(queue()), 406, "queue 'q' in vhost '/' not empty");
        let text = "deletion of system exchange 'x' in vhost '/' not allowed";
        check(Refusal::SystemExchange(exchange()), 403, text);
        let text = "exchange name 'x' contains reserved prefix 'amq.*'";
        check(Refusal::ReservedName(exchange()), 403, text);
        let text = "cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be \
                    originally declared on another connection or the exclusive property value does \
                    not match that of the original declaration.";
        check(Refusal::Locked(queue()), 405, text);
    }

    #[test]
    fn differences_are_worded_as_rabbitmq_does() {
        let inequivalent = |difference| Refusal::Inequivalent {
            resource: queue(),
            argument: ShortString::from_static("x-a"),
            difference,
        };
        let start = "inequivalent arg 'x-a' for queue 'q' in vhost '/': ";
        let values = Difference::Values { received: "1001".into(), current: "1000".into() };
        let text = format!("{start}received '1001' but current is '1000'");
        check(inequivalent(values), 406, &text);
        let unexpected = Difference::Unexpected { received: FieldValue::Int32(1000) };
        let text =
            format!("{start}received the value '1000' of type 'signedint' but current is none");
        check(inequivalent(unexpected), 406, &text);
        let missing = Difference::Missing { current: FieldValue::Int32(800) };
        let text =
            format!("{start}received none but current is the value '800' of type 'signedint'");
        check(inequivalent(missing), 406, &text);
    }

    #[test]
    fn argument_faults_are_worded_as_rabbitmq_does() {
        argument(ArgumentFault::NotAnInteger("longstr"), "\"expected integer, got longstr\"");
        argument(ArgumentFault::Negative(-1), "{value_negative,-1}");
        argument(ArgumentFault::Zero, "{value_zero,0}");
        argument(ArgumentFault::AboveMaximum(256), "{max_value_exceeded,256}");
        argument(ArgumentFault::NotAllowed("invalid_overflow"), "invalid_overflow");
        let value = ShortString::from_static("foo");
        let fault = ArgumentFault::Unsupported { what: "queue type", value };
        argument(fault, "\"unsupported queue type 'foo'\"");
    }

    #[test]
    fn message_faults_are_worded_as_rabbitmq_does() {
        let value = ShortString::from_static("1.5");
        let fault = ExpirationFault::Leftover(ShortString::from_static(".5"));
        let text = "invalid expiration '1.5': {leftover_string,\".5\"}";
        check(Refusal::InvalidExpiration { value, fault }, 406, text);
        let text = "invalid message: {unacceptable_type_in_header,\"CC\",longstr}";
        check(Refusal::InvalidRecipients { header: "CC", type_name: "longstr" }, 406, text);
        let text =
            "Invalid x-match field value <<\"foo\">>; expected all, any, all-with-x, or any-with-x";
        check(Refusal::InvalidHeadersMatch { value: FieldValue::from("foo") }, 406, text);
        let text = "Invalid x-match field type bool (value true); expected longstr";
        check(Refusal::InvalidHeadersMatch { value: FieldValue::Boolean(true) }, 406, text);
        check(Refusal::PartialTransaction, 406, "partial tx completion");
    }

    #[test]
    fn missing_rights_are_worded_as_rabbitmq_does() {
        let user = ShortString::from_static("u");
        let denied =
            |right, resource| Refusal::AccessDenied { right, resource, user: user.clone() };
        let text = "configure access to queue 'q' in vhost '/' refused for user 'u'";
        check(denied(Right::Configure, queue()), 403, text);
        let text = "write access to exchange 'x' in vhost '/' refused for user 'u'";
        check(denied(Right::Write, exchange()), 403, text);
        let topic = Refusal::TopicDenied {
            right: Right::Read,
            key: RoutingKey::from_static("a.*"),
            exchange: exchange(),
            user: user.clone(),
        };
        let text = "read access to topic 'a.*' in exchange 'x' in vhost '/' refused for user 'u'";
        check(topic, 403, text);
        let virtual_host = VirtualHostName::from_static("v");
        let text = "access to vhost 'v' refused for user 'u'";
        let denied =
            Refusal::VirtualHostDenied { virtual_host: virtual_host.clone(), user: user.clone() };
        check(denied, 530, text);
        let full = Refusal::VirtualHostFull { virtual_host, user: user.clone(), limit: 2 };
        check(full, 530, &format!("{text}: connection limit (2) is reached"));
        let text = "connection refused for user 'u': user connection limit (3) is reached";
        check(Refusal::TooManyConnections { user, limit: 3 }, 530, text);
        let text = "cannot declare queue 'q': queue limit in vhost '/' (1) is reached";
        check(Refusal::TooManyQueues { queue: queue(), limit: 1 }, 406, text);
    }

    #[test]
    fn a_failed_store_is_named_as_the_cause() {
        let cause = "j1: could not sync: input/output error".to_owned();
        let text = "the store failed: j1: could not sync: input/output error";
        check(Refusal::NotKept { cause }, 541, text);
    }

    #[test]
    fn what_no_majority_agrees_to_is_an_error_inside() {
        let text = "no majority of the cluster's nodes has agreed in time";
        check(Refusal::NoQuorum, 541, text);
    }
}
