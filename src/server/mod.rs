//! Puts the broker together: binds its sockets, makes its parts, starts them, stops them.

mod alarms;
mod attempts;
mod backend;
mod cluster;
mod connections;
mod control;
mod entropy;
mod establish;
mod journal;
mod listeners;
mod minority;
mod ports;
mod promises;
mod recovery;
mod storage;
#[cfg(test)]
mod tests;
mod timers;

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use thiserror::Error;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::alarms::Alarms;
use self::{
    alarms::{Gauges, Machine},
    attempts::Attempts,
    backend::Desk,
    cluster::{Fellow, Insight},
    connections::Connections,
    control::{Control, Doors},
    establish::Opened,
    journal::StoreJournal,
    listeners::Listeners,
    minority::Entrance,
    ports::ConnectionOutbox,
    promises::Promises,
    storage::Storage,
    timers::Timers,
};
pub(crate) use self::{backend::BrokerBackend, establish::make_broker};
use crate::{
    admin::BadDefinitions,
    broker::{BadFact, BadPattern, Broker, Client},
    config::{AuthMechanism, Config, PartitionHandling},
    model::{ConnectionId, Moment, NameTooLong},
    net::{
        Clients, Clock, Conversation, Outbox, Peer, Reception,
        tls::{Tls, TlsError},
    },
    session::{Identity, Mechanism, Session, Settings},
    store,
};

/// How long the clients have to answer that the connection closes.
const FAREWELL: Duration = Duration::from_secs(3);

/// Why the broker could not start. Nothing of it runs then.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("cannot listen on {address}: {cause}")]
    Listen { address: SocketAddr, cause: io::Error },
    #[error("cannot use the data directory {}: {cause}", path.display())]
    DataDir { path: PathBuf, cause: io::Error },
    #[error("the data directory {} is in use by another process", path.display())]
    DataDirInUse { path: PathBuf },
    #[error(
        "the data directory {} is damaged: {cause}; `--recover` starts without what is lost",
        path.display()
    )]
    Damaged { path: PathBuf, cause: store::Error },
    #[error("cannot use the data directory {}: {cause}", path.display())]
    Store { path: PathBuf, cause: store::Error },
    #[error("the data directory {} cannot be understood: {cause}", path.display())]
    Meaningless { path: PathBuf, cause: BadFact },
    #[error("`{name}` cannot name a virtual host: {cause}")]
    VirtualHostName { name: String, cause: NameTooLong },
    #[error("`{name}` cannot name a user: {cause}")]
    UserName { name: String, cause: NameTooLong },
    #[error("there is no address to listen on")]
    NoListener,
    #[error("default_permissions: {cause}")]
    DefaultPermissions { cause: BadPattern },
    #[error(transparent)]
    Definitions(#[from] BadDefinitions),
    #[error("cannot make the control socket {}: {cause}", path.display())]
    ControlSocket { path: PathBuf, cause: io::Error },
    #[error("another process listens on the control socket {}", path.display())]
    ControlSocketInUse { path: PathBuf },
    #[error("`{name}`, this node, is not among `cluster_formation.classic_config.nodes`")]
    NotInCluster { name: String },
    #[error("the data directory is that of the node `{kept}`, and this one is `{name}`")]
    OtherNode { kept: String, name: String },
    #[error(
        "`cluster.tls.cacertfile`, `cluster.tls.certfile` and `cluster.tls.keyfile` are set all \
         three, or none"
    )]
    ClusterTls,
    #[error(
        "the data directory has what a node by itself has kept: a node that joins a cluster begins \
         with an empty one"
    )]
    NotBlank,
    #[error("a node of a cluster needs a data directory")]
    ClusterWithoutDataDir,
    #[error("what is kept of the cluster makes no sense: {what}")]
    ClusterState { what: String },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A running broker. Dropping it stops it at once; [`Server::stop`] lets the clients know.
pub struct Server {
    listeners: Arc<Listeners>,
    management: Vec<SocketAddr>,
    control: Arc<Control>,
    clients: Arc<Clients>,
    alarms: Arc<Alarms>,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Absent: nothing survives.
    storage: Option<Storage>,
    /// Absent: the node is by itself.
    fellow: Option<Fellow>,
}

