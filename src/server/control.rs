//! The control plane's way to the node, and the doors through which operators come.

use std::{
    fmt,
    fs::{self, DirBuilder, Permissions},
    io,
    net::{IpAddr, SocketAddr},
    os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Alarms, StartError,
    alarms::Gauges,
    attempts::{Attempts, Protocol, Tally},
    cluster::Insight,
    connections::Connections,
    entropy,
    journal::StoreJournal,
    listeners::{Listeners, lacks_address},
};
use crate::{
    admin::{
        self, BadDefinitions, CertificateFile, Connection, Durable, Fellow, Listening, Names, Node,
        NotForgotten, PeerName, Readings, Security,
    },
    broker::{Broker, Client, ConnectionView, Outbox},
    config::{Config, Limit},
    model::{ConnectionId, ConsumerId, Decided, Delivery, LogPosition, Moment, Refusal},
    net::{
        Clients, Clock,
        tls::{Ends, Secured, Tls},
    },
    session,
};

/// The node, as the control plane sees it.
pub(super) struct Control {
    broker: Arc<Broker>,
    clients: Arc<Clients>,
    journal: Option<Arc<StoreJournal>>,
    clock: Clock,
    started: Moment,
    alarms: Arc<Alarms>,
    gauges: Arc<dyn Gauges>,
    names: Names,
    listeners: Vec<Listening>,
    tls: Option<Arc<Tls>>,
    connections: Arc<Connections>,
    attempts: Arc<Attempts>,
    /// Absent: the node is by itself.
    insight: Option<Insight>,
    watermark: Mutex<Limit>,
    next_client: AtomicU64,
    asked_to_stop: CancellationToken,
}

/// Operators' own connections are numbered from here, beyond all clients.
const FIRST_CLIENT: u64 = 1 << 62;

impl Control {
    pub(super) fn new(
        config: &Config,
        broker: &Arc<Broker>,
        journal: Option<Arc<StoreJournal>>,
        clock: Clock,
        (alarms, gauges): (Arc<Alarms>, Arc<dyn Gauges>),
        clients: &Arc<Clients>,
    ) -> Self {
        let names = Names {
            node: config.node_name.clone(),
            cluster: config.cluster_name.clone(),
            product: config.product.clone(),
            version: config.product_version.clone(),
            mechanisms: config.mechanisms.clone(),
            data_dir: config.data_dir.as_ref().map(|folder| folder.display().to_string()),
        };
        Self {
            broker: Arc::clone(broker),
            clients: Arc::clone(clients),
            journal,
            clock,
            started: clock.now(),
            alarms,
            gauges,
            names,
            listeners: Vec::new(),
            tls: None,
            connections: Arc::default(),
            attempts: Arc::default(),
            insight: None,
            watermark: Mutex::new(config.memory_watermark),
            next_client: AtomicU64::new(FIRST_CLIENT + broker.node().base()),
            asked_to_stop: CancellationToken::new(),
        }
    }

    /// The same, which can tell where the node listens.
    pub(super) fn listening(mut self, amqp: &Listeners, http: &[SocketAddr]) -> Self {
        let Listeners { plain, secured, tls } = amqp;
        self.tls.clone_from(tls);
        let of = |protocol, addresses: &[SocketAddr]| {
            let listening = |address: &SocketAddr| Listening { protocol, address: *address };
            addresses.iter().map(listening).collect::<Vec<_>>()
        };
        self.listeners = [of("amqp", plain), of("amqp/ssl", secured), of("http", http)].concat();
        self
    }

    /// The same, which knows who is connected and who tried to be.
    pub(super) fn watching(
        mut self,
        connections: &Arc<Connections>,
        attempts: &Arc<Attempts>,
    ) -> Self {
        self.connections = Arc::clone(connections);
        self.attempts = Arc::clone(attempts);
        self
    }

    /// The same, which knows the other nodes of its cluster.
    pub(super) fn within(mut self, insight: Option<Insight>) -> Self {
        self.insight = insight;
        self
    }

    /// Imports what the configuration names.
    pub(super) fn load_definitions(&self, config: &Config) -> Result<(), BadDefinitions> {
        if config.definitions.is_empty() {
            return Ok(());
        }
        for path in &config.definitions {
            admin::load(self, path)?;
        }
        let users: Vec<_> = self.broker.users().into_iter().map(|(name, _)| name).collect();
        let users: Vec<_> = users.iter().map(ToString::to_string).collect();
        match users.is_empty() {
            true => tracing::warn!("the definitions have no user: nobody can log in"),
            false => tracing::info!("users are: {}", users.join(", ")),
        }
        Ok(())
    }

    pub(super) async fn asked_to_stop(&self) {
        self.asked_to_stop.cancelled().await;
    }
}

