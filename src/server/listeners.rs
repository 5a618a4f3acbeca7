//! Where the broker listens: in plain and over TLS.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::StartError;
use crate::{
    config::Config,
    net::{Listener, tls::Tls},
};

/// How often the files of TLS are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// The addresses taken, and the certificates served there.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) plain: Vec<SocketAddr>,
    pub(super) secured: Vec<SocketAddr>,
    pub(super) tls: Option<Arc<Tls>>,
}

impl Listeners {
    /// Takes all addresses of the configuration. The sockets are to be run.
    pub(super) async fn bind(config: &Config) -> Result<(Self, Vec<Listener>), StartError> {
        let tls = if config.tls.listen.is_empty() {
            None
        } else {
            Some(Arc::new(Tls::new(config.tls.clone())?))
        };
        let (mut sockets, plain) = bind(&config.listen).await?;
        let (others, secured) = bind(&config.tls.listen).await?;
        if let Some(tls) = &tls {
            sockets.extend(others.into_iter().map(|socket| socket.with_tls(Arc::clone(tls))));
        }
        if sockets.is_empty() {
            return Err(StartError::NoListener);
        }
        Ok((Self { plain, secured, tls }, sockets))
    }

    /// Takes the same addresses again, after their sockets were closed.
    pub(super) async fn bind_again(&self) -> Result<Vec<Listener>, StartError> {
        let (mut sockets, _) = bind(&self.plain).await?;
        let (others, _) = bind(&self.secured).await?;
        if let Some(tls) = &self.tls {
            sockets.extend(others.into_iter().map(|socket| socket.with_tls(Arc::clone(tls))));
        }
        Ok(sockets)
    }

    /// Reads the files of TLS again when they change.
    pub(super) fn watch(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        let Some(tls) = self.tls.clone() else { return };
        let stop = stop.clone();
        tasks.spawn(async move {
            while tokio::time::timeout(LOOK, stop.cancelled()).await.is_err() {
                let tls = Arc::clone(&tls);
                // Files may lie on a slow disk.
                let _ = tokio::task::spawn_blocking(move || tls.reload_if_changed()).await;
            }
        });
    }
}

async fn bind(addresses: &[SocketAddr]) -> Result<(Vec<Listener>, Vec<SocketAddr>), StartError> {
    // Nobody asked for [::1] by name, and containers often have none.
    let may_lack_ipv6 = *addresses == *Config::default().listen;
    let (mut listeners, mut taken) = (Vec::new(), Vec::new());
    for &address in addresses {
        let refused = |cause| StartError::Listen { address, cause };
        let listener = match Listener::bind(address).await {
            Err(error) if may_lack_ipv6 && address.is_ipv6() && lacks_address(&error) => {
                tracing::info!(%address, "not listening there: this machine has no such address");
                continue;
            }
            bound => bound.map_err(refused)?,
        };
        taken.push(listener.address().map_err(refused)?);
        listeners.push(listener);
    }
    Ok((listeners, taken))
}

pub(super) fn lacks_address(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(ADDRESS_FAMILY_NOT_SUPPORTED)
}

/// `EAFNOSUPPORT` of Linux, for which the standard library has no kind.
const ADDRESS_FAMILY_NOT_SUPPORTED: i32 = 97;