impl Server {
    /// Starts a broker in the current tokio runtime; it accepts clients when this returns.
    ///
    /// # Errors
    /// When an address is taken, the configuration asks for what cannot be, or the data directory
    /// is in use or damaged.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        Self::start_beside(config, Arc::new(Machine::of(config))).await
    }

    /// Starts a broker that believes what these gauges say.
    async fn start_beside(config: &Config, gauges: Arc<dyn Gauges>) -> Result<Self, StartError> {
        let clock = Clock::start();
        let clients = Arc::new(Clients::new(clock));
        let alarms = Arc::new(Alarms::new(config, Arc::clone(&clients), &*gauges));
        let timers = Arc::new(Timers::default());
        let timer = Arc::<Timers>::clone(&timers);
        let opened = establish::open_broker(config, timer, alarms.pressure(), clock).await?;
        let Opened { broker, journal, newcomer } = opened;
        clients.number_above(broker.node().base());
        let instruments = (Arc::clone(&alarms), Arc::clone(&gauges));
        let control = Control::new(config, &broker, journal.clone(), clock, instruments, &clients);
        if newcomer.is_none() {
            control.load_definitions(config)?;
        }
        let (listeners, sockets) = Listeners::bind(config).await?;
        let doors = Doors::bind(config).await?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let management = doors.addresses();
        let start_storage = |journal| start_storage(journal, &broker, config, clock);
        let storage = journal.clone().map(start_storage).transpose()?;
        let woken = stop.clone();
        let queues = Arc::clone(&broker);
        tasks.spawn(async move { timers.run(&queues, clock, woken).await });
        let fellow = match newcomer.zip(journal.as_ref()) {
            None => None,
            Some((newcomer, journal)) => {
                let fellow = newcomer.join(config, &broker, journal, clock).await?;
                fellow.settle(config).await?;
                control.load_definitions(config)?;
                Some(fellow)
            }
        };

        let settings = session_settings(config);
        let reception = Arc::new(FrontDesk {
            broker: Arc::clone(&broker),
            journal: journal.clone(),
            settings,
            attempts: Arc::default(),
            connections: Arc::default(),
        });
        let insight = fellow.as_ref().map(Fellow::insight);
        let control = control.listening(&listeners, &management).within(insight);
        let control = Arc::new(control.watching(&reception.connections, &reception.attempts));
        if let Some(fellow) = &fellow {
            fellow.tell_of(&control);
        }
        alarms::watch(&alarms, config, &gauges, (&tasks, &stop));
        listeners.watch(&tasks, &stop);
        let listeners = Arc::new(listeners);
        let entrance = Entrance {
            listeners: Arc::clone(&listeners),
            reception,
            clients: Arc::clone(&clients),
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        let open = entrance.open(sockets);
        if let Some(fellow) = &fellow {
            keep_with_majority(config, fellow.insight(), entrance, open);
        }
        for key in &config.without_effect {
            tracing::info!("`{key}` is understood, and changes nothing");
        }
        doors.open(&control, (&tasks, &stop));
        if let Some(storage) = &storage {
            storage.watch(&clients, &alarms, (&tasks, &stop));
        }
        Ok(Self { listeners, management, control, clients, alarms, stop, tasks, storage, fellow })
    }

    /// Where it listens for AMQP in plain, in the order of the configuration, with the ports that
    /// were taken.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.listeners.plain
    }

    /// The same for AMQP over TLS.
    pub fn tls_addresses(&self) -> &[SocketAddr] {
        &self.listeners.secured
    }

    /// The certificates that are served, which can be read again. None without a listener of TLS.
    pub fn tls(&self) -> Option<&Arc<Tls>> {
        self.listeners.tls.as_ref()
    }

    /// Where the control plane listens for HTTP.
    pub fn management_addresses(&self) -> &[SocketAddr] {
        &self.management
    }

    /// Returns when an operator has asked the node to stop.
    pub async fn asked_to_stop(&self) {
        self.control.asked_to_stop().await;
    }

    /// Returns what has happened once the data directory has failed. Nothing is confirmed any more
    /// and nobody is accepted; what is left is to stop, and to start again when the cause is gone.
    pub async fn failed(&self) -> String {
        match &self.storage {
            Some(storage) => storage::farewell(&storage.failed().await),
            None => std::future::pending().await,
        }
    }

    /// Its alarms: which are on.
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// Accepts nobody any more, closes every connection with 320 CONNECTION_FORCED, and returns
    /// when the clients have gone, or after three seconds; by then, everything is written.
    pub async fn stop(mut self) {
        if let Some(fellow) = &self.fellow {
            fellow.hand_over().await;
        }
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let failure = self.storage.as_ref().and_then(|storage| storage.journal().failure());
        let reason = match failure {
            Some(cause) => storage::farewell(&cause),
            None => "broker forced connection closure with reason 'shutdown'".to_owned(),
        };
        self.clients.close_all(&reason);
        if tokio::time::timeout(FAREWELL, self.clients.gone()).await.is_err() {
            self.clients.cut_off();
            self.clients.gone().await;
        }
        if let Some(fellow) = self.fellow.take() {
            fellow.stop().await;
        }
        if let Some(storage) = self.storage.take() {
            storage.stop().await;
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Server").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        self.clients.cut_off();
    }
}

/// Receives clients: gives each a session and a way to the broker.
struct FrontDesk {
    broker: Arc<Broker>,
    journal: Option<Arc<StoreJournal>>,
    settings: Arc<Settings>,
    attempts: Arc<Attempts>,
    connections: Arc<Connections>,
}

impl Reception for FrontDesk {
    type Backend = BrokerBackend;

