//! A node as one of several that are one broker.

mod admitting;
mod bell;
mod copying;
mod discovery;
mod driver;
mod enquiry;
mod formation;
mod frames;
mod handler;
mod identity;
mod insight;
mod log_book;
mod membership;
mod presence;
mod reconcile;
mod reminder;
mod roster;
mod settling;
mod switchboard;
mod vitals;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, atomic::AtomicU64, mpsc},
    thread,
    time::Duration,
};

use bytes::Bytes;
use tokio::net::TcpListener;

pub(super) use self::insight::Insight;
use self::{
    driver::{Driver, Order},
    formation::Seeker,
    handler::Reception,
    identity::Identity,
    log_book::LogBook,
    settling::Settling,
    switchboard::Switchboard,
};
use super::{StartError, journal::StoreJournal};
use crate::{
    admin::Node,
    broker::{Broker, Fellows, Job, Journal, Restoring, queue::Restored},
    cluster::{
        GroupId, Members,
        detector::Patience,
        host::{GroupState, Host, Settings as HostSettings},
    },
    config::{self, CLUSTER_PORT, Config},
    model::{Batch, LogPosition, NodeNumber, QueueId},
    net::{
        Clock,
        peers::{self, Credentials, Introduction, Limits, Member, NodeTls, Peers, Secret},
        tls::NodeFiles,
    },
};

/// What a restart has found that is the cluster's, and none of the broker's.
pub(super) struct Remains {
    facts: BTreeMap<Bytes, Bytes>,
    logs: BTreeMap<QueueId, Restored>,
}

impl Remains {
    /// Takes it out of what is to be the broker's.
    pub(super) fn of(restoring: &mut Restoring) -> Self {
        let (facts, logs) = restoring.split_off(log_book::is_log);
        Self { facts, logs }
    }
}

/// A node that is about to take its place in a cluster.
pub(super) struct Newcomer {
    identity: Identity,
    /// The record of the identity.
    written: LogPosition,
    me: Member,
    /// As they were when this node came.
    members: BTreeMap<NodeNumber, Member>,
    credentials: Credentials,
    remains: Remains,
    switchboard: Arc<Switchboard>,
    orders: mpsc::Receiver<Order>,
    jobs: mpsc::Receiver<Job>,
}

/// A node's part in its cluster.
pub(super) struct Fellow {
    switchboard: Arc<Switchboard>,
    settling: Settling,
    peers: Peers,
    driver: Option<thread::JoinHandle<()>>,
    /// Queues are moved while it is there.
    _mover: mpsc::Sender<()>,
}

/// While nothing is decided, the reason is logged so often.
const REMINDER: Duration = Duration::from_secs(10);

impl Newcomer {
    /// Finds out which node this is: a node without an identity asks the others, and waits for them
    /// as long as it takes. `None` when it is by itself.
    pub(super) async fn of(
        config: &Config,
        (remains, is_blank): (Remains, bool),
        journal: &StoreJournal,
        clock: Clock,
    ) -> Result<Option<Self>, StartError> {
        if !config.cluster.is_wanted() {
            return Ok(None);
        }
        let mut batch = Batch::default();
        let known = Identity::find(&remains.facts);
        if known.is_none() && !is_blank {
            return Err(StartError::NotBlank);
        }
        let credentials = credentials(&config.cluster)?;
        let listed = discovery::listed(config, known.is_none(), clock).await;
        let acquaintances = identity::acquaintances(&remains.facts);
        let me = who(config, &listed, known.and_then(|known| acquaintances.get(&known.node)))?;
        let (mut identity, members) = match known {
            Some(identity) => (identity, acquaintances),
            None => {
                let listener = listen(config, &me).await?;
                let (me, listed) = (me.clone(), listed.clone());
                let seeker = Seeker { me, listed, credentials: credentials.clone(), clock };
                let (identity, members) = seeker.seek(listener).await;
                identity::put_acquaintances(&members, &mut batch);
                (identity, members)
            }
        };
        identity.incarnation += 1;
        identity.put(&mut batch);
        let written = journal.append(&mut batch);
        let (order, orders) = mpsc::channel();
        let (later, jobs) = mpsc::channel();
        let who = (identity.cluster, identity.node);
        let switchboard = Arc::new(Switchboard::new(who, listed, &members, order, later, clock));
        let newcomer = Self {
            identity,
            written,
            me,
            members,
            credentials,
            remains,
            switchboard,
            orders,
            jobs,
        };
        Ok(Some(newcomer))
    }

