//! A node as one of several that are one broker.

mod bell;
mod copying;
mod driver;
mod frames;
mod handler;
mod identity;
mod log_book;
mod presence;
mod switchboard;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

use self::{
    driver::{Driver, Order},
    handler::Reception,
    identity::Identity,
    log_book::LogBook,
    switchboard::Switchboard,
};
use super::{StartError, journal::StoreJournal};
use crate::{
    broker::{Broker, Fellows, Job, Journal, Restoring, queue::Restored},
    cluster::{
        GroupId, Members, ReplicaId,
        detector::Patience,
        host::{GroupState, Host, Settings as HostSettings},
    },
    config::{self, CLUSTER_PORT, Config},
    model::{Batch, LogPosition, NodeNumber, QueueId},
    net::{
        Clock,
        peers::{self, Credentials, Introduction, Limits, Member, Peers, Secret},
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
    members: BTreeMap<NodeNumber, Member>,
    remains: Remains,
    switchboard: Arc<Switchboard>,
    orders: mpsc::Receiver<Order>,
    jobs: mpsc::Receiver<Job>,
}

/// A node's part in its cluster.
pub(super) struct Fellow {
    switchboard: Arc<Switchboard>,
    broker: Arc<Broker>,
    peers: Peers,
    driver: Option<thread::JoinHandle<()>>,
}

/// While nothing is decided, the reason is logged so often.
const REMINDER: Duration = Duration::from_secs(10);

impl Newcomer {
    /// Finds out which node this is. `None` when it is by itself.
    pub(super) fn of(
        config: &Config,
        remains: Remains,
        journal: &StoreJournal,
        clock: Clock,
    ) -> Result<Option<Self>, StartError> {
        if config.cluster.nodes.is_empty() {
            return Ok(None);
        }
        let members = numbered(&config.cluster.nodes);
        let own = members.iter().find(|(_, member)| member.name == config.node_name);
        let Some((node, _)) = own else {
            return Err(StartError::NotInCluster { name: config.node_name.clone() });
        };
        let known = Identity::find(&remains.facts);
        let identity = Identity {
            cluster: known.map_or_else(|| cluster_of(&members), |known| known.cluster),
            node: known.map_or(*node, |known| known.node),
            incarnation: known.map_or(1, |known| known.incarnation + 1),
        };
        let mut batch = Batch::default();
        identity.put(&mut batch);
        let written = journal.append(&mut batch);
        let (order, orders) = mpsc::channel();
        let (later, jobs) = mpsc::channel();
        let names = members.iter().map(|(node, member)| (*node, member.name.clone())).collect();
        let switchboard = Arc::new(Switchboard::new(identity.node, names, order, later, clock));
        Ok(Some(Self { identity, written, members, remains, switchboard, orders, jobs }))
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
        let Self { identity, written, members, remains, switchboard, orders, jobs } = self;
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
        let host = make_host(identity, &members, broker, states);
        let listener = listen(config, &members[&identity.node]).await?;
        let reception = Reception {
            switchboard: Arc::clone(&switchboard),
            broker: Arc::clone(broker),
            journal: Arc::clone(journal),
            clock,
            presence: Mutex::default(),
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
                credentials: credentials(&config.cluster),
                members,
                patience: Patience::of(config.cluster.down_after),
                limits: Limits::default(),
            },
            Arc::new(reception),
        );
        switchboard.join(peers.clone(), Arc::clone(broker));
        start_clerk(jobs, broker)?;
        let own = (Arc::clone(broker), Arc::clone(journal), Arc::clone(&switchboard));
        let driver = Driver::new((host, book, last_applied), own.0, own.1, own.2, clock, orders);
        let named = thread::Builder::new().name("leveret-cluster".to_owned());
        let driver = named.spawn(move || driver.run()).map_err(cannot_start)?;
        Ok(Fellow { switchboard, broker: Arc::clone(broker), peers, driver: Some(driver) })
    }
}

impl Fellow {
    /// Returns once the metadata has a leader and this node has what was agreed on; the node that
    /// is first in the list brings the first user and virtual host. Blocks its thread.
    ///
    /// # Errors
    /// When the configuration asks for what cannot be.
    pub(super) fn settle(
        &self,
        establish: impl Fn(&Broker) -> Result<(), StartError>,
    ) -> Result<(), StartError> {
        let is_first = self.switchboard.me == NodeNumber(1);
        while self.broker.is_blank() {
            let has_leader =
                self.switchboard.wait_for(REMINDER, &mut || self.switchboard.leader().is_some());
            if !has_leader {
                let up = self.switchboard.up().len() + 1;
                tracing::info!("waiting for a majority of the cluster: {up} nodes are there");
            } else if is_first {
                establish(&self.broker)?;
            } else {
                self.switchboard.wait_for(REMINDER, &mut || !self.broker.is_blank());
            }
        }
        self.switchboard.wait_for(REMINDER, &mut || self.switchboard.leader().is_some());
        while self.broker.forget_transients(self.switchboard.me).is_err() {
            tracing::info!("waiting for a majority of the cluster");
        }
        Ok(())
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

/// The nodes, numbered from 1 in the order of their names: all nodes number them alike.
fn numbered(nodes: &[config::ClusterNode]) -> BTreeMap<NodeNumber, Member> {
    let mut nodes: Vec<_> = nodes.to_vec();
    nodes.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    nodes.dedup_by(|one, other| one.name == other.name);
    let members = nodes.into_iter().map(|node| Member { name: node.name, address: node.address });
    (1..).map(NodeNumber).zip(members).collect()
}

/// The same number on all nodes that begin with the same list.
fn cluster_of(members: &BTreeMap<NodeNumber, Member>) -> u128 {
    let mut hash = Sha256::new();
    for member in members.values() {
        hash.update(member.name.as_bytes());
        hash.update([0]);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let (first, _) = digest.split_first_chunk().expect("the digest has 32 octets");
    u128::from_be_bytes(*first)
}

fn make_host(
    identity: Identity,
    members: &BTreeMap<NodeNumber, Member>,
    broker: &Broker,
    states: Vec<GroupState>,
) -> Host {
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
        let replica = |node: &NodeNumber| ReplicaId::new(*node, 1);
        let all: Vec<_> = members.keys().map(replica).collect();
        let own = replica(&identity.node);
        host.create(GroupId::METADATA, own, Members::new(&all, &[]), 0);
    }
    host
}

fn credentials(config: &config::Cluster) -> Credentials {
    let secret = config.secret.as_ref().map(|secret| Secret::new(secret.as_bytes()));
    Credentials { tls: None, secret }
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