    fn welcome(&self, peer: Peer, outbox: Arc<Outbox>, now: Moment) -> Conversation<BrokerBackend> {
        let from_here = peer.remote.ip().to_canonical().is_loopback();
        let origin = (peer.connection, from_here, entropy::draw());
        let identity = identity(&peer);
        let settings = self.settings();
        let to_journal = |journal| Promises::new(journal, Arc::clone(&outbox));
        let promises = self.journal.clone().map(to_journal);
        let (session, client) = enter(&self.broker, settings, &outbox, origin, now);
        let session = session.identified(identity);
        let desk = Desk {
            peer,
            attempts: Arc::clone(&self.attempts),
            connections: Arc::clone(&self.connections),
        };
        Conversation::new(session, BrokerBackend::new(client, promises, desk), outbox)
    }
}

impl FrontDesk {
    /// The settings, with the name that an operator has given the cluster meanwhile.
    fn settings(&self) -> Arc<Settings> {
        match self.broker.chosen_cluster_name() {
            Some(name) if name != self.settings.cluster_name => {
                Arc::new(Settings { cluster_name: name, ..(*self.settings).clone() })
            }
            Some(_) | None => Arc::clone(&self.settings),
        }
    }
}

/// Does what the configuration says of a node that is cut off.
fn keep_with_majority(
    config: &Config,
    insight: Insight,
    entrance: Entrance,
    open: CancellationToken,
) {
    match config.cluster.partition_handling {
        PartitionHandling::Ignore => {}
        PartitionHandling::Autoheal => tracing::warn!(
            "`cluster_partition_handling = autoheal` is as `ignore`: the parts of a cluster never \
             decide apart, and there is nothing to heal"
        ),
        PartitionHandling::PauseMinority => {
            let tasks = entrance.tasks.clone();
            tasks.spawn(entrance.watch(insight, open));
        }
    }
}

/// What TLS says of who the client is.
fn identity(peer: &Peer) -> Identity {
    let Some(secured) = &peer.tls else { return Identity::Unsecured };
    let named = secured.certificate.as_ref().and_then(|certificate| certificate.login.clone());
    named.map_or(Identity::Unnamed, |name| Identity::Named(name.into()))
}

/// Joins a session to the broker. `origin` tells which connection it is, whether it comes from this
/// machine, and the randomness that seeds its names.
pub(crate) fn conversation(
    broker: &Arc<Broker>,
    settings: Arc<Settings>,
    outbox: Arc<Outbox>,
    origin: (ConnectionId, bool, u128),
    now: Moment,
) -> Conversation<BrokerBackend> {
    let (session, client) = enter(broker, settings, &outbox, origin, now);
    let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let peer = Peer { connection: origin.0, remote: nowhere, local: nowhere, tls: None };
    let desk = Desk { peer, attempts: Arc::default(), connections: Arc::default() };
    Conversation::new(session, BrokerBackend::new(client, None, desk), outbox)
}

fn enter(
    broker: &Arc<Broker>,
    settings: Arc<Settings>,
    outbox: &Arc<Outbox>,
    origin: (ConnectionId, bool, u128),
    now: Moment,
) -> (Session, Client) {
    let (connection, from_here, entropy) = origin;
    let session = Session::new(settings, connection, entropy, now);
    let way_back = Arc::new(ConnectionOutbox(Arc::clone(outbox)));
    (session, Broker::client(broker, connection, way_back, from_here, !entropy))
}

fn start_storage(
    journal: Arc<StoreJournal>,
    broker: &Arc<Broker>,
    config: &Config,
    clock: Clock,
) -> Result<Storage, StartError> {
    Storage::start(journal, broker, clock).map_err(|cause| StartError::DataDir {
        path: config.data_dir.clone().unwrap_or_default(),
        cause,
    })
}

/// What the node tells its clients and grants them.
pub(crate) fn session_settings(config: &Config) -> Arc<Settings> {
    Arc::new(Settings {
        channel_max: config.channel_max,
        frame_max: config.frame_max,
        heartbeat: config.heartbeat,
        handshake_timeout: Duration::from_millis(config.handshake_timeout_ms),
        max_message_size: config.max_message_size,
        consumer_timeout: config.quota.consumer_timeout_ms.map(Duration::from_millis),
        consumers_per_channel: config.quota.consumers_per_channel,
        product: config.product.clone(),
        version: config.product_version.clone(),
        cluster_name: config.cluster_name.clone(),
        mechanisms: config.mechanisms.iter().map(|known| mechanism(*known)).collect(),
        ..Settings::default()
    })
}

fn mechanism(known: AuthMechanism) -> Mechanism {
    match known {
        AuthMechanism::Plain => Mechanism::Plain,
        AuthMechanism::AmqPlain => Mechanism::AmqPlain,
        AuthMechanism::Anonymous => Mechanism::Anonymous,
        AuthMechanism::External => Mechanism::External,
    }
}
