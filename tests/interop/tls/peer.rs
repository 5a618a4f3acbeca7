//! A client that speaks TLS, and as much of AMQP as shows that it was let in.

use super::broker::Certificates;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const PATIENCE: Duration = Duration::from_secs(60);

/// Shakes hands with `host`, which under TLS 1.3 ends before the server has judged the certificate.
pub(crate) async fn shake_hands(
    (host, port): (&str, u16),
    roots: &str,
    identity: Option<&Certificates>,
) -> io::Result<TlsStream<TcpStream>> {
    let mut store = RootCertStore::empty();
    store.add(CertificateDer::from_pem_slice(roots.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(certificates) => {
            let chain = certificates.read("client_certificate.pem");
            let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()];
            let key = certificates.read("client_key.pem");
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    timeout(PATIENCE, connector.connect(name, stream)).await.expect("it is answered")
}

/// Comes as far as `connection.start`.
pub(crate) async fn enter(
    port: u16,
    roots: &str,
    identity: Option<&Certificates>,
) -> io::Result<TlsStream<TcpStream>> {
    let mut stream = shake_hands(("localhost", port), roots, identity).await?;
    stream.write_all(b"AMQP\0\0\x09\x01").await?;
    let mut start = [0; 11];
    timeout(PATIENCE, stream.read_exact(&mut start)).await.expect("it is answered")?;
    assert_eq!((start[0], &start[7..]), (1, [0, 10, 0, 10].as_slice()), "connection.start");
    Ok(stream)
}