impl Node for Control {
    fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }

    fn entropy(&self) -> u128 {
        entropy::draw()
    }

    fn durable(&self, position: LogPosition) -> Durable {
        match self.journal.clone() {
            Some(journal) => Box::pin(async move { journal.reach(position).await }),
            // Nothing is written, but not all that is to be agreed on is.
            None if position == LogPosition::NEVER => {
                Box::pin(async { Err("a record was not taken".to_owned()) })
            }
            None => Box::pin(async { Ok(()) }),
        }
    }

    fn client(&self) -> Client {
        let id = ConnectionId(self.next_client.fetch_add(1, Ordering::Relaxed));
        Broker::client(&self.broker, id, Arc::new(Nowhere), true, entropy::draw())
    }

    fn words(&self, refusal: &Refusal) -> (u16, String) {
        session::words_of(refusal)
    }

    fn names(&self) -> &Names {
        &self.names
    }

    fn uptime(&self) -> Duration {
        self.clock.now().since_epoch().saturating_sub(self.started.since_epoch())
    }

    fn listeners(&self) -> Vec<Listening> {
        self.listeners.clone()
    }

    fn readings(&self) -> Readings {
        let limits = self.alarms.limits();
        let (memory_alarm, disk_alarm) = self.alarms.are_on();
        Readings {
            memory_used: self.gauges.memory_used(),
            memory_limit: limits.memory,
            disk_free: self.gauges.disk_free(),
            disk_free_limit: limits.disk,
            memory_alarm,
            disk_alarm,
            files_open: fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64),
            files_limit: files_limit(),
        }
    }

    fn connections(&self) -> Vec<Connection> {
        let all = self.broker.connections().into_iter();
        all.filter_map(|ConnectionView { id, user, virtual_host, channels }| {
            let connected = self.connections.find(id)?;
            let introduction = &connected.introduction;
            Some(Connection {
                id,
                user,
                virtual_host,
                remote: canonical(connected.peer.remote),
                local: canonical(connected.peer.local),
                since: connected.since,
                channels,
                mechanism: introduction.mechanism.clone(),
                client_properties: introduction.client_properties.clone(),
                channel_max: introduction.channel_max,
                frame_max: introduction.frame_max,
                heartbeat: introduction.heartbeat,
                security: connected.peer.tls.as_deref().map(security),
            })
        })
        .collect()
    }

    fn note_login(&self, from: Option<IpAddr>, succeeded: bool) -> Duration {
        match from {
            Some(from) if !succeeded => {
                self.attempts.failed(Protocol::Http, from, self.now()).delay
            }
            _ => {
                self.attempts.succeeded(Protocol::Http);
                Duration::ZERO
            }
        }
    }

    fn login_attempts(&self) -> Vec<(&'static str, u64, u64)> {
        let named = |(protocol, tally): (Protocol, Tally)| {
            let name = match protocol {
                Protocol::Amqp => "amqp091",
                Protocol::Http => "http",
            };
            (name, tally.succeeded, tally.failed)
        };
        self.attempts.tallies().into_iter().map(named).collect()
    }

    fn forget_login_attempts(&self) {
        self.attempts.clear();
    }

    fn memory_watermark(&self) -> Limit {
        *self.watermark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_memory_watermark(&self, watermark: Limit) {
        *self.watermark.lock().unwrap_or_else(PoisonError::into_inner) = watermark;
        self.alarms.set_memory_watermark(watermark, &*self.gauges);
    }

    fn set_disk_free_limit(&self, limit: Limit) {
        self.alarms.set_disk_free_limit(limit, &*self.gauges);
    }

    fn certificates(&self) -> Vec<CertificateFile> {
        let ends = self.tls.iter().flat_map(|tls| tls.ends());
        let file = |Ends { setting, path, ends }| {
            let path = path.display().to_string();
            CertificateFile { setting, path, ends }
        };
        ends.map(file).collect()
    }

    fn fellows(&self) -> Vec<Fellow> {
        self.insight.as_ref().map(Insight::fellows).unwrap_or_default()
    }

    fn forget_node(&self, name: &str) -> Result<(), NotForgotten> {
        match &self.insight {
            Some(insight) => insight.forget(name),
            None if name == self.names.node => Err(NotForgotten::Running),
            None => Err(NotForgotten::Unknown),
        }
    }

    fn set_maintenance(&self, maintenance: bool) {
        tracing::info!("maintenance mode: {maintenance}");
        self.clients.suspend(maintenance);
        self.broker.step_aside(maintenance);
        if maintenance {
            self.clients.send_away("Node was put into maintenance mode");
        }
    }

    fn is_in_maintenance(&self) -> bool {
        self.clients.are_suspended()
    }

    fn stop(&self) {
        self.asked_to_stop.cancel();
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Control").field("names", &self.names).finish_non_exhaustive()
    }
}

