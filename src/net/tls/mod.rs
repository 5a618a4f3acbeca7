//! TLS: what is said before AMQP can be, and who the client proves to be.

mod authority;
mod certificate;
mod files;
mod names;
pub(super) mod node;
#[cfg(test)]
mod tests;
mod verifier;

use std::{
    fmt, io,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{InvalidMessage, ServerConfig, ServerConnection};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{info, warn};

pub use self::{
    authority::{Authority, BadName, Identity, Lifetime, Pair},
    certificate::PeerCertificate,
    files::TlsError,
    node::{NodeFiles, NodeTls},
};
use self::{certificate::has_expired, files::Stamps};
use crate::{config, model::Moment};

/// Certificates and what else a handshake needs. The certificates may change while clients come;
/// those who are there stay.
pub struct Tls {
    settings: config::Tls,
    current: RwLock<Current>,
}

struct Current {
    configuration: Arc<ServerConfig>,
    /// What the files looked like when they were read.
    stamps: Stamps,
}

/// What TLS tells of a client, in the words in which RabbitMQ's tools show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secured {
    /// `tlsv1.2` or `tlsv1.3`.
    pub protocol: &'static str,
    pub key_exchange: &'static str,
    pub cipher: &'static str,
    pub hash: &'static str,
    /// The host that the client asked for.
    pub server_name: Option<String>,
    /// Present only if it was asked for and found good.
    pub certificate: Option<PeerCertificate>,
}

/// A file of certificates, and when they end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends {
    /// `cacertfile` or `certfile`.
    pub setting: &'static str,
    pub path: PathBuf,
    /// With the words that RabbitMQ has for it.
    pub ends: Vec<(Moment, String)>,
}

/// Why a handshake has come to nothing.
#[derive(Debug, Error)]
pub(super) enum HandshakeFault {
    #[error("the client took longer than {} ms", .0.as_millis())]
    TimedOut(Duration),
    #[error("the client does not speak TLS")]
    NotTls,
    #[error("the client has left")]
    Left,
    #[error("{0}")]
    Refused(io::Error),
}

impl Tls {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// When a file cannot be read, is not what it should be, or does not fit the others; or when
    /// the settings contradict each other.
    pub fn new(settings: config::Tls) -> Result<Self, TlsError> {
        let stamps = Stamps::of(&settings);
        let configuration = load(&settings)?;
        Ok(Self { settings, current: RwLock::new(Current { configuration, stamps }) })
    }

    /// Reads the files again. New clients meet what they hold; those who are there are not
    /// disturbed.
    ///
    /// # Errors
    /// As [`Self::new`]; then everything stays as it is, and the log says why.
    pub fn reload(&self) -> Result<(), TlsError> {
        let stamps = Stamps::of(&self.settings);
        let loaded = load(&self.settings);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.stamps = stamps;
        match loaded {
            Ok(configuration) => {
                current.configuration = configuration;
                info!("the certificates of TLS have been read again");
                Ok(())
            }
            Err(error) => {
                warn!("the certificates of TLS stay as they were: {error}");
                Err(error)
            }
        }
    }

    /// Reads the files again if they look different from when they were last read.
    pub fn reload_if_changed(&self) {
        let stamps = Stamps::of(&self.settings);
        let is_same = self.read(|current| current.stamps == stamps);
        if !is_same {
            let _the_log_says_why = self.reload();
        }
    }

    /// When the certificates end that clients are shown, and those by which clients are known, as
    /// their files have it now.
    pub fn ends(&self) -> Vec<Ends> {
        let config::Tls { authorities, certificate, .. } = &self.settings;
        let files = [("cacertfile", authorities), ("certfile", certificate)];
        let files = files.into_iter().filter_map(|(setting, path)| Some((setting, path.clone()?)));
        files
            .map(|(setting, path)| Ends { setting, ends: certificate::ends(&path), path })
            .collect()
    }

    /// Shakes hands with a client that has just connected.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> Result<(TlsStream<TcpStream>, Secured), HandshakeFault> {
        let acceptor = TlsAcceptor::from(self.read(|current| Arc::clone(&current.configuration)));
        let limit = Duration::from_millis(self.settings.handshake_timeout_ms);
        let stream = tokio::time::timeout(limit, acceptor.accept(stream))
            .await
            .map_err(|_| HandshakeFault::TimedOut(limit))?
            .map_err(HandshakeFault::of)?;
        let secured = self.describe(stream.get_ref().1);
        Ok((stream, secured))
    }

    fn describe(&self, connection: &ServerConnection) -> Secured {
        let suite = connection.negotiated_cipher_suite();
        let [protocol, key_exchange, cipher, hash] = names::of_suite(suite);
        let certificate = connection.peer_certificates().and_then(|chain| chain.first());
        let read = |der| PeerCertificate::read(der, &self.settings.login);
        Secured {
            protocol,
            key_exchange,
            cipher,
            hash,
            server_name: connection.server_name().map(str::to_owned),
            certificate: certificate.and_then(read),
        }
    }

    fn read<T>(&self, look: impl FnOnce(&Current) -> T) -> T {
        look(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Keys stay out of logs.
impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tls").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl HandshakeFault {
    fn of(error: io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        match inner {
            Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => Self::NotTls,
            _ if error.kind() == io::ErrorKind::UnexpectedEof => Self::Left,
            _ => Self::Refused(error),
        }
    }
}

fn load(settings: &config::Tls) -> Result<Arc<ServerConfig>, TlsError> {
    let loaded = files::load(settings)?;
    if let Some(path) = settings.certificate.as_ref().filter(|_| has_expired(&loaded.certificate)) {
        // RabbitMQ serves it all the same; clients that look will refuse it.
        warn!("the certificate in {} (`ssl_options.certfile`) HAS EXPIRED", path.display());
    }
    Ok(Arc::new(loaded.configuration))
}
