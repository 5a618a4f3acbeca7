//! The files of TLS: reads certificates and keys, and says which of them is at fault.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, InconsistentKeys, RootCertStore, ServerConfig, SupportedProtocolVersion,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::{CertifiedKey, SingleCertAndKey},
};
use thiserror::Error;
use tracing::warn;

use super::{
    node::{Ends, NodeFiles},
    verifier,
};
use crate::config::{self, TlsVersion};

/// Why TLS cannot be offered, or its certificates not be read again.
#[derive(Debug, Error)]
pub enum TlsError {
    #[error("`{setting}` is not set, and {wanted_by} needs it")]
    Missing { setting: String, wanted_by: &'static str },
    #[error("`ssl_options.fail_if_no_peer_cert = true` needs `ssl_options.verify = verify_peer`")]
    RequiresVerification,
    #[error("cannot read {} (`{setting}`): {cause}", path.display())]
    Unreadable { setting: String, path: PathBuf, cause: io::Error },
    #[error("there is no {wanted} in {} (`{setting}`)", path.display())]
    Empty { setting: String, path: PathBuf, wanted: &'static str },
    #[error(
        "the key in {} (`{setting}`) is encrypted, and only keys that are not can be read: \
         `openssl pkey -in FILE -out FILE` decrypts it",
        path.display()
    )]
    Encrypted { setting: String, path: PathBuf },
    #[error(
        "the key in {} (`{setting}`) is not the key of the certificate in {}",
        path.display(), certificate.display()
    )]
    Mismatch { setting: String, path: PathBuf, certificate: PathBuf },
    #[error("cannot use {} (`{setting}`): {cause}", path.display())]
    Unusable { setting: String, path: PathBuf, cause: String },
    #[error("these settings of TLS cannot be met: {0}")]
    Impossible(String),
}

/// What the files held.
pub(super) struct Loaded {
    pub(super) configuration: ServerConfig,
    pub(super) certificate: CertificateDer<'static>,
}

/// A file's time of change, size and number; a file that is not there has none.
type Stamp = Option<(i64, i64, u64, u64)>;

/// What all the files look like from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamps(Vec<Stamp>);

impl Stamps {
    pub(super) fn of(settings: &config::Tls) -> Self {
        let config::Tls { authorities, certificate, key, named, .. } = settings;
        let ours = [authorities, certificate, key].into_iter().flatten();
        let others = named.iter().flat_map(|other| [&other.certificate, &other.key]);
        Self(ours.chain(others).map(|path| stamp(path)).collect())
    }
}

fn stamp(path: &Path) -> Stamp {
    let found = fs::metadata(path).ok()?;
    Some((found.mtime(), found.mtime_nsec(), found.size(), found.ino()))
}

/// One file, and the key of the setting that names it.
struct Source<'a> {
    setting: String,
    path: &'a Path,
}

pub(super) fn load(settings: &config::Tls) -> Result<Loaded, TlsError> {
    if settings.require_certificate && !settings.verify_peer {
        return Err(TlsError::RequiresVerification);
    }
    let provider = Arc::new(ring::default_provider());
    let certificate = source(settings.certificate.as_ref(), "certfile", "a listener of TLS")?;
    let key = source(settings.key.as_ref(), "keyfile", "a listener of TLS")?;
    let fallback = pair(&certificate, &key, &provider)?;
    let served = fallback.cert.first().cloned();
    let hosts = Hosts { named: named(settings, &provider)?, fallback };

    let impossible = |error: rustls::Error| TlsError::Impossible(error.to_string());
    let versions: Vec<_> = settings.versions.iter().map(|version| protocol(*version)).collect();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(impossible)?;
    let authorities = settings
        .authorities
        .as_ref()
        .map(|path| authorities(&Source { setting: "ssl_options.cacertfile".to_owned(), path }));
    let authorities = authorities.transpose()?;
    let mut configuration = if settings.verify_peer {
        let roots = authorities.ok_or_else(|| missing("cacertfile", "`verify_peer`"))?;
        let verifier = verifier::make(roots, &provider, settings)
            .map_err(|error| TlsError::Impossible(error.to_string()))?;
        builder.with_client_cert_verifier(verifier).with_cert_resolver(Arc::new(hosts))
    } else {
        builder.with_no_client_auth().with_cert_resolver(Arc::new(hosts))
    };
    configuration.ignore_client_order = settings.prefers_own_ciphers;
    if settings.verify_peer {
        // A session that is taken up again would not look at the certificate again.
        configuration.session_storage = Arc::new(NoServerSessionStorage {});
        configuration.send_tls13_tickets = 0;
    }
    let certificate = served.ok_or_else(|| certificate.lacks("certificate"))?;
    Ok(Loaded { configuration, certificate })
}

