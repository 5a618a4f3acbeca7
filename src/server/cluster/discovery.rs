//! Which nodes the configuration names: those that it lists, or the addresses of a name.

use std::{collections::BTreeMap, io, net::SocketAddr, time::Duration};

use super::{REMINDER, reminder::Reminder};
use crate::{
    config::{CLUSTER_PORT, Config},
    net::Clock,
};

/// How often a name is looked up that does not have this node yet.
const PAUSE: Duration = Duration::from_secs(1);

/// The nodes by name, with their addresses. A name that is looked up is waited for, if that is
/// wanted, until this node is among its addresses.
pub(super) async fn listed(config: &Config, waits: bool, clock: Clock) -> BTreeMap<String, String> {
    let cluster = &config.cluster;
    let Some(host) = cluster.dns.as_deref().filter(|_| cluster.finds_by_dns()) else {
        let nodes = cluster.nodes.iter();
        return nodes.map(|node| (node.name.clone(), node.address.clone())).collect();
    };
    let port = cluster.listener.map_or(CLUSTER_PORT, |listener| listener.port());
    let mut ticks = tokio::time::interval(PAUSE);
    let mut reminder = Reminder::every(REMINDER, clock);
    loop {
        ticks.tick().await;
        let found = look_up(host, port).await;
        let nodes = found.as_deref().map(|found| named(&config.node_name, found));
        let nodes = nodes.unwrap_or_default();
        if !waits || nodes.contains_key(&config.node_name) {
            return nodes;
        }
        if reminder.is_due() {
            let own = &config.node_name;
            match found {
                Ok(_) => tracing::info!("`{own}` is not yet among the addresses of `{host}`"),
                Err(error) => tracing::warn!("`{host}` cannot be looked up: {error}"),
            }
        }
    }
}

async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((host, port)).await?.collect())
}

/// All nodes have the same name before the `@` (RabbitMQ 3.10), and an address behind it.
fn named(own: &str, addresses: &[SocketAddr]) -> BTreeMap<String, String> {
    let prefix = own.split_once('@').map_or(own, |(prefix, _)| prefix);
    let node = |address: &SocketAddr| (format!("{prefix}@{}", address.ip()), address.to_string());
    addresses.iter().map(node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_named_by_their_addresses() {
        let addresses = ["10.0.0.2:25672", "[2001:db8::1]:25672"].map(|it| it.parse().unwrap());
        let nodes = named("rabbit@10.0.0.2", &addresses);
        let expected =
            [("rabbit@10.0.0.2", "10.0.0.2:25672"), ("rabbit@2001:db8::1", "[2001:db8::1]:25672")];
        let expected = expected.map(|(name, address)| (name.to_owned(), address.to_owned()));
        assert_eq!(nodes, BTreeMap::from(expected));
    }
}
