//! Puts the broker together: binds its sockets, makes its parts, starts them, stops them.

mod alarms;
mod backend;
mod entropy;
mod ports;
mod timers;

use std::{fs, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use thiserror::Error;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::alarms::Alarms;
pub(crate) use self::backend::BrokerBackend;
use self::{
    alarms::{Gauges, Machine},
    ports::ConnectionOutbox,
    timers::Timers,
};
use crate::{
    broker::{Broker, Timer, Users},
    config::Config,
    model::{ConnectionId, Moment, NameTooLong, VirtualHostName},
    net::{Clients, Clock, Conversation, Listener, Outbox, Peer, Reception},
    session::{Session, Settings},
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
    #[error("`{name}` cannot name a virtual host: {cause}")]
    VirtualHostName { name: String, cause: NameTooLong },
    #[error("there is no address to listen on")]
    NoListener,
}

/// A running broker. Dropping it stops it at once; [`Server::stop`] lets the clients know.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    clients: Arc<Clients>,
    alarms: Arc<Alarms>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// Starts a broker in the current tokio runtime; it accepts clients when this returns.
    ///
    /// # Errors
    /// When an address is taken, or the configuration asks for what cannot be.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        Self::start_beside(config, Arc::new(Machine::of(config))).await
    }

    /// Starts a broker that believes what these gauges say.
    async fn start_beside(config: &Config, gauges: Arc<dyn Gauges>) -> Result<Self, StartError> {
        prepare_data_dir(config)?;
        let listeners = bind(&config.listen).await?;
        let addresses = listeners.iter().map(|(_, address)| *address).collect();

        let clock = Clock::start();
        let clients = Arc::new(Clients::new(clock));
        let alarms = Arc::new(Alarms::new(config, Arc::clone(&clients), &*gauges));
        let timers = Arc::new(Timers::default());
        let broker = make_broker(config, Arc::<Timers>::clone(&timers))?;
        let reception =
            Arc::new(FrontDesk { broker: Arc::clone(&broker), settings: session_settings(config) });

        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        alarms::watch(&alarms, config, &gauges, (&tasks, &stop));
        let woken = stop.clone();
        tasks.spawn(async move { timers.run(&broker, clock, woken).await });
        for (listener, _) in listeners {
            let (reception, clients) = (Arc::clone(&reception), Arc::clone(&clients));
            tasks.spawn(listener.run(reception, clients, stop.clone()));
        }
        Ok(Self { addresses, clients, alarms, stop, tasks })
    }

    /// Where it listens, in the order of the configuration, with the ports that were taken.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Its alarms: which are on.
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// Accepts nobody any more, closes every connection with 320 CONNECTION_FORCED, and returns
    /// when the clients have gone, or after three seconds.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.clients.close_all("broker forced connection closure with reason 'shutdown'");
        let _dropping_cuts_off_the_rest = tokio::time::timeout(FAREWELL, self.clients.gone()).await;
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
    settings: Arc<Settings>,
}

impl Reception for FrontDesk {
    type Backend = BrokerBackend;

    fn welcome(&self, peer: Peer, outbox: Arc<Outbox>, now: Moment) -> Conversation<BrokerBackend> {
        let from_here = peer.remote.ip().to_canonical().is_loopback();
        let origin = (peer.connection, from_here, entropy::draw());
        conversation(&self.broker, Arc::clone(&self.settings), outbox, origin, now)
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
    let (connection, from_here, entropy) = origin;
    let session = Session::new(settings, connection, entropy, now);
    let way_back = Arc::new(ConnectionOutbox(Arc::clone(&outbox)));
    let client = Broker::client(broker, connection, way_back, from_here, !entropy);
    Conversation::new(session, BrokerBackend::new(client), outbox)
}

fn prepare_data_dir(config: &Config) -> Result<(), StartError> {
    let Some(path) = &config.data_dir else { return Ok(()) };
    fs::create_dir_all(path).map_err(|cause| StartError::DataDir { path: path.clone(), cause })
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

/// The broker that `config` describes, with its first user and virtual host.
pub(crate) fn make_broker(
    config: &Config,
    timer: Arc<dyn Timer>,
) -> Result<Arc<Broker>, StartError> {
    let name = &config.default_virtual_host;
    let virtual_host = VirtualHostName::try_from(name.clone())
        .map_err(|cause| StartError::VirtualHostName { name: name.clone(), cause })?;
    let mut users = Users::default();
    let only_from_here = config.loopback_users.contains(&config.default_user);
    users.add(&config.default_user, &config.default_password, only_from_here);
    let broker = Broker::new(timer, users, None);
    broker.add_virtual_host(virtual_host);
    Ok(Arc::new(broker))
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

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    #[tokio::test]
    async fn a_server_that_is_dropped_takes_its_connections_along() {
        let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let server = Server::start(&Config { listen, ..Config::default() }).await.unwrap();
        let mut client = TcpStream::connect(server.addresses()[0]).await.unwrap();
        client.write_all(b"AMQP\x00\x00\x09\x01").await.unwrap();
        client.read_u8().await.unwrap();
        drop(server);
        let patience = Duration::from_secs(5);
        let ended = tokio::time::timeout(patience, client.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "the connection is still open");
    }
}