/// An address of IPv4 as such, however the socket has it.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn security(secured: &Secured) -> Security {
    let peer = secured.certificate.as_ref().map(|certificate| PeerName {
        subject: certificate.subject.clone(),
        issuer: certificate.issuer.clone(),
        validity: certificate.validity.clone(),
    });
    let Secured { protocol, key_exchange, cipher, hash, .. } = *secured;
    Security { protocol, key_exchange, cipher, hash, peer }
}

/// How many files and sockets this process may have open.
fn files_limit() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The outbox of a client to whom nothing is ever delivered.
#[derive(Debug)]
struct Nowhere;

impl Outbox for Nowhere {
    fn decided(&self, decided: &mut Vec<Decided>) {
        decided.clear();
    }

    fn deliver(&self, deliveries: &mut Vec<Delivery>) {
        deliveries.clear();
    }

    fn consumer_cancelled(&self, _: ConsumerId) {}

    fn close(&self, _: String) {}
}

/// The sockets of the control plane, bound and not yet served.
pub(super) struct Doors {
    http: Vec<(TcpListener, SocketAddr)>,
    local: Option<(UnixListener, OwnPath)>,
}

impl Doors {
    pub(super) async fn bind(config: &Config) -> Result<Self, StartError> {
        // Nobody asked for these by name: another broker of this machine may have them.
        let may_be_taken = config.management == Config::usual_management();
        let mut http = Vec::new();
        for &address in &config.management {
            let refused = |cause| StartError::Listen { address, cause };
            match TcpListener::bind(address).await {
                Ok(listener) => {
                    let bound = listener.local_addr().map_err(refused)?;
                    http.push((listener, bound));
                }
                Err(error) if may_be_taken && lacks_address(&error) => {}
                Err(error) if may_be_taken => {
                    tracing::warn!(%address, %error, "no management there");
                }
                Err(error) => return Err(refused(error)),
            }
        }
        let local = match &config.control_socket {
            Some(path) => bind_local(path).await?,
            None => None,
        };
        Ok(Self { http, local })
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.http.iter().map(|(_, address)| *address).collect()
    }

    /// Lets operators in.
    pub(super) fn open(
        self,
        control: &Arc<Control>,
        (tasks, stop): (&TaskTracker, &CancellationToken),
    ) {
        let node: Arc<dyn Node> = Arc::<Control>::clone(control);
        let router = admin::router(node);
        let service = || admin::Service::new(router.clone(), tasks.clone(), stop.clone());
        for (listener, address) in self.http {
            tracing::info!(
                "Management plugin: HTTP (non-TLS) listener started on port {}",
                address.port()
            );
            tasks.spawn(service().run(admin::Door::Tcp(listener)));
        }
        if let Some((listener, path)) = self.local {
            let service = service();
            tasks.spawn(async move {
                service.run(admin::Door::Local(listener)).await;
                drop(path);
            });
        }
    }
}

/// The path of a socket that this process has made; gone when it is dropped.
struct OwnPath(PathBuf);

impl Drop for OwnPath {
    fn drop(&mut self) {
        let _it_may_be_gone = fs::remove_file(&self.0);
    }
}

/// Octets of a socket's path, by Linux's `sockaddr_un`.
const LONGEST_PATH: usize = 107;

/// A socket that only this process's user may open. One that nobody listens on any more is
/// replaced.
async fn bind_local(path: &Path) -> Result<Option<(UnixListener, OwnPath)>, StartError> {
    // It is made in a folder of its own: at no moment may others open it.
    let workshop = path.with_file_name(format!(".{}", std::process::id()));
    let unfinished = workshop.join("s");
    if path.as_os_str().len().max(unfinished.as_os_str().len()) > LONGEST_PATH {
        let path = path.display();
        tracing::warn!(%path, "no control socket: its path has more than {LONGEST_PATH} octets");
        return Ok(None);
    }
    let failed = |cause| StartError::ControlSocket { path: path.to_owned(), cause };
    if UnixStream::connect(path).await.is_ok() {
        return Err(StartError::ControlSocketInUse { path: path.to_owned() });
    }
    if fs::symlink_metadata(path).is_ok_and(|found| !found.file_type().is_socket()) {
        return Err(failed(io::Error::new(io::ErrorKind::AlreadyExists, "it is no socket")));
    }
    let _left_by_an_earlier_life = fs::remove_dir_all(&workshop);
    let make = || -> io::Result<UnixListener> {
        DirBuilder::new().mode(0o700).create(&workshop)?;
        let listener = UnixListener::bind(&unfinished)?;
        fs::set_permissions(&unfinished, Permissions::from_mode(0o600))?;
        fs::rename(&unfinished, path)?;
        Ok(listener)
    };
    let made = make();
    let _nothing_is_in_it = fs::remove_dir_all(&workshop);
    made.map(|listener| Some((listener, OwnPath(path.to_owned())))).map_err(failed)
}
