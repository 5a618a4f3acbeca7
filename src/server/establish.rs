//! Makes the broker of a node: with what survived, or else as the configuration has it.

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use super::{
    StartError,
    cluster::{Newcomer, Remains},
    entropy,
    journal::StoreJournal,
    recovery, storage,
};
use crate::{
    broker::{Broker, Directory, Hashing, Journal, Origins, PasswordHash, Permission, Timer, User},
    config::Config,
    model::{FieldValue, Names, ShortString, VirtualHostName},
    net::Clock,
};

/// A broker that is ready but for the company of others.
pub(super) struct Opened {
    pub(super) broker: Arc<Broker>,
    /// Absent: nothing survives.
    pub(super) journal: Option<Arc<StoreJournal>>,
    /// Absent: the node is by itself.
    pub(super) newcomer: Option<Newcomer>,
}

/// The broker that `config` describes, with its journal if it has a data directory. `pressure` says
/// that memory is short.
pub(super) async fn open_broker(
    config: &Config,
    timer: Arc<dyn Timer>,
    pressure: Arc<AtomicBool>,
    clock: Clock,
) -> Result<Opened, StartError> {
    let Some(path) = &config.data_dir else {
        if config.cluster.is_wanted() {
            return Err(StartError::ClusterWithoutDataDir);
        }
        let broker = make_broker(config, timer)?;
        identify(&broker);
        return Ok(Opened { broker, journal: None, newcomer: None });
    };
    let (store, recovered) = storage::open(path, config.recover)?;
    let journal = Arc::new(StoreJournal::new(store, recovered.last));
    let mut gathered = recovery::gather(recovered).map_err(|failure| unusable(path, failure))?;
    let remains = Remains::of(&mut gathered.restoring);
    let found = (remains, gathered.restoring.is_empty());
    let newcomer = Newcomer::of(config, found, &journal, clock).await?;
    let broker = new_broker(config, timer, Some(Arc::<StoreJournal>::clone(&journal)));
    let mut broker = broker.saving_memory_when(pressure);
    if let Some(newcomer) = &newcomer {
        broker = newcomer.introduce(broker);
    }
    gathered.restore(&broker, clock.now()).map_err(|failure| unusable(path, failure))?;
    if newcomer.is_none() {
        begin(&broker, config)?;
    }
    Ok(Opened { broker: Arc::new(broker), journal: Some(journal), newcomer })
}

/// Gives a node, or a cluster, that has nothing its first of everything.
pub(super) fn begin(broker: &Broker, config: &Config) -> Result<(), StartError> {
    establish(broker, config)?;
    identify(broker);
    Ok(())
}

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
    let directory = Directory::new(&config.loopback_users);
    let broker = Broker::new(timer, directory, journal);
    broker.limiting(config.quota.connections, config.quota.rates)
}

/// Where nothing is yet, makes the first virtual host and the first user. If a crash takes them
/// away, the next start makes them again.
///
/// Whoever brings definitions brings users and virtual hosts of his own (RabbitMQ 3.10).
fn establish(broker: &Broker, config: &Config) -> Result<(), StartError> {
    if !config.definitions.is_empty() {
        tracing::info!("Will not seed default virtual host and user: have definitions to load...");
        return Ok(());
    }
    let name = &config.default_virtual_host;
    let virtual_host = VirtualHostName::try_from(name.clone())
        .map_err(|cause| StartError::VirtualHostName { name: name.clone(), cause })?;
    let name = &config.default_user;
    let user_name = ShortString::try_from(name.clone())
        .map_err(|cause| StartError::UserName { name: name.clone(), cause })?;
    let salt = (entropy::draw() as u32).to_le_bytes();
    let tag = |tag: &String| {
        ShortString::try_from(tag.clone())
            .map_err(|cause| StartError::UserName { name: tag.clone(), cause })
    };
    let tags = config.default_user_tags.iter().map(tag).collect::<Result<_, _>>()?;
    let password = PasswordHash::new(Hashing::default(), config.default_password.as_bytes(), salt);
    let user = User { password: Some(password), tags, ..User::default() };
    let [configure, write, read] = &config.default_permissions;
    let permission = Permission::new(configure, write, read)
        .map_err(|cause| StartError::DefaultPermissions { cause })?;
    broker.establish(Origins { virtual_host, user_name, user, permission });
    Ok(())
}

/// Gives the cluster an identity of its own, once for all. Tools find it among the parameters
/// (RabbitMQ 3.10).
fn identify(broker: &Broker) {
    let name = ShortString::from_static("internal_cluster_id");
    if broker.global_parameter(&name).is_none() {
        let identity = Names::new(entropy::draw()).draw("rabbitmq-cluster-id-");
        broker.set_global_parameter(name, FieldValue::LongString(identity.into()));
    }
}

fn unusable(path: &Path, failure: recovery::Failure) -> StartError {
    match failure {
        recovery::Failure::Store(cause) => storage::unusable(path, cause),
        recovery::Failure::Broker(cause) => {
            StartError::Meaningless { path: path.to_owned(), cause }
        }
    }
}
