//! What the control plane asks of the node beyond its broker.

use std::{
    fmt,
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use crate::{
    broker::{Broker, Client},
    config::{AuthMechanism, Limit},
    model::{ConnectionId, FieldTable, LogPosition, Moment, Refusal, ShortString, VirtualHostName},
};

/// Ends when everything up to a position survives a crash, or tells why it never will.
pub type Durable = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// The node that is administered.
pub trait Node: fmt::Debug + Send + Sync + 'static {
    fn broker(&self) -> &Arc<Broker>;

    fn now(&self) -> Moment;

    /// 128 bits that nobody can foresee.
    fn entropy(&self) -> u128;

    /// When everything up to `position` survives a crash.
    fn durable(&self, position: LogPosition) -> Durable;

    /// A way into the broker for one operation; nothing is ever delivered to it.
    fn client(&self) -> Client;

    /// The reply code and text that clients of AMQP are told for a refusal.
    fn words(&self, refusal: &Refusal) -> (u16, String);

    /// What the node is called, and what it calls itself.
    fn names(&self) -> &Names;

    /// How long it has run.
    fn uptime(&self) -> Duration;

    /// Where it listens, and for what.
    fn listeners(&self) -> Vec<Listening>;

    /// How much it has, and how much it may have.
    fn readings(&self) -> Readings;

    /// The connections that have opened a virtual host, the oldest first.
    fn connections(&self) -> Vec<Connection>;

    /// Notes that somebody tried to log in over HTTP. The answer to one who failed is to wait for
    /// the time that is returned.
    fn note_login(&self, from: Option<IpAddr>, succeeded: bool) -> Duration;

    /// Logins that were tried, by RabbitMQ's name of the protocol: how many succeeded and how many
    /// failed.
    fn login_attempts(&self) -> Vec<(&'static str, u64, u64)>;

    fn forget_login_attempts(&self);

    /// How much memory it may use before publishers are blocked, as it was set.
    fn memory_watermark(&self) -> Limit;

    /// Sets how much memory it may use before publishers are blocked, until it is started again.
    fn set_memory_watermark(&self, watermark: Limit);

    /// Sets how much room the disk must have before publishers are blocked, until it is started
    /// again.
    fn set_disk_free_limit(&self, limit: Limit);

    /// The certificates of its listeners that speak TLS.
    fn certificates(&self) -> Vec<CertificateFile>;

    /// The other nodes of its cluster, by name; none when it is by itself.
    fn fellows(&self) -> Vec<Fellow>;

    /// Takes another node out of the cluster for good. May block its thread.
    ///
    /// # Errors
    /// As [`NotForgotten`] tells; always without a cluster.
    fn forget_node(&self, name: &str) -> Result<(), NotForgotten>;

    /// What it tells other nodes of itself.
    fn vitals(&self) -> Vitals {
        let Names { product, version, .. } = self.names();
        Vitals {
            product: product.clone(),
            version: version.clone(),
            uptime: self.uptime(),
            process: std::process::id(),
            sockets: self.broker().connections().len() as u64,
            readings: self.readings(),
            listeners: self.listeners(),
            is_in_maintenance: self.is_in_maintenance(),
        }
    }

    /// Puts it into maintenance: clients must leave and cannot come, and other nodes lead what it
    /// leads. Or puts it back into service.
    fn set_maintenance(&self, maintenance: bool);

    fn is_in_maintenance(&self) -> bool;

    /// Asks it to stop; it does after the answer.
    fn stop(&self);
}

/// Another node of the cluster.
#[derive(Clone, Debug)]
pub struct Fellow {
    pub name: String,
    pub is_running: bool,
    /// Absent: it has not said anything yet, or does not run.
    pub vitals: Option<Vitals>,
}

/// What a node tells other nodes of itself.
#[derive(Clone, Debug)]
pub struct Vitals {
    pub product: String,
    /// The version of RabbitMQ that it behaves as.
    pub version: String,
    pub uptime: Duration,
    /// The number of its process.
    pub process: u32,
    /// Connections of clients.
    pub sockets: u64,
    pub readings: Readings,
    pub listeners: Vec<Listening>,
    pub is_in_maintenance: bool,
}

/// Why a node stays in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotForgotten {
    Unknown,
    Running,
    NoQuorum,
}

/// How a node presents itself.
#[derive(Clone, Debug)]
pub struct Names {
    /// `leveret@localhost`.
    pub node: String,
    /// As configured; an operator may have set another.
    pub cluster: String,
    pub product: String,
    /// The version of RabbitMQ that it behaves as.
    pub version: String,
    /// The ways in which clients may log in.
    pub mechanisms: Vec<AuthMechanism>,
    /// Where its data is; none without a data directory.
    pub data_dir: Option<String>,
}

/// A file of certificates, and when they end.
#[derive(Clone, Debug)]
pub struct CertificateFile {
    /// `cacertfile` or `certfile`.
    pub setting: &'static str,
    pub path: String,
    /// With the words for it.
    pub ends: Vec<(Moment, String)>,
}

/// A socket that the node listens on.
#[derive(Clone, Debug)]
pub struct Listening {
    /// As RabbitMQ calls it: `amqp`, `amqp/ssl`, `http`.
    pub protocol: &'static str,
    pub address: SocketAddr,
}

/// What a node measures of itself; absent is what this machine does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Readings {
    /// In octets.
    pub memory_used: Option<u64>,
    pub memory_limit: Option<u64>,
    pub disk_free: Option<u64>,
    pub disk_free_limit: Option<u64>,
    pub memory_alarm: bool,
    pub disk_alarm: bool,
    /// Files and sockets.
    pub files_open: Option<u64>,
    pub files_limit: Option<u64>,
}

/// A client's connection.
#[derive(Clone, Debug)]
pub struct Connection {
    pub id: ConnectionId,
    pub user: ShortString,
    pub virtual_host: VirtualHostName,
    pub remote: SocketAddr,
    pub local: SocketAddr,
    pub since: Moment,
    pub channels: u64,
    pub mechanism: ShortString,
    pub client_properties: FieldTable,
    pub channel_max: u16,
    pub frame_max: usize,
    pub heartbeat: u16,
    /// Absent: the connection is in plain.
    pub security: Option<Security>,
}

/// What TLS does for a connection, in RabbitMQ's words.
#[derive(Clone, Debug)]
pub struct Security {
    pub protocol: &'static str,
    pub key_exchange: &'static str,
    pub cipher: &'static str,
    pub hash: &'static str,
    /// Present only if the client has shown a certificate that was found good.
    pub peer: Option<PeerName>,
}

/// Whom a certificate names.
#[derive(Clone, Debug)]
pub struct PeerName {
    pub subject: String,
    pub issuer: String,
    pub validity: String,
}