    /// The broker as this node's.
    pub(super) fn introduce(&self, broker: Broker) -> Broker {
        let switchboard = &self.switchboard;
        let fellows: Arc<dyn Fellows> = Arc::<Switchboard>::clone(switchboard);
        broker
            .in_cluster(self.identity.node, Arc::<Switchboard>::clone(switchboard))
            .among(self.identity.incarnation, fellows)
    }

    /// Takes the place: listens to the others, and starts to agree with them.
    pub(super) async fn join(
        self,
        config: &Config,
        broker: &Arc<Broker>,
        journal: &Arc<StoreJournal>,
        clock: Clock,
    ) -> Result<Fellow, StartError> {
        let Self { identity, written, me, members, credentials, .. } = self;
        let (remains, switchboard) = (self.remains, self.switchboard);
        let (orders, jobs) = (self.orders, self.jobs);
        // No start may ever be taken for an earlier one.
        journal.reach(written).await.map_err(|what| StartError::ClusterState { what })?;
        let applied = |group: GroupId| match group {
            GroupId::METADATA => broker.agreed_index(),
            queue => broker.applied(QueueId(queue.0)).unwrap_or(0),
        };
        let Remains { facts, logs } = remains;
        let (book, states) = LogBook::restore(&facts, logs, &**journal, applied)
            .map_err(|what| StartError::ClusterState { what })?;
        let last_applied = states.iter().map(|state| (state.group, state.applied)).collect();
        let host = make_host(identity, broker, states);
        let listener = listen(config, &me).await?;
        let agreed = broker.nodes_agreed();
        let members = if agreed.is_empty() { members } else { switchboard.members_of(&agreed) };
        let reception = Reception {
            switchboard: Arc::clone(&switchboard),
            broker: Arc::clone(broker),
            journal: Arc::clone(journal),
            clock,
            presence: Mutex::default(),
            beats: AtomicU64::new(0),
        };
        let peers = Peers::start(
            peers::Settings {
                me: Introduction {
                    cluster: identity.cluster,
                    node: identity.node,
                    name: config.node_name.clone(),
                    incarnation: identity.incarnation,
                    versions: peers::VERSIONS,
                },
                listener,
                credentials,
                members,
                patience: Patience::of(config.cluster.down_after),
                limits: Limits::default(),
            },
            Arc::new(reception),
        );
        switchboard.join(peers.clone(), Arc::clone(broker));
        start_clerk(jobs, broker)?;
        let mover = reconcile::watch(broker).map_err(cannot_start)?;
        let own = (Arc::clone(broker), Arc::clone(journal), Arc::clone(&switchboard));
        let driver = Driver::new((host, book, last_applied), own.0, own.1, own.2, clock, orders);
        let named = thread::Builder::new().name("leveret-cluster".to_owned());
        let driver = named.spawn(move || driver.run()).map_err(cannot_start)?;
        let (broker, expected) = (Arc::clone(broker), switchboard.listed());
        let driver = Some(driver);
        let settling =
            Settling { switchboard: Arc::clone(&switchboard), broker, me, identity, expected };
        Ok(Fellow { switchboard, settling, peers, driver, _mover: mover })
    }
}

impl Fellow {
    /// Returns when clients may come: see [`Settling::run`].
    ///
    /// # Errors
    /// When the configuration asks for what cannot be.
    pub(super) async fn settle(&self, config: &Config) -> Result<(), StartError> {
        let (settling, config) = (self.settling.clone(), config.clone());
        let settled = tokio::task::spawn_blocking(move || settling.run(&config)).await;
        settled.unwrap_or_else(|failure| {
            Err(StartError::ClusterState { what: format!("a start that fails: {failure}") })
        })
    }

    /// What operators may know of the other nodes.
    pub(super) fn insight(&self) -> Insight {
        let (switchboard, broker) = (&self.switchboard, &self.settling.broker);
        Insight { switchboard: Arc::clone(switchboard), broker: Arc::clone(broker) }
    }