/// What a node needs to meet others, whichever of them has dialled. TLS 1.3 alone is spoken.
pub(super) fn load_for_node(files: &NodeFiles) -> Result<Ends, TlsError> {
    let source = |option: &str, path| Source { setting: format!("cluster.tls.{option}"), path };
    let provider = Arc::new(ring::default_provider());
    let certificate = source("certfile", &files.certificate);
    let pair = pair(&certificate, &source("keyfile", &files.key), &provider)?;
    let roots = Arc::new(authorities(&source("cacertfile", &files.authorities))?);
    let hosts = Arc::new(Hosts { named: BTreeMap::new(), fallback: Arc::clone(&pair) });

    let impossible = |error: rustls::Error| TlsError::Impossible(error.to_string());
    let verifier = verifier::of_nodes(Arc::clone(&roots), &provider)
        .map_err(|error| TlsError::Impossible(error.to_string()))?;
    let mut accepting = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(impossible)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(hosts);
    accepting.session_storage = Arc::new(NoServerSessionStorage {});
    accepting.send_tls13_tickets = 0;
    let mut dialling = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(impossible)?
        .dangerous()
        .with_custom_certificate_verifier(verifier::of_nodes_by_dialler(roots, provider))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    dialling.resumption = Resumption::disabled();
    dialling.enable_sni = false;
    Ok(Ends { accepting: Arc::new(accepting), dialling: Arc::new(dialling) })
}

fn protocol(version: TlsVersion) -> &'static SupportedProtocolVersion {
    match version {
        TlsVersion::V1_2 => &rustls::version::TLS12,
        TlsVersion::V1_3 => &rustls::version::TLS13,
    }
}

fn missing(option: &str, wanted_by: &'static str) -> TlsError {
    TlsError::Missing { setting: format!("ssl_options.{option}"), wanted_by }
}

fn source<'a>(
    path: Option<&'a PathBuf>,
    option: &str,
    wanted_by: &'static str,
) -> Result<Source<'a>, TlsError> {
    let path = path.ok_or_else(|| missing(option, wanted_by))?;
    Ok(Source { setting: format!("ssl_options.{option}"), path })
}

impl Source<'_> {
    fn read(&self) -> Result<Vec<u8>, TlsError> {
        fs::read(self.path).map_err(|cause| {
            let (setting, path) = (self.setting.clone(), self.path.to_owned());
            TlsError::Unreadable { setting, path, cause }
        })
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let text = self.read()?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let found = found.map_err(|cause| self.unusable(&cause))?;
        if found.is_empty() {
            return Err(self.lacks("certificate"));
        }
        Ok(found)
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let text = self.read()?;
        // Both ways of saying so: the label of PKCS#8, and the header line of older keys.
        if contains(&text, b"BEGIN ENCRYPTED PRIVATE KEY") || contains(&text, b"4,ENCRYPTED") {
            let (setting, path) = (self.setting.clone(), self.path.to_owned());
            return Err(TlsError::Encrypted { setting, path });
        }
        PrivateKeyDer::from_pem_slice(&text).map_err(|cause| match cause {
            rustls::pki_types::pem::Error::NoItemsFound => self.lacks("private key"),
            cause => self.unusable(&cause),
        })
    }

    fn lacks(&self, wanted: &'static str) -> TlsError {
        let (setting, path) = (self.setting.clone(), self.path.to_owned());
        TlsError::Empty { setting, path, wanted }
    }

    fn unusable(&self, cause: &dyn std::fmt::Display) -> TlsError {
        let (setting, path) = (self.setting.clone(), self.path.to_owned());
        TlsError::Unusable { setting, path, cause: cause.to_string() }
    }
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|part| part == wanted)
}

fn pair(
    certificate: &Source<'_>,
    key: &Source<'_>,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificate.certificates()?;
    let private = key.private_key()?;
    let signing = provider.key_provider.load_private_key(private);
    let certified = CertifiedKey::new(chain, signing.map_err(|cause| key.unusable(&cause))?);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
            Ok(Arc::new(certified))
        }
        Err(rustls::Error::InconsistentKeys(_)) => {
            let (setting, path) = (key.setting.clone(), key.path.to_owned());
            Err(TlsError::Mismatch { setting, path, certificate: certificate.path.to_owned() })
        }
        Err(cause) => Err(certificate.unusable(&cause)),
    }
}

fn authorities(source: &Source<'_>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let (usable, others) = roots.add_parsable_certificates(source.certificates()?);
    if usable == 0 {
        return Err(source.lacks("certificate that can be understood"));
    }
    if others > 0 {
        let path = source.path.display();
        warn!("{others} of the certificates in {path} cannot be understood and vouch for nobody");
    }
    Ok(roots)
}

/// The certificates by the host that a client asks for.
#[derive(Debug)]
struct Hosts {
    named: BTreeMap<String, Arc<CertifiedKey>>,
    /// For all other hosts, and for clients that name none.
    fallback: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Hosts {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let named = name.and_then(|name| self.named.get(&name));
        Some(Arc::clone(named.unwrap_or(&self.fallback)))
    }
}

fn named(
    settings: &config::Tls,
    provider: &CryptoProvider,
) -> Result<BTreeMap<String, Arc<CertifiedKey>>, TlsError> {
    let mut named = BTreeMap::new();
    for config::NamedCertificate { setting, host, certificate, key } in &settings.named {
        let part = |name: &str| format!("{setting}.{name}");
        let parts = [
            (part("hostname"), host.is_empty()),
            (part("certfile"), certificate.as_os_str().is_empty()),
            (part("keyfile"), key.as_os_str().is_empty()),
        ];
        if let Some((setting, _)) = parts.into_iter().find(|(_, is_absent)| *is_absent) {
            return Err(TlsError::Missing { setting, wanted_by: "the certificate of a host" });
        }
        let certificate = Source { setting: part("certfile"), path: certificate };
        let key = Source { setting: part("keyfile"), path: key };
        named.insert(host.clone(), pair(&certificate, &key, provider)?);
    }
    Ok(named)
}
