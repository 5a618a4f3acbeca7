//! Where clients come in, and how they are sent away while the node is not with the majority of its
//! cluster (`cluster_partition_handling = pause_minority`).

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{FrontDesk, cluster::Insight, listeners::Listeners};
use crate::net::{Clients, Listener};

/// How often the node looks whom it can see.
const LOOK: Duration = Duration::from_millis(250);

/// So long a node goes on alone after those that it does not see were found to be down.
const GRACE: Duration = Duration::from_secs(1);

/// As RabbitMQ 3.10 says it to the clients of a node that it pauses.
const REASON: &str = "broker forced connection closure with reason 'shutdown'";

/// The listeners of clients, which can be closed and opened again.
pub(super) struct Entrance {
    pub(super) listeners: Arc<Listeners>,
    pub(super) reception: Arc<FrontDesk>,
    pub(super) clients: Arc<Clients>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

impl Entrance {
    /// Lets clients in until the token is cancelled.
    pub(super) fn open(&self, sockets: Vec<Listener>) -> CancellationToken {
        let open = self.stop.child_token();
        for socket in sockets {
            let (reception, clients) = (Arc::clone(&self.reception), Arc::clone(&self.clients));
            self.tasks.spawn(socket.run(reception, clients, open.clone()));
        }
        open
    }

    /// Closes whenever the node does not see a majority of its cluster, until everything stops.
    pub(super) async fn watch(self, insight: Insight, mut open: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pause = Pause::default();
        while self.stop.run_until_cancelled(ticks.tick()).await.is_some() {
            match pause.look(insight.sees_majority(), Instant::now()) {
                Some(Turn::Close) => {
                    tracing::warn!(
                        "Cluster minority/secondary status detected - awaiting recovery"
                    );
                    open.cancel();
                    self.clients.send_away(REASON);
                }
                Some(Turn::Open) => match self.listeners.bind_again().await {
                    Ok(sockets) => {
                        tracing::info!("the node is with the majority again");
                        open = self.open(sockets);
                    }
                    Err(error) => {
                        tracing::warn!("clients cannot come in again yet: {error}");
                        pause.is_closed = true;
                    }
                },
                None => {}
            }
        }
    }
}

/// Whether the node is paused, and since when it should be.
#[derive(Debug, Default)]
struct Pause {
    alone_since: Option<Instant>,
    is_closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Close,
    Open,
}

impl Pause {
    fn look(&mut self, sees_majority: bool, now: Instant) -> Option<Turn> {
        if sees_majority {
            self.alone_since = None;
            return std::mem::take(&mut self.is_closed).then_some(Turn::Open);
        }
        let since = *self.alone_since.get_or_insert(now);
        if self.is_closed || now.duration_since(since) < GRACE {
            return None;
        }
        self.is_closed = true;
        Some(Turn::Close)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_closed_a_while_after_it_is_alone() {
        let mut pause = Pause::default();
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert_eq!(pause.look(true, at(0)), None);
        assert_eq!(pause.look(false, at(100)), None);
        assert_eq!(pause.look(true, at(500)), None);
        assert_eq!(pause.look(false, at(600)), None);
        assert_eq!(pause.look(false, at(1599)), None);
        assert_eq!(pause.look(false, at(1600)), Some(Turn::Close));
        assert_eq!(pause.look(false, at(9000)), None);
        assert_eq!(pause.look(true, at(9001)), Some(Turn::Open));
        assert_eq!(pause.look(true, at(9002)), None);
    }
}
