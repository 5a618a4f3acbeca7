//! What a column of a list is among the keys of the HTTP API.

use std::net::IpAddr;

use serde_json::Value;

use crate::ctl::outcome::Cell;

pub(super) const QUEUES: &[&str] = &[
    "name",
    "durable",
    "auto_delete",
    "arguments",
    "policy",
    "pid",
    "owner_pid",
    "exclusive",
    "exclusive_consumer_pid",
    "exclusive_consumer_tag",
    "messages_ready",
    "messages_unacknowledged",
    "messages",
    "messages_ready_ram",
    "messages_unacknowledged_ram",
    "messages_ram",
    "messages_persistent",
    "message_bytes",
    "message_bytes_ready",
    "message_bytes_unacknowledged",
    "message_bytes_ram",
    "message_bytes_persistent",
    "head_message_timestamp",
    "disk_reads",
    "disk_writes",
    "consumers",
    "consumer_utilisation",
    "consumer_capacity",
    "memory",
    "slave_pids",
    "synchronised_slave_pids",
    "state",
    "type",
    "leader",
    "members",
    "online",
];

pub(super) const EXCHANGES: &[&str] =
    &["name", "type", "durable", "auto_delete", "internal", "arguments", "policy"];

pub(super) const BINDINGS: &[&str] = &[
    "source_name",
    "source_kind",
    "destination_name",
    "destination_kind",
    "routing_key",
    "arguments",
];

pub(super) const CONNECTIONS: &[&str] = &[
    "pid",
    "name",
    "port",
    "host",
    "peer_port",
    "peer_host",
    "ssl",
    "ssl_protocol",
    "ssl_key_exchange",
    "ssl_cipher",
    "ssl_hash",
    "peer_cert_subject",
    "peer_cert_issuer",
    "peer_cert_validity",
    "state",
    "channels",
    "protocol",
    "auth_mechanism",
    "user",
    "vhost",
    "timeout",
    "frame_max",
    "channel_max",
    "client_properties",
    "recv_oct",
    "recv_cnt",
    "send_oct",
    "send_cnt",
    "send_pend",
    "connected_at",
];

pub(super) const CHANNELS: &[&str] = &[
    "pid",
    "connection",
    "name",
    "number",
    "user",
    "vhost",
    "transactional",
    "confirm",
    "consumer_count",
    "messages_unacknowledged",
    "messages_uncommitted",
    "acks_uncommitted",
    "messages_unconfirmed",
    "prefetch_count",
    "global_prefetch_count",
];

/// In the order in which they are always shown.
pub(super) const CONSUMERS: &[&str] = &[
    "queue_name",
    "channel_pid",
    "consumer_tag",
    "ack_required",
    "prefetch_count",
    "active",
    "activity_status",
    "arguments",
];

pub(super) fn of_queue(queue: &Value, column: &str) -> Cell {
    match column {
        "owner_pid" => Cell::Plain(queue["owner_pid_details"]["pid"].clone()),
        "exclusive_consumer_pid" => Cell::Plain(Value::Null),
        "disk_reads" | "disk_writes" => {
            let count = queue["message_stats"][column].as_u64().unwrap_or_default();
            Cell::Plain(Value::from(count))
        }
        "slave_pids" => words(&queue["slave_nodes"]),
        "synchronised_slave_pids" => words(&queue["synchronised_slave_nodes"]),
        "members" | "online" => words(&queue[column]),
        other => plain(queue, other),
    }
}

pub(super) fn of_exchange(exchange: &Value, column: &str) -> Cell {
    plain(exchange, column)
}

pub(super) fn of_binding(binding: &Value, column: &str) -> Cell {
    match column {
        "source_name" => Cell::Plain(binding["source"].clone()),
        "source_kind" => Cell::text("exchange"),
        "destination_name" => Cell::Plain(binding["destination"].clone()),
        "destination_kind" => Cell::Plain(binding["destination_type"].clone()),
        other => plain(binding, other),
    }
}

pub(super) fn of_connection(connection: &Value, column: &str) -> Cell {
    match (column, connection[column].as_str()) {
        ("host" | "peer_host", Some(text)) => address(text),
        ("protocol", Some(text)) => protocol(text),
        ("client_properties", _) => arguments(&connection[column]),
        (other, _) => plain(connection, other),
    }
}

pub(super) fn of_channel(channel: &Value, column: &str) -> Cell {
    match column {
        "connection" => Cell::Plain(channel["connection_details"]["pid"].clone()),
        other => plain(channel, other),
    }
}

pub(super) fn of_consumer(consumer: &Value, column: &str) -> Cell {
    match column {
        "queue_name" => Cell::Plain(consumer["queue"]["name"].clone()),
        "channel_pid" => Cell::Plain(consumer["channel_details"]["pid"].clone()),
        other => plain(consumer, other),
    }
}

fn plain(item: &Value, column: &str) -> Cell {
    match column {
        "arguments" => arguments(&item[column]),
        column => Cell::Plain(item[column].clone()),
    }
}

fn arguments(value: &Value) -> Cell {
    Cell::Arguments(value.as_object().cloned().unwrap_or_default())
}

fn words(value: &Value) -> Cell {
    match value {
        Value::Array(items) => {
            Cell::Words(items.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        }
        other => Cell::Plain(other.clone()),
    }
}

fn address(text: &str) -> Cell {
    match text.parse() {
        Ok(IpAddr::V4(address)) => {
            Cell::Numbers(text.to_owned(), address.octets().map(u64::from).to_vec())
        }
        Ok(IpAddr::V6(address)) => {
            Cell::Numbers(text.to_owned(), address.segments().map(u64::from).to_vec())
        }
        Err(_) => Cell::text(text),
    }
}

/// `AMQP 0-9-1` is `{0,9,1}`.
fn protocol(text: &str) -> Cell {
    let version = text.strip_prefix("AMQP ").unwrap_or_default();
    let numbers: Result<Vec<u64>, _> = version.split('-').map(str::parse).collect();
    match numbers {
        Ok(numbers) => Cell::Numbers(format!("{{{}}}", version.replace('-', ",")), numbers),
        Err(_) => Cell::text(text),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_has_another_name_or_shape_in_http_is_found() {
        let connection = json!({ "peer_host": "::1", "protocol": "AMQP 0-9-1", "pid": "<n.1>" });
        let numbers = |text: &str, numbers: &[u64]| Cell::Numbers(text.into(), numbers.to_vec());
        assert_eq!(of_connection(&connection, "protocol"), numbers("{0,9,1}", &[0, 9, 1]));
        let one = numbers("::1", &[0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(of_connection(&connection, "peer_host"), one);
        let consumer = json!({ "queue": { "name": "q" }, "channel_details": { "pid": "<n.2>" } });
        assert_eq!(of_consumer(&consumer, "queue_name"), Cell::text("q"));
        assert_eq!(of_consumer(&consumer, "channel_pid"), Cell::text("<n.2>"));
    }

    #[test]
    fn what_is_not_told_is_empty() {
        assert_eq!(of_queue(&json!({}), "messages"), Cell::Plain(Value::Null));
        assert_eq!(of_queue(&json!({}), "disk_reads"), Cell::Plain(json!(0)));
        assert_eq!(of_queue(&json!({}), "members"), Cell::Plain(Value::Null));
    }
}
