//! Puts the broker together: binds its sockets, makes its parts, starts them, stops them.

mod backend;
mod entropy;
mod journal;
mod ports;
mod promises;
mod recovery;
mod storage;
#[cfg(test)]
mod tests;
mod timers;

use std::{
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use thiserror::Error;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::backend::BrokerBackend;
use self::{
    journal::StoreJournal, ports::ConnectionOutbox, promises::Promises, storage::Storage,
    timers::Timers,
};
use crate::{
    broker::{BadFact, Broker, Client, Journal, Timer, User, Users},
    config::Config,
    model::{ConnectionId, Moment, NameTooLong, ShortString, VirtualHostName},
    net::{Clients, Clock, Conversation, Listener, Outbox, Peer, Reception},
    session::{Session, Settings},
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
}

/// A running broker. Dropping it stops it at once; [`Server::stop`] lets the clients know.
pub struct Server {
    addresses: Vec<SocketAddr>,
    clients: Arc<Clients>,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Absent: nothing survives.
    storage: Option<Storage>,
}

impl Server {
    /// Starts a broker in the current tokio runtime; it accepts clients when this returns.
    ///
    /// # Errors
    /// When an address is taken, the configuration asks for what cannot be, or the data directory
    /// is in use or damaged.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let clock = Clock::start();
        let timers = Arc::new(Timers::default());
        let (broker, journal) = match &config.data_dir {
            Some(path) => durable_broker(config, path, Arc::<Timers>::clone(&timers), clock)?,
            None => (make_broker(config, Arc::<Timers>::clone(&timers))?, None),
        };
        let listeners = bind(&config.listen).await?;
        let addresses = listeners.iter().map(|(_, address)| *address).collect();
        let start_storage = |journal| start_storage(journal, &broker, config, clock);
        let storage = journal.clone().map(start_storage).transpose()?;

        let clients = Arc::new(Clients::new(clock));
        let settings = session_settings(config);
        let reception = Arc::new(FrontDesk { broker: Arc::clone(&broker), journal, settings });
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let woken = stop.clone();
        tasks.spawn(async move { timers.run(&broker, clock, woken).await });
        for (listener, _) in listeners {
            let (reception, clients) = (Arc::clone(&reception), Arc::clone(&clients));
            tasks.spawn(listener.run(reception, clients, stop.clone()));
        }
        if let Some(storage) = &storage {
            let (journal, clients) = (Arc::clone(storage.journal()), Arc::clone(&clients));
            tasks.spawn(send_all_away_when_failed(journal, clients, stop.clone()));
        }
        Ok(Self { addresses, clients, stop, tasks, storage })
    }

    /// Where it listens, in the order of the configuration, with the ports that were taken.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns what has happened once the data directory has failed. Nothing is confirmed any more
    /// and nobody is accepted; what is left is to stop, and to start again when the cause is gone.
    pub async fn failed(&self) -> String {
        match &self.storage {
            Some(storage) => storage::farewell(&storage.failed().await),
            None => std::future::pending().await,
        }
    }

    /// Accepts nobody any more, closes every connection with 320 CONNECTION_FORCED, and returns
    /// when the clients have gone, or after three seconds; by then, everything is written.
    pub async fn stop(mut self) {
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
        if let Some(storage) = self.storage.take() {
            storage.stop().await;
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
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
}

impl Reception for FrontDesk {
    type Backend = BrokerBackend;

    fn welcome(&self, peer: Peer, outbox: Arc<Outbox>, now: Moment) -> Conversation<BrokerBackend> {
        let from_here = peer.remote.ip().to_canonical().is_loopback();
        let origin = (peer.connection, from_here, entropy::draw());
        let settings = Arc::clone(&self.settings);
        let to_journal = |journal| Promises::new(journal, Arc::clone(&outbox));
        let promises = self.journal.clone().map(to_journal);
        let (session, client) = enter(&self.broker, settings, &outbox, origin, now);
        Conversation::new(session, BrokerBackend::new(client, promises), outbox)
    }
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
    Conversation::new(session, BrokerBackend::new(client, None), outbox)
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

/// A broker with a data directory, and with what survived there.
fn durable_broker(
    config: &Config,
    path: &Path,
    timer: Arc<dyn Timer>,
    clock: Clock,
) -> Result<(Arc<Broker>, Option<Arc<StoreJournal>>), StartError> {
    let (store, recovered) = storage::open(path, config.recover)?;
    let journal = Arc::new(StoreJournal::new(store, recovered.last));
    let broker = new_broker(config, timer, Some(Arc::<StoreJournal>::clone(&journal)));
    recovery::restore(&broker, recovered, clock.now()).map_err(|failure| match failure {
        recovery::Failure::Store(cause) => storage::unusable(path, cause),
        recovery::Failure::Broker(cause) => {
            StartError::Meaningless { path: path.to_owned(), cause }
        }
    })?;
    establish(&broker, config)?;
    Ok((Arc::new(broker), Some(journal)))
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

/// A node that can keep nothing any more sends its clients away, and says why.
async fn send_all_away_when_failed(
    journal: Arc<StoreJournal>,
    clients: Arc<Clients>,
    stop: CancellationToken,
) {
    if let Some(error) = stop.run_until_cancelled(storage::failure(&journal)).await {
        stop.cancel();
        clients.close_all(&storage::farewell(&error));
    }
}

async fn bind(addresses: &[SocketAddr]) -> Result<Vec<(Listener, SocketAddr)>, StartError> {
    // Nobody asked for [::1] by name, and containers often have none.
    let may_lack_ipv6 = *addresses == *Config::default().listen;
    let mut listeners = Vec::new();
    for &address in addresses {
        let refused = |cause| StartError::Listen { address, cause };
        let listener = match Listener::bind(address).await {
            Err(error) if may_lack_ipv6 && address.is_ipv6() && lacks_address(&error) => {
                tracing::info!(%address, "not listening there: this machine has no such address");
                continue;
            }
            bound => bound.map_err(refused)?,
        };
        let bound = listener.address().map_err(refused)?;
        listeners.push((listener, bound));
    }
    if listeners.is_empty() {
        return Err(StartError::NoListener);
    }
    Ok(listeners)
}

fn lacks_address(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(ADDRESS_FAMILY_NOT_SUPPORTED)
}

/// `EAFNOSUPPORT` of Linux, for which the standard library has no kind.
const ADDRESS_FAMILY_NOT_SUPPORTED: i32 = 97;

/// The broker that `config` describes, with its first user and virtual host, and no journal.
pub(crate) fn make_broker(
    config: &Config,
    timer: Arc<dyn Timer>,
) -> Result<Arc<Broker>, StartError> {
    let broker = new_broker(config, timer, None);
    establish(&broker, config)?;
    Ok(Arc::new(broker))
}

fn new_broker(config: &Config, timer: Arc<dyn Timer>, journal: Option<Arc<dyn Journal>>) -> Broker {
    Broker::new(timer, Users::new(&config.loopback_users), journal)
}

/// Where nothing is yet, makes the first virtual host and the first user. If a crash takes them
/// away, the next start makes them again.
fn establish(broker: &Broker, config: &Config) -> Result<(), StartError> {
    let name = &config.default_virtual_host;
    let virtual_host = VirtualHostName::try_from(name.clone())
        .map_err(|cause| StartError::VirtualHostName { name: name.clone(), cause })?;
    let name = &config.default_user;
    let user_name = ShortString::try_from(name.clone())
        .map_err(|cause| StartError::UserName { name: name.clone(), cause })?;
    let salt = (entropy::draw() as u32).to_le_bytes();
    let tags = vec![ShortString::from_static("administrator")];
    let user = User::new(config.default_password.as_bytes(), salt, tags);
    broker.establish(virtual_host, user_name, user);
    Ok(())
}

/// What the node tells its clients and grants them.
pub(crate) fn session_settings(config: &Config) -> Arc<Settings> {
    Arc::new(Settings {
        channel_max: config.channel_max,
        frame_max: config.frame_max,
        heartbeat: config.heartbeat,
        handshake_timeout: Duration::from_millis(config.handshake_timeout_ms),
        max_message_size: config.max_message_size,
        product: config.product.clone(),
        version: config.product_version.clone(),
        cluster_name: config.cluster_name.clone(),
        ..Settings::default()
    })
}
