//! What a node is told of its cluster.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::file::{Refused, number};

/// The port for other nodes, where a name does not say one (RabbitMQ's inter-node port).
pub const CLUSTER_PORT: u16 = 25672;

/// The nodes that are one broker, and how they know each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Every node of the cluster, this one among them; empty for a node by itself.
    /// `cluster_formation.classic_config.nodes.…`
    pub nodes: Vec<ClusterNode>,
    /// Where to listen for other nodes; all addresses and the port of this node's name unless it is
    /// said. `cluster.listener`
    pub listener: Option<SocketAddr>,
    /// What all nodes know, and nobody else. `cluster.secret`
    pub secret: Option<String>,
    /// A node that was silent for so long is down; at least 500 ms.
    /// `cluster.detector.down_after`, in milliseconds; `net_ticktime`, in seconds
    pub down_after: Duration,
    /// What a node does that is not with the majority. `cluster_partition_handling`
    pub partition_handling: PartitionHandling,
    /// The name whose addresses are the nodes, in place of a list.
    /// `cluster_formation.dns.hostname`, with `cluster_formation.peer_discovery_backend = dns`
    pub dns: Option<String>,
    /// How the nodes are found. `cluster_formation.peer_discovery_backend`
    pub backend: Backend,
    /// The certificates with which nodes meet. `cluster.tls.…`
    pub tls: ClusterTls,
}

/// Where the certificates of nodes are, in PEM: all three, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterTls {
    /// Who may vouch for nodes. `cluster.tls.cacertfile`
    pub authorities: Option<PathBuf>,
    /// This node's certificate, and the intermediate ones after it. `cluster.tls.certfile`
    pub certificate: Option<PathBuf>,
    /// Its private key. `cluster.tls.keyfile`
    pub key: Option<PathBuf>,
}

impl Cluster {
    /// Whether the node is to be one of several.
    pub const fn is_wanted(&self) -> bool {
        !self.nodes.is_empty() || self.finds_by_dns()
    }

    /// Whether the nodes are the addresses of a name.
    pub const fn finds_by_dns(&self) -> bool {
        matches!(self.backend, Backend::Dns)
    }
}

/// How the nodes of the cluster are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// They are listed.
    #[default]
    List,
    /// They are the addresses of a name.
    Dns,
}

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterNode {
    /// `rabbit@host`.
    pub name: String,
    /// `host:port`.
    pub address: String,
}

/// What a node does that is not with the majority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PartitionHandling {
    /// What needs a majority waits for it; the rest goes on.
    #[default]
    Ignore,
    /// The same; there is nothing to heal, as no two parts ever decide apart.
    Autoheal,
    /// Clients are sent away until it is with the majority again.
    PauseMinority,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            listener: None,
            secret: None,
            down_after: Duration::from_secs(3),
            partition_handling: PartitionHandling::default(),
            backend: Backend::default(),
            dns: None,
            tls: ClusterTls::default(),
        }
    }
}

/// Takes one setting, if it is one of these.
pub(super) fn set(cluster: &mut Cluster, key: &str, value: &str) -> Result<(), Refused> {
    if key.starts_with("cluster_formation.classic_config.nodes.") {
        cluster.nodes.push(node(value)?);
        return Ok(());
    }
    match key {
        "cluster_formation.peer_discovery_backend" => match value {
            "classic_config" | "rabbit_peer_discovery_classic_config" => {
                cluster.backend = Backend::List;
            }
            "dns" | "rabbit_peer_discovery_dns" => cluster.backend = Backend::Dns,
            _ => return Err(Refused::Value("classic_config or dns")),
        },
        "cluster_formation.dns.hostname" if value.is_empty() => {
            return Err(Refused::Value("the name of a host"));
        }
        "cluster_formation.dns.hostname" => cluster.dns = Some(value.to_owned()),
        "cluster.tls.cacertfile" => cluster.tls.authorities = Some(value.into()),
        "cluster.tls.certfile" => cluster.tls.certificate = Some(value.into()),
        "cluster.tls.keyfile" => cluster.tls.key = Some(value.into()),
        "cluster.listener" => {
            let address = value.parse().map_err(|_| Refused::Value("ADDRESS:PORT"))?;
            cluster.listener = Some(address);
        }
        "cluster.secret" if value.is_empty() => return Err(Refused::Value("a secret")),
        "cluster.secret" => cluster.secret = Some(value.to_owned()),
        "cluster.detector.down_after" => {
            let milliseconds = number(value, 500.., "milliseconds, 500 or more")?;
            cluster.down_after = Duration::from_millis(milliseconds);
        }
        "net_ticktime" => {
            cluster.down_after = Duration::from_secs(number(value, 1.., "seconds")?);
        }
        "cluster_partition_handling" => {
            cluster.partition_handling = match value {
                "ignore" => PartitionHandling::Ignore,
                "autoheal" => PartitionHandling::Autoheal,
                "pause_minority" => PartitionHandling::PauseMinority,
                _ => return Err(Refused::Value("ignore, pause_minority or autoheal")),
            };
        }
        _ => return Err(Refused::Key),
    }
    Ok(())
}

/// `rabbit@host`, or `rabbit@host:port` where nodes of one machine need ports of their own.
fn node(value: &str) -> Result<ClusterNode, Refused> {
    const EXPECTED: Refused =
        Refused::Value("a node's name, as in rabbit@host or rabbit@host:25672");
    let (_, host) = value.split_once('@').ok_or(EXPECTED)?;
    if host.is_empty() || value.len() > 255 {
        return Err(EXPECTED);
    }
    let (name, address) = match host.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => {
            (&value[..value.len() - port.len() - 1], host.to_owned())
        }
        _ => (value, format!("{host}:{CLUSTER_PORT}")),
    };
    Ok(ClusterNode { name: name.to_owned(), address })
}

#[cfg(test)]
mod tests {
    use super::super::file::applied;

    #[test]
    fn nodes_are_named_with_or_without_a_port() {
        let config = applied(
            "cluster_formation.classic_config.nodes.1 = rabbit@one\n\
             cluster_formation.classic_config.nodes.2 = b@127.0.0.1:4000\n",
        )
        .unwrap();
        let nodes: Vec<_> =
            config.cluster.nodes.iter().map(|node| (&*node.name, &*node.address)).collect();
        assert_eq!(nodes, [("rabbit@one", "one:25672"), ("b@127.0.0.1", "127.0.0.1:4000")]);
    }

    #[test]
    fn nodes_are_found_by_a_name_and_meet_with_certificates() {
        let config = applied(
            "cluster_formation.peer_discovery_backend = dns\n\
             cluster_formation.dns.hostname = nodes.example\n\
             cluster.tls.cacertfile = /ca\n\
             cluster.tls.certfile = /node\n\
             cluster.tls.keyfile = /key\n",
        )
        .unwrap();
        assert!(config.cluster.is_wanted());
        assert_eq!(config.cluster.dns.as_deref(), Some("nodes.example"));
        assert_eq!(config.cluster.tls.key, Some("/key".into()));
        assert!(!applied("").unwrap().cluster.is_wanted());
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for line in [
            "cluster_formation.classic_config.nodes.1 = rabbit",
            "cluster.listener = here",
            "cluster.detector.down_after = 100",
            "cluster_partition_handling = heal",
            "cluster_formation.peer_discovery_backend = etcd",
        ] {
            assert!(applied(line).is_err(), "{line}");
        }
    }
}