    /// From here on the other nodes are told how this one is.
    pub(super) fn tell_of(&self, node: &Arc<impl Node>) {
        let node = Arc::downgrade(node);
        let vitals = move || node.upgrade().map(|node| vitals::octets(&node.vitals()));
        self.switchboard.speak(Box::new(move || vitals().unwrap_or_default()));
    }

    /// Has others lead what this node leads, if they are there. Takes some seconds at most.
    pub(super) async fn hand_over(&self) {
        let switchboard = Arc::clone(&self.switchboard);
        // A thread that panicked has said so.
        drop(tokio::task::spawn_blocking(move || switchboard.hand_over()).await);
    }

    /// Leaves the others. The broker must be at rest.
    pub(super) async fn stop(mut self) {
        self.peers.stop().await;
        self.switchboard.order(Order::Stop);
        if let Some(driver) = self.driver.take() {
            // A thread that panicked has said so.
            drop(tokio::task::spawn_blocking(move || driver.join()).await);
        }
    }
}

fn make_host(identity: Identity, broker: &Broker, states: Vec<GroupState>) -> Host {
    let seed = super::entropy::draw() as u64;
    let mut host = Host::new(identity.node, HostSettings::default(), seed);
    let mut has_metadata = false;
    for state in states {
        has_metadata |= state.group == GroupId::METADATA;
        let group = state.group;
        host.restore(state);
        if group != GroupId::METADATA && broker.applied(QueueId(group.0)).is_none() {
            // Its queue was deleted just before the node stopped.
            host.destroy(group);
        }
    }
    if !has_metadata {
        let own = roster::replica(identity.node);
        // Who comes later learns from the leader who the members are.
        let first: &[_] = if identity.is_founder() { &[own] } else { &[] };
        host.create(GroupId::METADATA, own, Members::new(first, &[]), 0);
    }
    host
}

/// What this node is called, and where it is. `kept` is what its data directory says.
fn who(
    config: &Config,
    listed: &BTreeMap<String, String>,
    kept: Option<&Member>,
) -> Result<Member, StartError> {
    let name = config.node_name.clone();
    if let Some(kept) = kept.filter(|kept| kept.name != name) {
        return Err(StartError::OtherNode { kept: kept.name.clone(), name });
    }
    let address = listed.get(&name).or_else(|| Some(&kept?.address)).cloned();
    match address {
        Some(address) => Ok(Member { name, address }),
        None => Err(StartError::NotInCluster { name }),
    }
}

/// How this node and the others prove to each other who they are.
fn credentials(config: &config::Cluster) -> Result<Credentials, StartError> {
    let secret = config.secret.as_ref().map(|secret| Secret::new(secret.as_bytes()));
    let config::ClusterTls { authorities, certificate, key } = &config.tls;
    let tls = match (authorities, certificate, key) {
        (None, None, None) => None,
        (Some(authorities), Some(certificate), Some(key)) => {
            let (authorities, certificate) = (authorities.clone(), certificate.clone());
            let files = NodeFiles { authorities, certificate, key: key.clone() };
            Some(Arc::new(NodeTls::new(files)?))
        }
        _ => return Err(StartError::ClusterTls),
    };
    Ok(Credentials { tls, secret })
}

async fn listen(config: &Config, own: &Member) -> Result<TcpListener, StartError> {
    let port = own.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let usual = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port.unwrap_or(CLUSTER_PORT));
    let address = config.cluster.listener.unwrap_or(usual);
    let bound = TcpListener::bind(address).await;
    bound.map_err(|cause| StartError::Listen { address, cause })
}

/// Does what is put off, on a thread of its own that may wait for a majority.
fn start_clerk(jobs: mpsc::Receiver<Job>, broker: &Arc<Broker>) -> Result<(), StartError> {
    let broker = Arc::clone(broker);
    let work = move || {
        while let Ok(job) = jobs.recv() {
            let mut jobs: Vec<_> = std::iter::once(job).chain(jobs.try_iter()).collect();
            while broker.perform(&jobs).is_err() {
                jobs.dedup();
            }
        }
    };
    let named = thread::Builder::new().name("leveret-clerk".to_owned());
    named.spawn(work).map(drop).map_err(cannot_start)
}

fn cannot_start(cause: std::io::Error) -> StartError {
    StartError::ClusterState { what: format!("a thread that does not start: {cause}") }
}
