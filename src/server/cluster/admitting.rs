//! Answers nodes that have no number yet.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    enquiry::{Admission, Enquiry, Whereabouts},
    switchboard::Switchboard,
};
use crate::{
    broker::{Broker, NotAdmitted},
    net::peers::Question,
};

/// Says whether this node is of a cluster, or has the cluster take in who asks.
pub(super) async fn answer(
    question: Question,
    switchboard: Arc<Switchboard>,
    broker: Arc<Broker>,
) -> Result<Bytes, String> {
    let cluster = switchboard.cluster;
    match Enquiry::read(&question.payload) {
        None => Err("it does not understand the question".to_owned()),
        Some(Enquiry::Whereabouts) => Ok(Whereabouts::Member { cluster }.octets()),
        Some(Enquiry::Join { address, store }) => {
            let admit = move || admit(&question.name, &address, store, &switchboard, &broker);
            let admitted = tokio::task::spawn_blocking(admit).await;
            admitted.unwrap_or_else(|_| Err("it has failed".to_owned()))
        }
    }
}

fn admit(
    name: &str,
    address: &str,
    store: u128,
    switchboard: &Switchboard,
    broker: &Broker,
) -> Result<Bytes, String> {
    let up = switchboard.up();
    let nodes = broker.nodes_agreed();
    let is_running = nodes.iter().any(|(number, node)| {
        let is_there = up.contains(number) || *number == switchboard.me;
        node.name == name && node.store != store && !node.is_gone && is_there
    });
    if is_running {
        return Err(format!("a node `{}` is running already", name.escape_debug()));
    }
    let (node, nodes) =
        broker.admit(name, address, store).map_err(|why: NotAdmitted| why.to_string())?;
    tracing::info!("{} joins the cluster as node {node}", name.escape_debug());
    let members = switchboard.members_of(&nodes);
    Ok(Admission { cluster: switchboard.cluster, node, members }.octets())
}
