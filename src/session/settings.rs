//! What a node tells its clients about itself and grants them.

use std::time::Duration;

use super::authentication::Mechanism;

/// Shared by all sessions of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Channels a client may have open; 0 is no limit.
    pub channel_max: u16,
    /// The largest frame in octets; 0 is no limit.
    pub frame_max: u32,
    /// The heartbeat proposed to clients, in seconds; their answer counts.
    pub heartbeat: u16,
    /// Clients compare it: only `RabbitMQ` gets kombu to use `basic.qos` as RabbitMQ means it.
    pub product: String,
    /// Dotted integers; clients choose their behaviour by it.
    pub version: String,
    pub platform: String,
    pub cluster_name: String,
    pub copyright: String,
    pub information: String,
    /// Leveret's own version, under a key of its own.
    pub leveret: String,
    /// Announced in this order.
    pub mechanisms: Vec<Mechanism>,
    /// The largest body in octets (RabbitMQ 4.x: 16 MiB).
    pub max_message_size: u64,
    /// Octets that may be on their way to one consumer.
    pub consumer_window: usize,
    /// How long a delivery may be unacknowledged, if its queue does not say; none is for ever. What
    /// is longer is found in one of the next two looks, a tenth of that or a minute apart.
    pub consumer_timeout: Option<Duration>,
    /// Consumers that a channel may have.
    pub consumers_per_channel: Option<usize>,
    /// How long a client may take from connecting to an open virtual host.
    pub handshake_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let leveret = env!("CARGO_PKG_VERSION");
        Self {
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat: 60,
            product: "RabbitMQ".into(),
            version: "4.2.0".into(),
            platform: "Leveret".into(),
            cluster_name: "leveret@localhost".into(),
            copyright: "Copyright (c) the Leveret authors.".into(),
            information: "Licensed under the Apache License 2.0.".into(),
            leveret: leveret.into(),
            mechanisms: vec![Mechanism::Plain, Mechanism::AmqPlain, Mechanism::Anonymous],
            max_message_size: 16 * 1024 * 1024,
            consumer_window: 256 * 1024,
            consumer_timeout: Some(Duration::from_secs(30 * 60)),
            consumers_per_channel: None,
            handshake_timeout: Duration::from_secs(10),
        }
    }
}
