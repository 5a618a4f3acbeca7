//! Every setting of the broker, with its default and its unit.

mod cluster;
mod file;
mod limit;
mod quota;
mod tls;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

pub use cluster::{Backend, CLUSTER_PORT, Cluster, ClusterNode, ClusterTls, PartitionHandling};
pub use file::{FileError, LineFault, apply, read as read_file};
pub use limit::Limit;
pub use quota::Quota;
pub use tls::{
    AMQPS_PORT, AlternativeName, CertificateLogin, LoginFrom, NamedCertificate, Tls, TlsVersion,
};

/// The port that AMQP without TLS has by default.
pub const AMQP_PORT: u16 = 5672;

/// The port that the control plane has by default.
pub const MANAGEMENT_PORT: u16 = 15672;

/// What the broker is told before it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where to listen for AMQP; port 0 takes any free port. `listeners.tcp.…`
    pub listen: Vec<SocketAddr>,
    /// Where to listen for the control plane over HTTP; nowhere unless it is said, but the command
    /// line says [`Self::usual_management`]. `management.tcp.port`, `management.tcp.ip`
    pub management: Vec<SocketAddr>,
    /// Where to make the node's own socket, through which whoever may open it is an administrator.
    /// The command line has it in the data directory.
    pub control_socket: Option<PathBuf>,
    /// Files of definitions, or directories of them, that are imported before anybody may connect.
    /// `load_definitions`, `management.load_definitions`
    pub definitions: Vec<PathBuf>,
    /// Where durable things are kept; none keeps everything in memory alone. `data_dir`
    pub data_dir: Option<PathBuf>,
    /// Start although parts of the data directory are damaged, and without them. It is for one
    /// start and therefore no setting of a file.
    pub recover: bool,
    /// The least severe level that is logged, or directives of `tracing`. `log.level`
    pub log: String,
    /// The user that exists from the start. `default_user`, `default_pass`
    pub default_user: String,
    pub default_password: String,
    /// The virtual host that exists from the start. `default_vhost`
    pub default_virtual_host: String,
    /// What that user may configure, write and read there. `default_permissions.configure`, …
    pub default_permissions: [String; 3],
    /// `default_user_tags.administrator`, …
    pub default_user_tags: Vec<String>,
    /// Users who may only connect from this machine. `loopback_users`
    pub loopback_users: Vec<String>,
    /// Channels a connection may open; 0 is no limit. `channel_max`
    pub channel_max: u16,
    /// Octets of a frame with its header and end; at least 4096. `frame_max`
    pub frame_max: u32,
    /// Seconds between heartbeats that are proposed to clients; 0 is none. `heartbeat`
    pub heartbeat: u16,
    /// Milliseconds from accepting a client to its open virtual host. `handshake_timeout`
    pub handshake_timeout_ms: u64,
    /// Octets of a message's body. `max_message_size`
    pub max_message_size: u64,
    /// Who publishes is blocked while the process holds more memory than this.
    /// `vm_memory_high_watermark.relative`, `vm_memory_high_watermark.absolute`
    pub memory_watermark: Limit,
    /// The share of the watermark beyond which messages leave memory for the disk, if there is one.
    /// `vm_memory_high_watermark_paging_ratio`
    pub memory_paging_ratio: f64,
    /// Milliseconds between two looks at the memory. `memory_monitor_interval`
    pub memory_monitor_interval_ms: u64,
    /// Who publishes is blocked while the file system of the data directory has less room than
    /// this. `disk_free_limit.absolute`, `disk_free_limit.relative`
    pub disk_free_limit: Limit,
    /// What the broker calls itself to its clients. `product.name`, `product.version`
    pub product: String,
    pub product_version: String,
    /// The name that clients and tools show. `cluster_name`
    pub cluster_name: String,
    /// What the node is called among operators' tools.
    pub node_name: String,
    /// Ways to log in, in the order in which clients are told. `auth_mechanisms.…`
    pub mechanisms: Vec<AuthMechanism>,
    /// How much clients may have.
    pub quota: Quota,
    /// AMQP over TLS.
    pub tls: Tls,
    /// The other nodes, if it is not by itself.
    pub cluster: Cluster,
    /// Keys of RabbitMQ's that the file has and that change nothing here.
    pub without_effect: Vec<String>,
}

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMechanism {
    Plain,
    AmqPlain,
    Anonymous,
    /// By the client's certificate, over TLS.
    External,
}

impl Config {
    /// Where the control plane listens when nobody says it: this machine alone can reach it.
    pub fn usual_management() -> Vec<SocketAddr> {
        LOOPBACK.map(|address| SocketAddr::new(address, MANAGEMENT_PORT)).to_vec()
    }
}

const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: LOOPBACK.map(|address| SocketAddr::new(address, AMQP_PORT)).to_vec(),
            management: Vec::new(),
            control_socket: None,
            definitions: Vec::new(),
            data_dir: None,
            recover: false,
            log: "info".to_owned(),
            default_user: "guest".to_owned(),
            default_password: "guest".to_owned(),
            default_virtual_host: "/".to_owned(),
            default_permissions: [".*", ".*", ".*"].map(str::to_owned),
            default_user_tags: vec!["administrator".to_owned()],
            loopback_users: vec!["guest".to_owned()],
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat: 60,
            handshake_timeout_ms: 10_000,
            max_message_size: 16 * 1024 * 1024,
            memory_watermark: Limit::Relative(0.4),
            memory_paging_ratio: 0.5,
            memory_monitor_interval_ms: 2500,
            disk_free_limit: Limit::Absolute(50_000_000),
            product: "RabbitMQ".to_owned(),
            product_version: "4.2.0".to_owned(),
            cluster_name: "leveret@localhost".to_owned(),
            node_name: "leveret@localhost".to_owned(),
            mechanisms: vec![
                AuthMechanism::Plain,
                AuthMechanism::AmqPlain,
                AuthMechanism::Anonymous,
            ],
            quota: Quota::default(),
            tls: Tls::default(),
            cluster: Cluster::default(),
            without_effect: Vec::new(),
        }
    }
}
