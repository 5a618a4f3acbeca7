//! TLS between nodes: both sides show a certificate, and both look at it.

use std::{
    fmt,
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{ClientConfig, ServerConfig, pki_types::CertificateDer};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
    x509::AttributeTypeAndValue,
};

use super::files::{self, TlsError};

/// Where a node's certificates are. They have no defaults: all three are needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFiles {
    /// Who may vouch for nodes, in PEM.
    pub authorities: PathBuf,
    /// This node's certificate, for a server and a client, and the intermediate ones after it.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// The certificates with which a node meets others.
pub struct NodeTls {
    files: NodeFiles,
    current: RwLock<Ends>,
}

/// What the two ends of a connection need.
#[derive(Clone)]
pub(super) struct Ends {
    pub(super) accepting: Arc<ServerConfig>,
    pub(super) dialling: Arc<ClientConfig>,
}

impl NodeTls {
    /// Reads the files.
    ///
    /// # Errors
    /// When a file cannot be read, is not what it should be, or does not fit the others.
    pub fn new(files: NodeFiles) -> Result<Self, TlsError> {
        let current = RwLock::new(files::load_for_node(&files)?);
        Ok(Self { files, current })
    }

    /// Reads the files again, for the connections to come.
    ///
    /// # Errors
    /// As [`Self::new`]; then everything stays as it is.
    pub fn reload(&self) -> Result<(), TlsError> {
        let loaded = files::load_for_node(&self.files)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }

    pub(in crate::net) fn accepting(&self) -> Arc<ServerConfig> {
        self.read().accepting
    }

    pub(in crate::net) fn dialling(&self) -> Arc<ClientConfig> {
        self.read().dialling
    }

    fn read(&self) -> Ends {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Keys stay out of logs.
impl fmt::Debug for NodeTls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NodeTls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Whether a certificate is for this host: by its alternative names, or by its common name if it
/// has no alternative name that is a host's or an address. Names with wildcards are for no node.
pub(in crate::net) fn names_host(der: &CertificateDer<'_>, host: &str) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(der) else { return false };
    let address = host.parse::<IpAddr>().ok();
    let mut has_names = false;
    let alternative = parsed.subject_alternative_name().ok().flatten();
    let names = alternative.iter().flat_map(|names| &names.value.general_names);
    for name in names {
        let is_named = match name {
            GeneralName::DNSName(name) => name.eq_ignore_ascii_case(host),
            GeneralName::IPAddress(octets) => match address {
                Some(IpAddr::V4(address)) => address.octets() == *octets,
                Some(IpAddr::V6(address)) => address.octets() == *octets,
                None => false,
            },
            _ => continue,
        };
        if is_named {
            return true;
        }
        has_names = true;
    }
    let is_host = |name: &AttributeTypeAndValue<'_>| {
        name.as_str().is_ok_and(|name| name.eq_ignore_ascii_case(host))
    };
    !has_names && parsed.subject().iter_common_name().any(is_host)
}
